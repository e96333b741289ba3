"""The wallet that pays for issuances: its keys, and the transaction that issues an asset.

Its seed is another than the service key's, so that whoever empties it has moved nobody's coins but the operator's.
Keys follow BIP84 with SLIP77 blinding keys, so that a usual wallet finds the coins of the seed. This module is about
keys and transactions only; which coins there are is a matter of :mod:`fee_coins`.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import (
    DomainEntry,
    Opening,
    PlainOutput,
    blind,
    issued_asset,
    unblind,
    verify_amounts,
)
from amp0.elements.issuance import Issued, issue, open_issuance
from amp0.elements.keys import ExtendedKey, Slip77
from amp0.elements.script import hash160, p2pkh, p2wpkh
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxIn, TxOut
from amp0.errors import UnblindError
from amp0.network import Network

SEQUENCE = 0xFFFFFFFE
"""Not replaceable: the id of what is issued follows from the coin that is spent."""

_SIGNATURE = b"\x00" * 71
_FIELD, _PROOF = b"\x08" * 33, b"\x00" * 4174
"""A commitment, and a range proof of 52 bits, as far as the size goes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a script of the wallet has its key."""

    number: int
    is_change: bool = False


@dataclass(frozen=True, slots=True)
class FeeCoin:
    """An output of the wallet: L-BTC, with its opening and the fields that a spender commits to."""

    outpoint: OutPoint
    place: Place
    opening: Opening
    asset_field: bytes
    value_field: bytes
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to issue, and to whom. Amounts are satoshi; ``tokens`` is 0 and ``token_address`` None when it shall not be
    reissuable."""

    contract_hash: bytes
    satoshi: int
    address: Address
    tokens: int = 0
    token_address: Address | None = None
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class BuiltIssuance:
    """A signed issuance with what its maker knows of it. The issuing input is the first."""

    tx: Transaction
    issued: Issued
    asset_id: bytes
    token_id: bytes
    """Also where no tokens were made: the id follows from the issuance."""
    entropy: bytes
    openings: tuple[Opening, ...]
    """One for each output, the fee's included."""
    asset_vout: int
    token_vout: int | None
    change_vout: int | None
    change: Place
    fee: int


