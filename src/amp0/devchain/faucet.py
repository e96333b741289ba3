"""Free coins: the faucet spends the genesis coin, issues assets, and pays confidentially.

The genesis coin belongs to everybody (its script is ``OP_TRUE``). The faucet splits it into many
equal coins at the start, so that many payments fit into one block without waiting for each other.
A payment to a confidential address is blinded, and so is an output of the faucet's own besides:
with a single blinded output, amount and asset would follow from the rest of the transaction.

Nothing here is secret: the faucet's blinding key is derived from a published text, so that a
chain that comes back from its folder still finds its coins.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.elements import wally
from amp0.elements.confidential import (
    DomainEntry,
    Opening,
    PlainOutput,
    blind,
    issued_asset,
    run_parallel,
    unblind,
)
from amp0.elements.hashes import Txid, asset_id_to_str, sha256
from amp0.elements.transaction import (
    MAX_SATOSHI,
    Issuance,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    explicit_value_field,
)
from amp0.errors import Amp0Error, ChainError, InsufficientFunds, InvalidInput, UnblindError

BLINDING_KEY = sha256(b"amp0 devchain faucet: nothing here is secret")
BLINDING_PUBKEY = wally.public_key(BLINDING_KEY)
SPLIT = 250
"""Coins of the policy asset made at the start."""
COIN = 1_000_000_000_000
"""Satoshi of each of them; what is left stays in one large coin."""
ASSET_COINS = 20
"""Coins a newly issued asset is split into."""
MAX_DEPTH = 20
MAX_DEPTH_VSIZE = 60_000
"""Unconfirmed transactions that one coin may follow, and their virtual bytes; relay allows 25 of 101,000."""
SEQUENCE = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class Payment:
    """One output to make: script, its public blinding key or ``None``, satoshi, asset (32 bytes)."""

    script: bytes
    blinding_pubkey: bytes | None
    satoshi: int
    asset: bytes = POLICY_ASSET


@dataclass(frozen=True, slots=True)
class FaucetCoin:
    """An output of the faucet with its opening."""

    outpoint: OutPoint
    txout: TxOut
    opening: Opening


class Faucet:
    """Pays from the coins under ``OP_TRUE``. Any number of threads may use it at once."""

    def __init__(self, chain: Chain, *, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._chain = chain
        self._random = random
        self._lock = threading.Lock()
        self._coins: dict[bytes, dict[OutPoint, FaucetCoin]] = {}
        self._stale = True
        chain.on_change(self._noticed)

    def _noticed(self, what: str) -> None:
        if what == "reorg":
            self._stale = True

    # -- use ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Split the genesis coin and mine the split, on a chain that has no block yet."""
        if self._chain.height:
            return
        coins = self._take(POLICY_ASSET, SPLIT * COIN, 1)
        outputs = [PlainOutput(OP_TRUE, POLICY_ASSET, COIN, None) for _ in range(SPLIT)]
        self._spend(coins, outputs)
        self._chain.mine()

    def pay(self, payment: Payment) -> Txid:
        """Make one payment; the transaction waits in the mempool.

        Raises :class:`InvalidInput`, :class:`InsufficientFunds`, or
        :class:`~amp0.errors.BroadcastRejected`.
        """
        return self.pay_together([payment])

    def pay_together(self, payments: Sequence[Payment]) -> Txid:
        """All payments in one transaction (relay takes about 80 blinded outputs)."""
        needed: dict[bytes, int] = {}
        for payment in payments:
            if not 1 <= payment.satoshi <= MAX_SATOSHI:
                raise InvalidInput(f"satoshi must lie between 1 and {MAX_SATOSHI}")
            needed[payment.asset] = needed.get(payment.asset, 0) + payment.satoshi
        if not needed:
            raise InvalidInput("nothing to pay")
        outputs = [PlainOutput(p.script, p.asset, p.satoshi, p.blinding_pubkey) for p in payments]
        policy = needed.pop(POLICY_ASSET, 0)
        coins: list[FaucetCoin] = []
        try:
            for asset, satoshi in needed.items():
                coins += self._take(asset, satoshi, 0)
            # The fee of a coin more than we guess is a few satoshi; leave room for it.
            coins += self._take(POLICY_ASSET, policy, _fee(len(coins) + 8, len(outputs) + len(needed) + 2))
        except Amp0Error:
            self._give_back(coins)
            raise
        return self._spend(coins, outputs)

    def pay_each(self, payments: Sequence[Payment]) -> list[Txid]:
        """Each payment in a transaction of its own, made on all cores; ids in order.

        Mines whenever the coins in reach follow too many unconfirmed transactions.
        """
        txids: list[Txid] = []
        for start in range(0, len(payments), SPLIT):
            part = payments[start : start + SPLIT]
            txids += run_parallel([_job(self, payment) for payment in part])
            if start + SPLIT < len(payments):
                self._chain.mine()
        return txids

    def issue(self, satoshi: int) -> tuple[bytes, Txid]:
        """Issue a new asset to the faucet; its id (32 bytes, internal order) and the transaction."""
        if not 1 <= satoshi <= MAX_SATOSHI:
            raise InvalidInput(f"satoshi must lie between 1 and {MAX_SATOSHI}")
        parts = min(ASSET_COINS, satoshi)
        fee = _fee(2, parts + 2)
        # All explicit amounts of a transaction together are bounded, so the change is blinded.
        coins = self._take(POLICY_ASSET, 0, fee)
        issuance = Issuance(bytes(32), self._random(32), explicit_value_field(satoshi))
        asset, _ = issued_asset(TxIn(coins[0].outpoint, issuance=issuance))
        each = satoshi // parts
        amounts = [each] * (parts - 1) + [satoshi - each * (parts - 1)]
        outputs = [PlainOutput(OP_TRUE, asset, amount, None) for amount in amounts]
        return asset, self._spend(coins, outputs, issuance=issuance, issued=Opening(asset, satoshi))

    # -- coins -------------------------------------------------------------------------------

    def _rescan(self) -> None:
        """Find our coins again. Needs the lock."""
        self._stale = False
        entry = self._chain.script(OP_TRUE)
        known = {outpoint: coin for coins in self._coins.values() for outpoint, coin in coins.items()}
        self._coins = {}
        with self._chain.lock:
            outpoints = [] if entry is None else list(entry.funded)
            found = [(outpoint, self._chain.coin(outpoint)) for outpoint in outpoints]
        for outpoint, coin in found:
            if coin is None or coin.coinbase:
                continue
            ours = known.get(outpoint)
            if ours is None:
                try:
                    ours = FaucetCoin(outpoint, coin.txout, unblind(coin.txout, BLINDING_KEY))
                except UnblindError:
                    continue  # somebody else's
            self._keep(ours)

    def _keep(self, coin: FaucetCoin) -> None:
        self._coins.setdefault(coin.opening.asset, {})[coin.outpoint] = coin

    def _is_deep(self, coin: FaucetCoin) -> bool:
        entry = self._chain.entry(coin.outpoint.hash)
        if entry is None or entry.height is not None:
            return False
        with self._chain.lock:
            pool = self._chain.mempool
            sizes = [entry.vsize, *(pool.entries[txid].vsize for txid in pool.ancestors(entry.tx))]
        return len(sizes) >= MAX_DEPTH or sum(sizes) >= MAX_DEPTH_VSIZE

    def _take(self, asset: bytes, satoshi: int, fee: int) -> list[FaucetCoin]:
        """Reserve coins worth ``satoshi`` and ``fee``, the oldest first."""
        with self._lock:
            if self._stale:
                self._rescan()
            pool = self._coins.get(asset, {})
            chosen: list[FaucetCoin] = []
            total = available = 0
            waiting = False
            for outpoint, coin in list(pool.items()):
                if chosen and total >= satoshi + fee:
                    break
                if self._chain.coin(outpoint) is None:
                    del pool[outpoint]
                    continue
                available += coin.opening.satoshi
                if self._is_deep(coin):
                    waiting = True
                    continue
                chosen.append(coin)
                total += coin.opening.satoshi
            if not chosen or total < satoshi + fee:
                if waiting and available >= satoshi + fee:
                    raise ChainError("the faucet's coins wait for a block; mine one and ask again")
                raise InsufficientFunds(asset_id_to_str(asset), satoshi + fee, total)
            chosen = _fewest(chosen, satoshi + fee)
            for coin in chosen:
                del pool[coin.outpoint]
            return chosen

    def _give_back(self, coins: Sequence[FaucetCoin]) -> None:
        with self._lock:
            for coin in coins:
                self._keep(coin)

    # -- transactions ------------------------------------------------------------------------

    def _spend(
        self,
        coins: Sequence[FaucetCoin],
        outputs: list[PlainOutput],
        *,
        issuance: Issuance | None = None,
        issued: Opening | None = None,
    ) -> Txid:
        try:
            tx, ours = self._build(coins, outputs, issuance, issued)
            txid = self._chain.submit(tx)
        except Amp0Error:
            self._give_back(coins)
            raise
        with self._lock:
            for vout, opening in ours.items():
                self._keep(FaucetCoin(OutPoint(txid, vout), tx.vout[vout], opening))
        return txid

    def _build(
        self,
        coins: Sequence[FaucetCoin],
        outputs: list[PlainOutput],
        issuance: Issuance | None,
        issued: Opening | None,
    ) -> tuple[Transaction, dict[int, Opening]]:
        """The transaction, and the openings of the outputs that are ours."""
        left: dict[bytes, int] = {}
        for opening in [coin.opening for coin in coins] + ([issued] if issued else []):
            left[opening.asset] = left.get(opening.asset, 0) + opening.satoshi
        for output in outputs:
            left[output.asset] = left.get(output.asset, 0) - output.satoshi
        change = [(asset, amount) for asset, amount in left.items() if amount and asset != POLICY_ASSET]
        fee = _fee(len(coins), len(outputs) + len(change) + 2)
        change.append((POLICY_ASSET, left[POLICY_ASSET] - fee))
        hidden = issued is not None or any(not coin.opening.is_explicit for coin in coins)
        hidden = hidden or any(output.blinding_pubkey is not None for output in outputs)
        outputs = list(outputs)
        for i, (asset, amount) in enumerate(change):
            # One blinded output of our own is enough: an asset's change, else the policy asset's.
            key = BLINDING_PUBKEY if hidden and i == 0 else None
            outputs.append(PlainOutput(OP_TRUE, asset, amount, key))
        outputs.append(PlainOutput(b"", POLICY_ASSET, fee, None))
        vin = [TxIn(coin.outpoint, sequence_number=SEQUENCE) for coin in coins]
        domain = [DomainEntry.of_output(coin.txout, coin.opening) for coin in coins]
        if issuance is not None and issued is not None:
            vin[0] = TxIn(vin[0].prevout, sequence_number=SEQUENCE, issuance=issuance)
            domain.insert(1, DomainEntry(wally.asset_generator(issued.asset, None), issued))
        blinded = blind(domain, outputs, self._random)
        tx = Transaction.of(2, 0, vin, [output.txout for output in blinded])
        ours = {
            vout: output.opening
            for vout, output in enumerate(blinded)
            if output.txout.script == OP_TRUE and self._is_ours(outputs[vout])
        }
        return tx, ours

    @staticmethod
    def _is_ours(output: PlainOutput) -> bool:
        return output.blinding_pubkey in (None, BLINDING_PUBKEY)


def _job(faucet: Faucet, payment: Payment) -> Callable[[], Txid]:
    return lambda: faucet.pay(payment)


def _fee(inputs: int, outputs: int) -> int:
    """Satoshi that are enough for relay: an input has 42 virtual bytes, an output up to 79."""
    return 20 + 5 * inputs + 8 * outputs


def _fewest(coins: list[FaucetCoin], target: int) -> list[FaucetCoin]:
    """One coin instead of several where one of those found is enough."""
    for coin in coins:
        if coin.opening.satoshi >= target:
            return [coin]
    return coins
