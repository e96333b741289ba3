"""The node's own wallet: keys from a seed of its own, confidential addresses, coins read from the chain's index.

Nothing is synced: whatever the chain knows about the wallet's scripts is the wallet. Every output it makes to
itself is blinded. All methods may be called from any thread.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.index import TxEntry
from amp0.devchain.node.store import Store
from amp0.devchain.node.values import INSUFFICIENT_FUNDS, WALLET_ERROR, RpcError
from amp0.devchain.validation import COINBASE_MATURITY
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind, issued_asset, unblind
from amp0.elements.hashes import Txid
from amp0.elements.issuance import Issued, open_issuance
from amp0.elements.issuance import issue as make_issuance
from amp0.elements.keys import ExtendedKey, Slip77
from amp0.elements.script import hash160, p2pkh, p2wpkh, push
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import (
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
)
from amp0.errors import Amp0Error, BroadcastRejected, UnblindError

RECEIVE, CHANGE, LEGACY = "receive", "change", "legacy"
ACCOUNTS = {RECEIVE: "84h/1h/0h", CHANGE: "84h/1h/0h", LEGACY: "44h/1h/0h"}
BRANCHES = {RECEIVE: 0, CHANGE: 1, LEGACY: 0}
REPLACEABLE, FINAL = 0xFFFFFFFD, 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class OwnScript:
    """A script of the wallet and the place of its key."""

    script: bytes
    kind: str
    index: int
    pubkey: bytes

    @property
    def path(self) -> str:
        """Derivation path from the master key."""
        return f"{ACCOUNTS[self.kind]}/{BRANCHES[self.kind]}/{self.index}"


@dataclass(frozen=True, slots=True)
class OwnCoin:
    """An output of the wallet, with its opening; ``height`` ``None`` while unconfirmed."""

    outpoint: OutPoint
    txout: TxOut
    opening: Opening
    own: OwnScript
    height: int | None
    coinbase: bool = False


@dataclass(frozen=True, slots=True)
class Issue:
    """What a transaction's first input issues; with ``entropy`` more of an asset, whose token is spent there."""

    satoshi: int
    tokens: int = 0
    blinded: bool = True
    contract_hash: bytes = bytes(32)
    entropy: bytes | None = None