class NotEnoughCoins(Exception):
    """The coins given do not reach; ``needed`` satoshi would."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} satoshi are needed")
        self.needed = needed


class FeeWallet:
    """Keys of one seed. Thread-safe. ``turn`` is held while an issuance is put together, so that two do not choose the
    same coins; what guards the coins is the database."""

    def __init__(self, seed: bytes, network: Network) -> None:
        self.network = network
        self.turn = threading.Lock()
        self.policy_asset = bytes.fromhex(network.policy_asset_hex)[::-1]
        master = ExtendedKey.from_seed(seed, main=network.main)
        self._account = master.derive("84h/1776h/0h" if network.main else "84h/1h/0h")
        self._branches = self._account.child(0), self._account.child(1)
        self._blinding = Slip77.from_seed(seed)
        self._issuances = hmac.digest(seed, b"amp0 issuance blinding keys", "sha256")

    @property
    def pubkey(self) -> bytes:
        """Public key of its account (33 bytes): tells one fee wallet from another."""
        return self._account.public_key

    def script(self, place: Place) -> bytes:
        """The output script (P2WPKH) of a place."""
        return p2wpkh(hash160(self._branches[place.is_change].child_public_key(place.number)))

    def address(self, place: Place) -> Address:
        """The confidential address of a place."""
        script = self.script(place)
        return Address.from_script(self.network, script, self._blinding.blinding_pubkey(script))

    def open(self, txout: TxOut) -> Opening | None:
        """What an output at one of the wallet's scripts holds; None when it is not L-BTC, or cannot be opened."""
        try:
            opening = unblind(txout, self._blinding.blinding_key(txout.script))
        except UnblindError:
            return None
        return opening if opening.asset == self.policy_asset and opening.satoshi else None

    def read_issuance(self, txin: TxIn) -> Issued:
        """What an issuance of this wallet made, hidden amounts included. Raises :class:`UnblindError`."""
        return open_issuance(txin, self._nonces(txin.prevout))

    def _nonces(self, outpoint: OutPoint) -> tuple[bytes, bytes]:
        where = outpoint.serialize()
        digests = [hmac.digest(self._issuances, where + bytes((number,)), "sha256") for number in range(2)]
        return digests[0], digests[1]

    # -- the transaction ---------------------------------------------------------------------

    def build(
        self,
        wanted: Wanted,
        coins: Sequence[FeeCoin],
        change: Place,
        *,
        fee_rate: int,
        random: Callable[[int], bytes],
    ) -> BuiltIssuance:
        """The signed issuance, paid with ``coins`` (at least one; the first input issues) at ``fee_rate`` satoshi per
        1,000 discounted virtual bytes. What is left goes to ``change``, blinded like everything but the fee.

        Raises :class:`NotEnoughCoins`.
        """
        total = sum(coin.opening.satoshi for coin in coins)
        fee = self.fee(wanted, len(coins), fee_rate)
        if not coins or total < fee:
            raise NotEnoughCoins(fee)
        nonces = self._nonces(coins[0].outpoint) if wanted.is_hidden else None
        issued = issue(
            coins[0].outpoint, wanted.satoshi, wanted.tokens, wanted.contract_hash, nonces=nonces, random=random
        )
        assert issued.asset is not None
        to = wanted.address
        outputs = [PlainOutput(to.script, issued.asset.asset, wanted.satoshi, to.blinding_pubkey)]
        token_vout = change_vout = None
        if issued.token is not None:
            assert wanted.token_address is not None
            token_vout = len(outputs)
            to = wanted.token_address
            outputs.append(PlainOutput(to.script, issued.token.asset, wanted.tokens, to.blinding_pubkey))
        if total > fee:
            change_vout = len(outputs)
            script = self.script(change)
            key = self._blinding.blinding_pubkey(script)
            outputs.append(PlainOutput(script, self.policy_asset, total - fee, key))
        outputs.append(PlainOutput(b"", self.policy_asset, fee))
        spent = [DomainEntry(coin.asset_field, coin.opening) for coin in coins]
        blinded = blind([spent[0], *issued.domain(), *spent[1:]], outputs, random)
        vin = [TxIn(coin.outpoint, sequence_number=SEQUENCE) for coin in coins]
        vin[0] = TxIn(coins[0].outpoint, sequence_number=SEQUENCE, issuance=issued.issuance)
        tx = self._sign(Transaction.of(2, 0, vin, [output.txout for output in blinded]), coins)
        # What is stored next can never be changed again: look at it with a node's eyes before.
        verify_amounts(tx, [self._txout(coin) for coin in coins])
        asset_id, token_id = issued_asset(tx.vin[0])
        prevout = coins[0].outpoint
        return BuiltIssuance(
            tx=tx,
            issued=issued,
            asset_id=asset_id,
            token_id=token_id,
            entropy=wally.issuance_entropy(bytes(prevout.hash), prevout.vout(), wanted.contract_hash),
            openings=tuple(output.opening for output in blinded),
            asset_vout=0,
            token_vout=token_vout,
            change_vout=change_vout,
            change=change,
            fee=fee,
        )

    def fee(self, wanted: Wanted, inputs: int, fee_rate: int) -> int:
        """What an issuance with that many inputs pays: satoshi, from the size of one that looks like it."""
        hidden = wanted.is_hidden
        issuance = Issuance(
            bytes(32),
            wanted.contract_hash,
            _FIELD if hidden else _FIELD[:9],
            (_FIELD if hidden else _FIELD[:9]) if wanted.tokens else b"",
            _PROOF if hidden else b"",
            _PROOF if hidden and wanted.tokens else b"",
        )
        place = TxIn(OutPoint(bytes(32), 0), sequence_number=SEQUENCE, witness=(_SIGNATURE, _FIELD))
        first = TxIn(place.prevout, sequence_number=SEQUENCE, issuance=issuance, witness=place.witness)
        scripts = [wanted.address.script, self.script(Place(0))]
        scripts += [wanted.token_address.script] if wanted.token_address is not None else []
        vout = [TxOut(script, _FIELD, _FIELD, _FIELD, b"", b"") for script in scripts]
        vout.append(TxOut.fee(self.policy_asset, 1))
        tx = Transaction.of(2, 0, [first] + [place] * (inputs - 1), vout)
        # A range proof may be some bytes longer than most.
        return -(-(tx.discount_vsize() + (4 if hidden else 1)) * fee_rate // 1000)

    def _sign(self, tx: Transaction, coins: Sequence[FeeCoin]) -> Transaction:
        hashes = SighashCache(tx)
        for index, coin in enumerate(coins):
            key = self._branches[coin.place.is_change].child(coin.place.number)
            assert key.private_key is not None
            digest = hashes.segwit_v0(index, p2pkh(hash160(key.public_key)), coin.value_field)
            tx = tx.replace_input(index, witness=(sign(key.private_key, digest), key.public_key))
        return tx

    def _txout(self, coin: FeeCoin) -> TxOut:
        return TxOut(self.script(coin.place), coin.asset_field, coin.value_field)

    def __repr__(self) -> str:
        return f"FeeWallet({self.pubkey.hex()[:16]})"
