"""Transactions that wait for a block: conflicts, replacement, unconfirmed chains.

The rules are a node's: a transaction that spends what another one in the mempool spends replaces
it when the old one itself signals that it may be (a sequence below 0xfffffffe; what its ancestors
signal does not count, other than in BIP125) and the new one pays a higher rate, all the old fees, and
the relay of itself. At most 25 unconfirmed transactions of 101,000 virtual bytes together follow each
other. Only the least fee goes by discounted sizes; here hidden amounts count in full.
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
CARVE_OUT = 10_000
"""Virtual bytes of one more child that a single unconfirmed parent may have than its chain allows."""
MAX_REPLACED = 100
MAX_REPLACEABLE_SEQUENCE = 0xFFFFFFFD


@dataclass(frozen=True, slots=True)
class Admission:
    """What letting a transaction in would mean: its fee, its size (BIP141 virtual bytes), and who has to leave."""

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
        vsize = tx.vsize()
        conflicts = {txid for txin in tx.vin if (txid := self._spent.get(txin.prevout)) is not None}
        if not all(_signals(self.entries[txid].tx) for txid in conflicts):
            raise BroadcastRejected("txn-mempool-conflict")
        ancestors = self.ancestors(tx)
        self._check_chain(ancestors, vsize, conflicts)
        if ancestors & conflicts:
            raise BroadcastRejected("bad-txns-spends-conflicting-tx")
        evicted = self._replacement(tx, fee, vsize, conflicts) if conflicts else []
        return Admission(fee, vsize, tuple(evicted))

    def signals_replacement(self, entry: TxEntry) -> bool:
        """Whether a node says that BIP125 lets somebody replace this transaction, or one that it depends on."""
        return any(map(_signals, [entry.tx, *(self.entries[txid].tx for txid in self.ancestors(entry.tx))]))

    def _replacement(self, tx: Transaction, fee: int, vsize: int, conflicts: set[Txid]) -> list[Txid]:
        rate = fee * 1000 // vsize
        for txid in conflicts:
            old = self.entries[txid]
            if rate <= old.fee * 1000 // old.vsize:
                raise BroadcastRejected(
                    f"insufficient fee, rejecting replacement {tx.txid()}; its rate of {fee} sat for "
                    f"{vsize} vB is not above {old.fee} sat for {old.vsize} vB"
                )
        if sum(len(self._family([txid])) for txid in conflicts) > MAX_REPLACED:
            raise BroadcastRejected("too many potential replacements")
        evicted = self.with_descendants(conflicts)
        old_parents = {txin.prevout.hash for txid in evicted for txin in self.entries[txid].tx.vin}
        if self.parents(tx) - old_parents:
            raise BroadcastRejected("replacement-adds-unconfirmed")
        old_fees = sum(self.entries[txid].fee for txid in evicted)
        relay = -(-MIN_RELAY_RATE * vsize // 1000)
        if fee < old_fees + relay:
            raise BroadcastRejected(
                f"insufficient fee, rejecting replacement {tx.txid()}; {fee} sat is less than the "
                f"{old_fees} sat it replaces and {relay} sat for its own relay"
            )
        return evicted

    def _check_chain(self, ancestors: set[Txid], vsize: int, conflicts: set[Txid]) -> None:
        room = _Room(MAX_CHAIN, MAX_CHAIN, MAX_CHAIN_VSIZE)
        if len(conflicts) == 1:
            room = _Room(MAX_CHAIN, MAX_CHAIN + 1, MAX_CHAIN_VSIZE + self._size(self._family(conflicts)))
        problem = self._chain_problem(ancestors, vsize, room)
        if problem is None:
            return
        room = _Room(2, room.descendants + 1, room.descendants_vsize + CARVE_OUT)
        if vsize > CARVE_OUT or self._chain_problem(ancestors, vsize, room) is not None:
            raise BroadcastRejected(f"too-long-mempool-chain, {problem}")

    def _chain_problem(self, ancestors: set[Txid], vsize: int, room: _Room) -> str | None:
        if len(ancestors) + 1 > room.ancestors:
            return f"too many unconfirmed ancestors [limit: {room.ancestors}]"
        if vsize + self._size(ancestors) > MAX_CHAIN_VSIZE:
            return f"exceeds ancestor size limit [limit: {MAX_CHAIN_VSIZE}]"
        for txid in ancestors:
            family = self._family([txid])
            if self._size(family) + vsize > room.descendants_vsize:
                return f"exceeds descendant size limit for tx {txid} [limit: {room.descendants_vsize}]"
            if len(family) + 1 > room.descendants:
                return f"too many descendants for tx {txid} [limit: {room.descendants}]"
        return None

    def _size(self, txids: Iterable[Txid]) -> int:
        return sum(self.entries[txid].vsize for txid in txids)


@dataclass(frozen=True, slots=True)
class _Room:
    """How many may follow each other: transactions before one, after one, and the virtual bytes of the latter."""

    ancestors: int
    descendants: int
    descendants_vsize: int


def _signals(tx: Transaction) -> bool:
    return any(txin.sequence_number <= MAX_REPLACEABLE_SEQUENCE for txin in tx.vin)