class NodeWallet:
    """A wallet over ``chain``; ``store`` keeps its seed."""

    def __init__(self, chain: Chain, store: Store, random: Callable[[int], bytes]) -> None:
        self.chain = chain
        self.lock = threading.RLock()
        self._store = store
        self._random = random
        self._blinding = Slip77.from_seed(store.seed)
        self._master = ExtendedKey.from_seed(store.seed, main=False)
        self._accounts = {path: self._master.derive(path) for path in set(ACCOUNTS.values())}
        self._branches = {kind: self._accounts[path].child(BRANCHES[kind]) for kind, path in ACCOUNTS.items()}
        self._scripts: dict[bytes, OwnScript] = {}
        self._openings: dict[OutPoint, Opening | None] = {}
        for kind, count in store.kept.given.items():
            for index in range(count):
                self._add(kind, index)

    # -- keys and addresses ------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """Of the master key, hex."""
        return self._master.fingerprint().hex()

    def account(self, kind: str) -> str:
        """The account key of a kind of script, public."""
        return str(self._accounts[ACCOUNTS[kind]])

    def _add(self, kind: str, index: int) -> OwnScript:
        pubkey = self._branches[kind].child_public_key(index)
        script = p2pkh(hash160(pubkey)) if kind == LEGACY else p2wpkh(hash160(pubkey))
        own = self._scripts[script] = OwnScript(script, kind, index, pubkey)
        return own

    def new_script(self, kind: str = RECEIVE, label: str = "") -> OwnScript:
        """The next script of a kind."""
        with self.lock:
            kept = self._store.kept
            index = kept.given.get(kind, 0)
            own = self._add(kind, index)
            kept.given[kind] = index + 1
            if label:
                kept.labels[own.script.hex()] = label
            self._store.save()
            return own

    def find(self, script: bytes) -> OwnScript | None:
        """The wallet's knowledge of a script, if it is its own."""
        return self._scripts.get(script)

    def label(self, own: OwnScript) -> str:
        """The label that an address was given with."""
        return self._store.kept.labels.get(own.script.hex(), "")

    def blinding_pubkey(self, script: bytes) -> bytes:
        """The public blinding key (33 bytes) of an own script."""
        return self._blinding.blinding_pubkey(script)

    def blinding_key(self, script: bytes) -> bytes:
        """The private blinding key that this wallet has for any script, its own or not."""
        return self._blinding.blinding_key(script)

    def private_key(self, own: OwnScript) -> bytes:
        """The private key of an own script."""
        key = self._branches[own.kind].child(own.index).private_key
        assert key is not None
        return key

    # -- coins and history -------------------------------------------------------------------

    def opening(self, outpoint: OutPoint, txout: TxOut) -> Opening | None:
        """What an output holds: an own one, an explicit one, or one that this wallet made."""
        if outpoint in self._openings:
            return self._openings[outpoint]
        if txout.explicit_value is not None and txout.explicit_asset is not None:
            return Opening(txout.explicit_asset, txout.explicit_value)
        kept = self._store.kept.openings.get(f"{outpoint.hash}:{outpoint.vout()}")
        if kept is not None:
            asset, satoshi, abf, vbf = kept
            return Opening(bytes.fromhex(asset), satoshi, bytes.fromhex(abf), bytes.fromhex(vbf))
        if self.find(txout.script) is None:
            return None
        try:
            found: Opening | None = unblind(txout, self._blinding.blinding_key(txout.script))
        except UnblindError:
            found = None
        self._openings[outpoint] = found
        return found

    def own_output(self, outpoint: OutPoint) -> OwnCoin | None:
        """An output of the wallet, spent or not."""
        entry = self.chain.entry(outpoint.hash)
        if entry is None or outpoint.vout() >= len(entry.tx.vout):
            return None
        txout = entry.tx.vout[outpoint.vout()]
        own = self.find(txout.script)
        opening = None if own is None else self.opening(outpoint, txout)
        if own is None or opening is None:
            return None
        return OwnCoin(outpoint, txout, opening, own, entry.height, entry.tx.is_coinbase)

    def coins(self) -> list[OwnCoin]:
        """Every unspent output, immature ones included."""
        with self.lock, self.chain.lock:
            records = [self.chain.script(script) for script in list(self._scripts)]
            outpoints = [outpoint for record in records if record is not None for outpoint in record.funded]
            unspent = [outpoint for outpoint in outpoints if self.chain.coin(outpoint) is not None]
            return [coin for outpoint in unspent if (coin := self.own_output(outpoint)) is not None]

    def entries(self) -> list[TxEntry]:
        """The wallet's transactions, oldest first."""
        with self.lock, self.chain.lock:
            records = [self.chain.script(script) for script in list(self._scripts)]
            txids = dict.fromkeys(txid for record in records if record is not None for txid in record.txids())
            found = [entry for txid in txids if (entry := self.chain.entry(txid)) is not None]
        return sorted(found, key=lambda e: (e.height is None, e.height or 0, e.position, e.received))

    def confirmations(self, height: int | None) -> int:
        """Blocks from a height up to the newest; 0 while unconfirmed."""
        return 0 if height is None else self.chain.height - height + 1

    def is_mature(self, coin: OwnCoin) -> bool:
        """Whether a coin may be spent: a coinbase has to be 100 blocks deep."""
        return not coin.coinbase or self.confirmations(coin.height) > COINBASE_MATURITY - 1

    def is_trusted(self, entry: TxEntry) -> bool:
        """Whether a transaction is confirmed, or made of own coins alone."""
        if entry.height is not None:
            return True
        return all(self.own_output(txin.prevout) is not None for txin in entry.tx.vin)

    def usable(self, minimum: int = 0) -> list[OwnCoin]:
        """Coins that payments are made from, those of most confirmations first, then the largest."""
        found = []
        for coin in self.coins():
            entry = self.chain.entry(coin.outpoint.hash)
            deep = self.confirmations(coin.height) >= minimum
            if deep and self.is_mature(coin) and entry is not None and self.is_trusted(entry):
                found.append(coin)
        return sorted(found, key=lambda c: (c.height is None, -c.opening.satoshi))

    # -- issuances ---------------------------------------------------------------------------

    def issued_openings(self, txin: TxIn) -> list[Opening] | None:
        """Openings of what an own input issues (asset, then tokens), ``None`` when somebody else's hid it."""
        try:
            found = open_issuance(txin, self._issuance_nonces(txin.prevout))
        except UnblindError:
            return None
        asset, token = issued_asset(txin)
        return [found.asset or Opening(asset, 0), found.token or Opening(token, 0)]

    def _issuance_nonces(self, outpoint: OutPoint) -> tuple[bytes, bytes]:
        where = b"issuance" + outpoint.serialize()
        asset, token = (hmac.digest(self._store.seed, where + bytes((number,)), "sha256") for number in range(2))
        return asset, token

    def _issued(self, outpoint: OutPoint, plan: Issue, token_abf: bytes) -> Issued:
        return make_issuance(
            outpoint,
            plan.satoshi,
            plan.tokens,
            plan.entropy or plan.contract_hash,
            token_abf=bytes(32) if plan.entropy is None else token_abf,
            nonces=self._issuance_nonces(outpoint) if plan.blinded else None,
            random=self._random,
        )

    # -- spending ----------------------------------------------------------------------------

    def send(
        self,
        outputs: Sequence[PlainOutput],
        *,
        first: OwnCoin | None = None,
        issue: Issue | None = None,
        sequence: int = REPLACEABLE,
    ) -> Transaction:
        """Pay ``outputs``, and broadcast. ``first`` is spent by the first input, which issues ``issue``.

        What is issued, and a token that ``first`` holds, goes to new addresses of the wallet. Raises
        :class:`RpcError`.
        """
        with self.lock:
            tx, openings = self._build(outputs, first, issue, sequence)
            try:
                txid = self.chain.submit(tx)
            except BroadcastRejected as refused:
                raise RpcError(WALLET_ERROR, f"Transaction was rejected: {refused.reason}") from None
            for vout, opening in enumerate(openings):
                if self.find(tx.vout[vout].script) is not None:
                    # Opening it once more would cost as much as a proof.
                    self._openings[OutPoint(txid, vout)] = opening
                elif not opening.is_explicit:
                    kept = (opening.asset.hex(), opening.satoshi, opening.abf.hex(), opening.vbf.hex())
                    self._store.kept.openings[f"{txid}:{vout}"] = kept
            self._store.save()
            return tx

    def _build(
        self, given: Sequence[PlainOutput], first: OwnCoin | None, issue: Issue | None, sequence: int
    ) -> tuple[Transaction, list[Opening]]:
        outputs = list(given)
        needed: dict[bytes, int] = {}
        for output in outputs:
            needed[output.asset] = needed.get(output.asset, 0) + output.satoshi
        policy = needed.pop(POLICY_ASSET, 0)
        pool = [coin for coin in self.usable() if first is None or coin.outpoint != first.outpoint]
        coins = [] if first is None else [first]
        for asset, satoshi in needed.items():
            coins += _select(pool, asset, satoshi)
        n_outputs = len(outputs) + len(needed) + 2 + (3 if issue else 0)
        extra: list[OwnCoin] = []
        while True:
            fee = _fee([*coins, *extra], n_outputs, issue)
            chosen = _select(pool, POLICY_ASSET, policy + fee + 1)
            if len(chosen) <= len(extra):
                break
            extra = chosen
        coins += extra
        domain = [DomainEntry.of_output(coin.txout, coin.opening) for coin in coins]
        vin = [TxIn(coin.outpoint, sequence_number=sequence) for coin in coins]
        if issue is not None:
            made = self._issued(coins[0].outpoint, issue, coins[0].opening.abf)
            vin[0] = TxIn(coins[0].outpoint, sequence_number=sequence, issuance=made.issuance)
            domain[1:1] = made.domain()
            issued = [opening for opening in (made.asset, made.token) if opening is not None]
            outputs += [self._to_self(opening.asset, opening.satoshi, RECEIVE) for opening in issued]
            if issue.entropy is not None:
                outputs.append(self._to_self(coins[0].opening.asset, coins[0].opening.satoshi, RECEIVE))
        left: dict[bytes, int] = {}
        for entry in domain:
            left[entry.opening.asset] = left.get(entry.opening.asset, 0) + entry.opening.satoshi
        for output in outputs:
            left[output.asset] -= output.satoshi
        left[POLICY_ASSET] -= fee
        outputs += [self._to_self(asset, satoshi, CHANGE) for asset, satoshi in left.items() if satoshi]
        outputs.append(PlainOutput(b"", POLICY_ASSET, fee))
        try:
            blinded = blind(domain, outputs, self._random, for_pset=False)
        except Amp0Error as error:
            raise RpcError(WALLET_ERROR, f"Unable to blind transaction: {error}") from None
        tx = Transaction.of(2, 0, vin, [output.txout for output in blinded])
        return self._sign(tx, coins), [output.opening for output in blinded]

    def _to_self(self, asset: bytes, satoshi: int, kind: str) -> PlainOutput:
        script = self.new_script(kind).script
        return PlainOutput(script, asset, satoshi, self.blinding_pubkey(script))

    def signed(self, tx: Transaction) -> Transaction:
        """A copy whose inputs that spend outputs of the wallet are signed; the others are as they were."""
        return self._sign(tx, [self.own_output(txin.prevout) for txin in tx.vin])

    def _sign(self, tx: Transaction, coins: Sequence[OwnCoin | None]) -> Transaction:
        hashes = SighashCache(tx)
        signed = list(tx.vin)
        for index, coin in enumerate(coins):
            if coin is None:
                continue
            key, code = self.private_key(coin.own), p2pkh(hash160(coin.own.pubkey))
            if coin.own.kind == LEGACY:
                signature = sign(key, hashes.legacy(index, code))
                signed[index] = _replaced(tx.vin[index], push(signature) + push(coin.own.pubkey), ())
            else:
                signature = sign(key, hashes.segwit_v0(index, code, coin.txout.value_field))
                signed[index] = _replaced(tx.vin[index], b"", (signature, coin.own.pubkey))
        return Transaction.of(tx.version, tx.locktime, signed, tx.vout)

    def entry(self, txid: Txid) -> TxEntry | None:
        """A transaction that pays to or spends from the wallet."""
        found = self.chain.entry(txid)
        if found is None or not any(script in self._scripts for script in found.scripts):
            return None
        return found


