"""Transactions that wait for a block: conflicts, replacement, unconfirmed chains.

The rules are a node's: a transaction that spends what another one in the mempool spends replaces
it when the old one signals that it may be (BIP125: a sequence below 0xfffffffe, its own or an
unconfirmed ancestor's) and the new one pays a higher rate, all the old fees, and the relay of
itself. At most 25 unconfirmed transactions follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amp0.devchain.index import TxEntry
from amp0.devchain.validation import MIN_RELAY_RATE
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import BroadcastRejected

MAX_CHAIN = 25
MAX_CHAIN_VSIZE = 101_000
MAX_REPLACED = 100
MAX_REPLACEABLE_SEQUENCE = 0xFFFFFFFD


@dataclass(frozen=True, slots=True)
class Admission:
    """What letting a transaction in would mean: its fee and size, and who has to leave."""

    fee: int
    vsize: int
    evicted: tuple[Txid, ...]


class Mempool:
    """Unconfirmed transactions in an order that puts parents before children."""

    def __init__(self) -> None:
        self.entries: dict[Txid, TxEntry] = {}
        self._spent: dict[OutPoint, Txid] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self.entries

    def __iter__(self) -> Iterator[TxEntry]:
        return iter(self.entries.values())

    def spender(self, outpoint: OutPoint) -> Txid | None:
        """The transaction in the mempool that spends ``outpoint``."""
        return self._spent.get(outpoint)

    def add(self, entry: TxEntry) -> None:
        """Take in a transaction whose conflicts are gone."""
        self.entries[entry.txid] = entry
        for txin in entry.tx.vin:
            self._spent[txin.prevout] = entry.txid

    def remove(self, txid: Txid) -> TxEntry:
        """Take out one transaction; its children stay."""
        entry = self.entries.pop(txid)
        for txin in entry.tx.vin:
            if self._spent.get(txin.prevout) == txid:
                del self._spent[txin.prevout]
        return entry

    # -- families ----------------------------------------------------------------------------

    def parents(self, tx: Transaction) -> set[Txid]:
        """Unconfirmed transactions that ``tx`` spends from."""
        return {txin.prevout.hash for txin in tx.vin if txin.prevout.hash in self.entries}

    def children(self, entry: TxEntry) -> set[Txid]:
        """Unconfirmed transactions that spend from ``entry``."""
        spenders = (self._spent.get(OutPoint(entry.txid, n)) for n in range(len(entry.tx.vout)))
        return {txid for txid in spenders if txid is not None}

    def ancestors(self, tx: Transaction) -> set[Txid]:
        """All unconfirmed transactions that ``tx`` depends on."""
        found: set[Txid] = set()
        todo = list(self.parents(tx))
        while todo:
            txid = todo.pop()
            if txid not in found:
                found.add(txid)
                todo += self.parents(self.entries[txid].tx)
        return found

    def with_descendants(self, txids: Iterable[Txid]) -> list[Txid]:
        """The transactions and all that depend on them, children before parents."""
        family = self._family(txids)
        return [txid for txid in reversed(self.entries) if txid in family]

    def _family(self, txids: Iterable[Txid]) -> set[Txid]:
        found: set[Txid] = set()
        todo = list(txids)
        while todo:
            txid = todo.pop()
            if txid not in found:
                found.add(txid)
                todo += self.children(self.entries[txid])
        return found

    # -- admission ---------------------------------------------------------------------------

    def admit(self, tx: Transaction, fee: int) -> Admission:
        """Whether ``tx`` may enter next to what is there. Raises :class:`BroadcastRejected`."""
        vsize = tx.discount_vsize()
        conflicts = {txid for txin in tx.vin if (txid := self._spent.get(txin.prevout)) is not None}
        evicted: list[Txid] = []
        if conflicts:
            evicted = self._replacement(tx, fee, vsize, conflicts)
        self._check_chain(tx, vsize, set(evicted))
        return Admission(fee, vsize, tuple(evicted))

    def signals_replacement(self, entry: TxEntry) -> bool:
        """Whether BIP125 lets somebody replace this transaction."""
        family = [entry.tx, *(self.entries[txid].tx for txid in self.ancestors(entry.tx))]
        return any(txin.sequence_number <= MAX_REPLACEABLE_SEQUENCE for member in family for txin in member.vin)

    def _replacement(self, tx: Transaction, fee: int, vsize: int, conflicts: set[Txid]) -> list[Txid]:
        if not all(self.signals_replacement(self.entries[txid]) for txid in conflicts):
            raise BroadcastRejected("txn-mempool-conflict")
        evicted = self.with_descendants(conflicts)
        if len(evicted) > MAX_REPLACED:
            raise BroadcastRejected("too many potential replacements")
        if self.ancestors(tx) & set(evicted):
            raise BroadcastRejected("bad-txns-spends-conflicting-tx")
        old_parents = {txin.prevout.hash for txid in conflicts for txin in self.entries[txid].tx.vin}
        if self.parents(tx) - old_parents:
            raise BroadcastRejected("replacement-adds-unconfirmed")
        for txid in conflicts:
            old = self.entries[txid]
            if fee * old.vsize <= old.fee * vsize:
                raise BroadcastRejected(
                    f"insufficient fee, rejecting replacement {tx.txid()}; its rate of {fee} sat for "
                    f"{vsize} vB is not above {old.fee} sat for {old.vsize} vB"
                )
        old_fees = sum(self.entries[txid].fee for txid in evicted)
        relay = -(-MIN_RELAY_RATE * vsize // 1000)
        if fee < old_fees + relay:
            raise BroadcastRejected(
                f"insufficient fee, rejecting replacement {tx.txid()}; {fee} sat is less than the "
                f"{old_fees} sat it replaces and {relay} sat for its own relay"
            )
        return evicted

    def _check_chain(self, tx: Transaction, vsize: int, evicted: set[Txid]) -> None:
        ancestors = self.ancestors(tx)
        if len(ancestors) + 1 > MAX_CHAIN:
            raise BroadcastRejected(f"too-long-mempool-chain, too many unconfirmed ancestors [limit: {MAX_CHAIN}]")
        size = vsize + sum(self.entries[txid].vsize for txid in ancestors)
        if size > MAX_CHAIN_VSIZE:
            raise BroadcastRejected(f"too-long-mempool-chain, exceeds ancestor size limit {MAX_CHAIN_VSIZE}")
        for txid in ancestors:
            family = self._family([txid]) - evicted
            if len(family) + 1 > MAX_CHAIN:
                raise BroadcastRejected(
                    f"too-long-mempool-chain, too many descendants for tx {txid} [limit: {MAX_CHAIN}]"
                )
