"""Transactions as a treasury's wallet would make them, with what its node would say of them: no node, no chain."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amp0.elements import wally
from amp0.elements.confidential import BlindedOutput, DomainEntry, Opening, PlainOutput, blind
from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.issuance import issue
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.protocol import issuer as wire
from tests.devchain.kit import Random

LBTC = b"\x4c" * 32
FEE = 100
_PUBKEY = wally.public_key(b"\x31" * 32)
_numbers = itertools.count(1)
RANDOM = Random(b"treasury")


@dataclass(frozen=True)
class Coin:
    """An output that can be spent, with its opening; made by nobody in particular."""

    outpoint: OutPoint
    txout: TxOut
    opening: Opening


def coin(asset: bytes, satoshi: int, abf: bytes = bytes(32), outpoint: OutPoint | None = None) -> Coin:
    """A coin; explicit, unless an asset blinding factor hides it (then its amount is hidden with a factor as well)."""
    if outpoint is None:
        outpoint = OutPoint(Txid(next(_numbers).to_bytes(4, "big") * 8), 0)
    if abf == bytes(32):
        return Coin(outpoint, TxOut.explicit(b"\x51", asset, satoshi), Opening(asset, satoshi))
    opening = Opening(asset, satoshi, abf, b"\x07" * 32)
    generator = opening.generator()
    commitment = wally.value_commitment(satoshi, opening.vbf, generator)
    return Coin(outpoint, TxOut(b"\x51", generator, commitment, b""), opening)


def to(script: bytes, asset: bytes, satoshi: int, *, explicit: bool = False) -> PlainOutput:
    """An output to make."""
    return PlainOutput(script, asset, satoshi, None if explicit else _PUBKEY)


@dataclass(frozen=True)
class Sent:
    """A transaction with the openings of its outputs, and what a node says of it."""

    tx: Transaction
    openings: list[Opening]
    issued: Opening | None = None

    @property
    def txid(self) -> str:
        """Display hex."""
        return str(self.tx.txid())

    def details(self, sent: Sequence[int] = (), received: Sequence[int] = ()) -> list[wire.WalletDetail]:
        """``gettransaction``'s details: what went to others, and what came to itself (which is also sent)."""
        entries = [self._entry(vout, "send", -1) for vout in (*sent, *received)]
        return [wire.WalletDetail(**entry) for entry in entries + [self._entry(v, "receive", 1) for v in received]]

    def _entry(self, vout: int, category: str, sign: int) -> dict[str, Any]:
        return {"category": category, **self._facts(vout), "amount": sign * self.openings[vout].satoshi / 10**8}

    def _facts(self, vout: int) -> dict[str, Any]:
        opening = self.openings[vout]
        return {
            "vout": vout,
            "asset": asset_id_to_str(opening.asset),
            "amount": opening.satoshi / 10**8,
            "assetblinder": opening.abf[::-1].hex(),
            "amountblinder": opening.vbf[::-1].hex(),
        }

    def change(self, *vouts: int) -> list[wire.ChangeOutput]:
        """Entries of ``listunspent``."""
        return [wire.ChangeOutput(txid=self.txid, **self._facts(vout)) for vout in vouts]

    def listissuances(self, vin: int = 0) -> list[wire.IssuanceEntry]:
        """What the node says of the input that issues."""
        assert self.issued is not None
        blinder = self.issued.vbf[::-1].hex()
        amount = self.issued.satoshi / 10**8
        return [wire.IssuanceEntry(txid=self.txid, vin=vin, assetamount=amount, assetblinds=blinder)]


def send(coins: Sequence[Coin], outputs: Sequence[PlainOutput]) -> Sent:
    """Spend all of ``coins``; what is left goes nowhere, so it has to be the fee in L-BTC of a coin added here."""
    coins = [*coins, coin(LBTC, FEE)]
    made = blind(
        [DomainEntry.of_output(one.txout, one.opening) for one in coins],
        [*outputs, PlainOutput(b"", LBTC, FEE)],
        RANDOM,
    )
    return _sent([TxIn(one.outpoint) for one in coins], made)


def reissue(token: Coin, entropy: bytes, satoshi: int, outputs: Sequence[PlainOutput], *, hidden: bool) -> Sent:
    """Make more of an asset with its token, which has to be hidden."""
    nonces = (b"\x41" * 32, b"\x42" * 32) if hidden else None
    issued = issue(token.outpoint, satoshi, 0, entropy, token_abf=token.opening.abf, nonces=nonces, random=RANDOM)
    fee = coin(LBTC, FEE)
    made = blind(
        [
            DomainEntry.of_output(token.txout, token.opening),
            *issued.domain(),
            DomainEntry.of_output(fee.txout, fee.opening),
        ],
        [*outputs, PlainOutput(b"", LBTC, FEE)],
        RANDOM,
    )
    return _sent([TxIn(token.outpoint, issuance=issued.issuance), TxIn(fee.outpoint)], made, issued.asset)


def _sent(vin: Sequence[TxIn], made: Sequence[BlindedOutput], issued: Opening | None = None) -> Sent:
    tx = Transaction.of(2, 0, vin, [output.txout for output in made])
    return Sent(tx, [output.opening for output in made], issued)


def asset_and_token(entropy: bytes, *, hidden: bool) -> tuple[bytes, bytes]:
    """Ids of the asset of an entropy and of its reissuance token."""
    return wally.issuance_asset(entropy), wally.issuance_token(entropy, hidden)


__all__ = ["LBTC", "Coin", "Sent", "asset_and_token", "coin", "reissue", "send", "to"]