def _replaced(txin: TxIn, script_sig: bytes, witness: tuple[bytes, ...]) -> TxIn:
    return TxIn(txin.prevout, script_sig, txin.sequence_number, txin.issuance, witness=witness)


def _select(pool: Iterable[OwnCoin], asset: bytes, satoshi: int) -> list[OwnCoin]:
    chosen: list[OwnCoin] = []
    total = 0
    for coin in pool:
        if total >= satoshi:
            break
        if coin.opening.asset == asset:
            chosen.append(coin)
            total += coin.opening.satoshi
    if total < satoshi:
        raise RpcError(INSUFFICIENT_FUNDS, "Insufficient funds")
    return chosen


def _fee(coins: Sequence[OwnCoin], n_outputs: int, issue: Issue | None) -> int:
    """Satoshi that are enough for relay at 0.1 sat a virtual byte.

    An input has 69 virtual bytes (148 for the older kind), an output up to 79, issuance fields up to 132, and each
    range proof of a hidden issued amount 1,045.
    """
    inputs = sum(15 if coin.own.kind == LEGACY else 7 for coin in coins)
    fee = 20 + inputs + 8 * n_outputs
    if issue is None:
        return fee
    return fee + 15 + (105 * (bool(issue.satoshi) + bool(issue.tokens)) if issue.blinded else 0)
