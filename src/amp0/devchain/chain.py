"""A Liquid regtest chain in memory: blocks, coins, mempool, index, reorganisations.

Everything that waits or varies is handed in: the clock, and a folder if the chain shall outlive
its process. All methods may be called from any thread. Proofs and signatures are verified
outside the lock, once per transaction: what passed on its way into the mempool is mined, and
comes back after a reorganisation, without another look.
"""

from __future__ import annotations

import functools
import os
import threading
import time as _time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amp0.devchain import journal as _journal
from amp0.devchain.blocks import (
    GENESIS,
    MAX_BLOCK_WEIGHT,
    OP_TRUE,
    POLICY_ASSET,
    Block,
    build_block,
    check_block,
    witness_hash,
)
from amp0.devchain.index import Index, ScriptEntry, TxEntry
from amp0.devchain.mempool import Admission, Mempool
from amp0.devchain.validation import (
    Coin,
    check_form,
    check_locks,
    check_standard,
    minimum_fee,
    policy_fee,
    verify,
)
from amp0.elements.block import BlockHeader
from amp0.elements.confidential import run_parallel
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import BroadcastRejected, ChainError, InvalidBlock, InvalidInput

MAX_FUTURE = 2 * 60 * 60
"""Seconds a block's time may be ahead of the clock."""
COINBASE_RESERVE = 4_000
_MEDIAN_SPAN = 11
_MAX_VERIFIED = 100_000
MAX_BLOCKS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class BlockEntry:
    """A connected block: its id, place, bytes and the median time past that it gives."""

    hash: BlockHash
    header: BlockHeader
    block: Block
    txids: tuple[Txid, ...]
    median_time: int

    @property
    def height(self) -> int:
        """Height above genesis."""
        return self.header.block_height

    @property
    def time(self) -> int:
        """The block's own time, seconds since 1970."""
        return self.header.timestamp


class Chain:
    """The chain. ``clock`` gives seconds since 1970; ``folder`` keeps the chain on disk."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = _time.time,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.index = Index()
        self.mempool = Mempool()
        self.revision = 0
        """Grows with every change of blocks or mempool."""
        self._blocks: list[BlockEntry] = []
        self._by_hash: dict[BlockHash, BlockEntry] = {}
        self._stale: dict[BlockHash, BlockEntry] = {}
        self._entries: dict[Txid, TxEntry] = {}
        self._coins: dict[OutPoint, Coin] = {}
        self._verified: dict[bytes, None] = {}
        self._extra_nonce = 1
        self._listeners: list[Callable[[str], None]] = []
        self._journal: _journal.Journal | None = None
        self._connect_genesis()
        if folder is not None:
            opened = _journal.Journal(folder)
            self._replay(opened.records)
            opened.records.clear()
            self._journal = opened

    # -- reading -----------------------------------------------------------------------------
    # Under the lock, so that nobody sees a chain in the middle of a reorganisation.

    @property
    def tip(self) -> BlockEntry:
        """The newest block."""
        with self.lock:
            return self._blocks[-1]

    @property
    def height(self) -> int:
        """Height of the newest block."""
        return self.tip.height

    def block_at(self, height: int) -> BlockEntry | None:
        """The block at a height of the present chain."""
        with self.lock:
            return self._blocks[height] if 0 <= height < len(self._blocks) else None

    def block(self, block_hash: BlockHash) -> BlockEntry | None:
        """A block by id, one that a reorganisation left behind included."""
        with self.lock:
            return self._by_hash.get(block_hash) or self._stale.get(block_hash)

    def is_connected(self, block_hash: BlockHash) -> bool:
        """Whether the block is part of the present chain."""
        with self.lock:
            return block_hash in self._by_hash

    def entry(self, txid: Txid) -> TxEntry | None:
        """A transaction of the mempool or the present chain."""
        with self.lock:
            return self._entries.get(txid)

    def script(self, script: bytes) -> ScriptEntry | None:
        """The history of a script."""
        with self.lock:
            return self.index.scripts.get(script)

    def spender(self, outpoint: OutPoint) -> tuple[Txid, int] | None:
        """Transaction and input that spend an output, mempool included."""
        with self.lock:
            return self.index.spenders.get(outpoint)

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """The output if nobody has spent it yet, neither in a block nor in the mempool."""
        with self.lock:
            if self.mempool.spender(outpoint) is not None:
                return None
            return self._find_coin(outpoint)

    def confirmed_coin(self, outpoint: OutPoint) -> Coin | None:
        """The output if a block has it and no block spends it, whatever waits in the mempool."""
        with self.lock:
            return self._coins.get(outpoint)

    def on_change(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call ``listener("mempool" | "block" | "reorg")`` after changes; returns how to stop it.

        It is called in the thread that made the change and must not wait.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Release the folder."""
        with self.lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    # -- transactions ------------------------------------------------------------------------

    def submit(self, tx: Transaction) -> Txid:
        """Take a transaction into the mempool, as ``sendrawtransaction`` does.

        One that is there already is fine. Raises :class:`BroadcastRejected` with the node's
        reason.
        """
        txid = tx.txid()
        with self.lock:
            known = self._entries.get(txid)
            if known is not None and known.height is None:
                return txid
            if known is not None:
                raise BroadcastRejected("Transaction already in block chain")
            if tx.is_coinbase:
                raise BroadcastRejected("coinbase")
            check_form(tx)
            check_standard(tx)
            coins, _ = self._admit(tx)
        wtxid = bytes(tx.wtxid())
        if wtxid not in self._verified:
            verify(tx, [coin.txout for coin in coins])
        with self.lock:
            if txid in self._entries:
                return txid
            self._remember(wtxid)
            # What the first look saw may have been spent or replaced meanwhile.
            coins, admission = self._admit(tx)
            if self._journal is not None:
                self._journal.append(_journal.TRANSACTION, tx.to_bytes(), sync=False)
            self._enter(tx, coins, admission)
        self._changed("mempool")
        return txid

    def check(self, tx: Transaction) -> Admission:
        """What :meth:`submit` would say to a transaction that is not here yet, without taking it in.

        Raises :class:`BroadcastRejected` with the node's reason, ``txn-already-in-mempool`` and
        ``txn-already-known`` (in a block) among them.
        """
        txid = tx.txid()
        with self.lock:
            known = self._entries.get(txid)
            if known is not None:
                raise BroadcastRejected("txn-already-in-mempool" if known.height is None else "txn-already-known")
            if tx.is_coinbase:
                raise BroadcastRejected("coinbase")
            check_form(tx)
            check_standard(tx)
            coins, admission = self._admit(tx)
        if bytes(tx.wtxid()) not in self._verified:
            verify(tx, [coin.txout for coin in coins])
        return admission

    def _remember(self, wtxid: bytes) -> None:
        self._verified[wtxid] = None
        if len(self._verified) > _MAX_VERIFIED:
            self._verified.pop(next(iter(self._verified)))

    def _find_coin(self, outpoint: OutPoint) -> Coin | None:
        coin = self._coins.get(outpoint)
        if coin is not None:
            return coin
        parent = self.mempool.entries.get(outpoint.hash)
        if parent is None or outpoint[1] >= len(parent.tx.vout):
            return None
        txout = parent.tx.vout[outpoint[1]]
        if txout.is_fee() or is_unspendable(txout.script):
            return None
        return Coin(txout, None)

    def _admit(self, tx: Transaction) -> tuple[list[Coin], Admission]:
        """Everything about a transaction that depends on the present state. Needs the lock."""
        coins: list[Coin] = []
        for txin in tx.vin:
            coin = self._find_coin(txin.prevout)
            if coin is None:
                raise BroadcastRejected("bad-txns-inputs-missingorspent")
            coins.append(coin)
        self._check_locks(tx, coins)
        fee, least = policy_fee(tx), minimum_fee(tx)
        if fee < least:
            raise BroadcastRejected(f"min relay fee not met, {fee} < {least}")
        return coins, self.mempool.admit(tx, fee)

    def _check_locks(self, tx: Transaction, coins: Sequence[Coin]) -> None:
        tip = self.tip
        check_locks(tx, coins, tip.height + 1, tip.median_time, lambda h: self._blocks[h].median_time)

    def _enter(self, tx: Transaction, coins: Sequence[Coin], admission: Admission) -> None:
        for txid in admission.evicted:
            self._forget(self.mempool.remove(txid))
        entry = self._new_entry(tx, coins)
        self._entries[entry.txid] = entry
        self.mempool.add(entry)
        self.index.add(entry)

    def _new_entry(self, tx: Transaction, coins: Sequence[Coin]) -> TxEntry:
        scripts = dict.fromkeys(txout.script for txout in tx.vout if txout.script)
        scripts.update(dict.fromkeys(coin.txout.script for coin in coins))
        return TxEntry(
            tx=tx,
            txid=tx.txid(),
            witness_hash=witness_hash(tx),
            fee=policy_fee(tx),
            vsize=tx.vsize(),
            discount_vsize=tx.discount_vsize(),
            scripts=tuple(scripts),
            received=self.clock(),
        )

    def _forget(self, entry: TxEntry) -> None:
        del self._entries[entry.txid]
        self.index.remove(entry)

    # -- blocks ------------------------------------------------------------------------------

    def mine(self, blocks: int = 1, *, script: bytes = OP_TRUE, empty: bool = False) -> list[BlockHash]:
        """Make blocks of what is in the mempool (or, with ``empty``, of nothing).

        Fees go to ``script``. Raises :class:`InvalidInput` for a strange number and
        :class:`ChainError` when the clock is too far behind the chain.
        """
        if not 0 <= blocks <= MAX_BLOCKS_AT_ONCE:
            raise InvalidInput(f"mine between 0 and {MAX_BLOCKS_AT_ONCE} blocks at once")
        hashes = []
        for _ in range(blocks):
            with self.lock:
                hashes.append(self._mine_one(script, empty=empty))
            self._changed("block")
        return hashes

    def _mine_one(self, script: bytes, *, empty: bool) -> BlockHash:
        tip, now = self.tip, int(self.clock())
        time = max(now, tip.median_time + 1)
        if time > now + MAX_FUTURE:
            raise ChainError("the chain is two hours ahead of the clock, so no block can be made; set the clock right")
        chosen: list[TxEntry] = []
        room = MAX_BLOCK_WEIGHT - COINBASE_RESERVE
        left_out: set[Txid] = set()
        for entry in () if empty else self.mempool:
            weight = entry.tx.weight()
            if weight > room or self.mempool.parents(entry.tx) & left_out:
                left_out.add(entry.txid)
                continue
            room -= weight
            chosen.append(entry)
        block = build_block(
            tip.hash,
            tip.height + 1,
            time,
            [entry.tx for entry in chosen],
            fees=sum(entry.fee for entry in chosen),
            script=script,
            extra_nonce=self._extra_nonce,
            witness_hashes=[entry.witness_hash for entry in chosen],
        )
        self._append(block)
        return self._connect(block)

    def submit_block(self, raw: bytes, expected_hash: BlockHash | None = None) -> BlockHash:
        """Validate a block from elsewhere completely and put it on top of the chain.

        With ``expected_hash``, a block of any other hash is refused. A block that does not
        continue the tip is refused too; disconnect blocks first (:meth:`reorg`). Raises
        :class:`InvalidBlock` with the node's reason.
        """
        block = Block.parse(raw)
        if expected_hash is not None and block.hash() != expected_hash:
            raise InvalidBlock(f"the block's hash is {block.hash()}, not {expected_hash}")
        with self.lock:
            if self.is_connected(block.hash()):
                raise InvalidBlock("duplicate")
        check_block(block)
        with self.lock:
            self._check_context(block)
            self._append(block)
            block_hash = self._connect(block)
        self._changed("block")
        return block_hash

    def _append(self, block: Block) -> None:
        if self._journal is not None:
            self._journal.append(_journal.BLOCK, block.serialize(), sync=True)

    def _check_context(self, block: Block) -> None:
        """Everything about a block that depends on the chain, proofs and scripts included."""
        header, tip = block.header, self.tip
        if header.previous != tip.hash:
            parent = "a block below the tip" if self.block(header.previous) else "an unknown block"
            raise InvalidBlock(f"prev-blk-not-found: the block continues {parent}, not {tip.hash}")
        if header.block_height != tip.height + 1:
            raise InvalidBlock("bad-header-height")
        if header.timestamp <= tip.median_time:
            raise InvalidBlock("time-too-old")
        if header.timestamp > self.clock() + MAX_FUTURE:
            raise InvalidBlock("time-too-new")
        created: dict[OutPoint, Coin] = {}
        spent: set[OutPoint] = set()
        fees: dict[bytes, int] = {}
        jobs: list[Callable[[], None]] = []
        try:
            for tx in block.transactions:
                check_form(tx)
                txid = tx.txid()
                known = self._entries.get(txid)
                if known is not None and known.height is not None:
                    raise InvalidBlock("bad-txns-BIP30")
                if not tx.is_coinbase:
                    jobs += self._check_spends(tx, created, spent)
                    for txout in tx.vout:
                        if txout.is_fee() and txout.explicit_asset is not None:
                            asset = txout.explicit_asset
                            fees[asset] = fees.get(asset, 0) + (txout.explicit_value or 0)
                for vout, txout in enumerate(tx.vout):
                    created[OutPoint(txid, vout)] = Coin(txout, header.block_height, tx.is_coinbase)
            for txout in block.transactions[0].vout:
                asset, satoshi = txout.explicit_asset or b"", txout.explicit_value or 0
                if not satoshi and not is_unspendable(txout.script):
                    raise InvalidBlock("bad-cb-amount")
                fees[asset] = fees.get(asset, 0) - satoshi
            if min(fees.values(), default=0) < 0:
                raise InvalidBlock("bad-cb-amount")
            run_parallel(jobs)
        except BroadcastRejected as refused:
            raise InvalidBlock(refused.reason) from None

    def _check_spends(
        self, tx: Transaction, created: dict[OutPoint, Coin], spent: set[OutPoint]
    ) -> list[Callable[[], None]]:
        coins: list[Coin] = []
        for txin in tx.vin:
            outpoint = txin.prevout
            coin = created.get(outpoint) or self._coins.get(outpoint)
            if coin is None or outpoint in spent or coin.txout.is_fee() or is_unspendable(coin.txout.script):
                raise InvalidBlock("bad-txns-inputs-missingorspent")
            spent.add(outpoint)
            coins.append(coin)
        self._check_locks(tx, coins)
        if bytes(tx.wtxid()) in self._verified:
            return []
        return [functools.partial(verify, tx, [coin.txout for coin in coins])]

    def _connect(self, block: Block) -> BlockHash:
        """Put a valid block on top. Needs the lock; nothing in here may fail."""
        height = block.header.block_height
        for position, tx in enumerate(block.transactions):
            txid = tx.txid()
            entry = self._entries.get(txid)
            if entry is not None and entry.height is None:
                self.mempool.remove(txid)
                self.index.move(entry, height, position)
                if entry.tx != tx:
                    # The same transaction with another witness: the block's is the one that counts.
                    entry.tx, entry.witness_hash = tx, witness_hash(tx)
                    entry.cache.clear()
                    self._remember(bytes(tx.wtxid()))
            else:
                if not tx.is_coinbase:
                    self._drop_conflicts(tx)
                    self._remember(bytes(tx.wtxid()))
                coins = [] if tx.is_coinbase or not height else [self._coins[i.prevout] for i in tx.vin]
                entry = self._new_entry(tx, coins)
                entry.height, entry.position = height, position
                self._entries[txid] = entry
                self.index.add(entry)
            if not tx.is_coinbase:
                for txin in tx.vin:
                    self._coins.pop(txin.prevout, None)
            for vout, txout in enumerate(tx.vout):
                if txout.script and not is_unspendable(txout.script):
                    self._coins[OutPoint(txid, vout)] = Coin(txout, height, tx.is_coinbase)
        times = [entry.time for entry in self._blocks[-(_MEDIAN_SPAN - 1) :]]
        times = sorted([*times, block.header.timestamp])
        connected = BlockEntry(
            block.hash(),
            block.header,
            block,
            tuple(tx.txid() for tx in block.transactions),
            times[len(times) // 2],
        )
        self._blocks.append(connected)
        self._by_hash[connected.hash] = connected
        self._stale.pop(connected.hash, None)
        self.revision += 1
        return connected.hash

    def _drop_conflicts(self, tx: Transaction) -> None:
        rivals = [txid for i in tx.vin if (txid := self.mempool.spender(i.prevout)) is not None]
        for txid in self.mempool.with_descendants(rivals):
            self._forget(self.mempool.remove(txid))

    # -- reorganisation ----------------------------------------------------------------------

    def reorg(self, depth: int, *, blocks: int = 0) -> list[BlockHash]:
        """Disconnect the newest ``depth`` blocks; their transactions return to the mempool.

        Then make ``blocks`` empty ones in their place, before anybody can look: ``depth + 1`` is
        what a network does, whose tip never gets lower (some wallets refuse one that does).
        The new blocks differ from the disconnected ones even at the same second. Returns the
        hashes left behind, newest first. Raises :class:`InvalidInput` for strange numbers.
        """
        left: list[BlockHash] = []
        try:
            with self.lock:
                if not 0 <= depth <= self.height:
                    raise InvalidInput(f"the chain has {self.height} blocks above genesis, not {depth}")
                if not 0 <= blocks <= MAX_BLOCKS_AT_ONCE:
                    raise InvalidInput(f"mine between 0 and {MAX_BLOCKS_AT_ONCE} blocks at once")
                if depth:
                    if self._journal is not None:
                        self._journal.append(_journal.DISCONNECT, depth.to_bytes(4, "little"), sync=True)
                    left = self._disconnect(depth)
                for _ in range(blocks):
                    self._mine_one(OP_TRUE, empty=True)
        finally:
            if left or blocks > 0:
                self._changed("reorg")
        return left

    def _disconnect(self, depth: int) -> list[BlockHash]:
        waiting = list(self.mempool)
        for entry in reversed(waiting):
            self._forget(self.mempool.remove(entry.txid))
        returned: list[Transaction] = []
        left: list[BlockHash] = []
        for _ in range(depth):
            tip = self._blocks.pop()
            del self._by_hash[tip.hash]
            self._stale[tip.hash] = tip
            left.append(tip.hash)
            for txid in reversed(tip.txids):
                entry = self._entries[txid]
                for vout in range(len(entry.tx.vout)):
                    self._coins.pop(OutPoint(txid, vout), None)
                self._forget(entry)
                if not entry.tx.is_coinbase:
                    for txin in entry.tx.vin:
                        parent = self._entries[txin.prevout.hash]
                        self._coins[txin.prevout] = Coin(
                            parent.tx.vout[txin.prevout[1]], parent.height, parent.tx.is_coinbase
                        )
                    returned.append(entry.tx)
        self._extra_nonce += 1
        for tx in [*reversed(returned), *(entry.tx for entry in waiting)]:
            try:
                coins, admission = self._admit(tx)
            except BroadcastRejected:
                # It cannot be in the next block any more: a coinbase it spends is gone, it is
                # locked again, or what it depends on was dropped just before.
                continue
            self._enter(tx, coins, admission)
        self.revision += 1
        return left

    # -- beginnings --------------------------------------------------------------------------

    def _connect_genesis(self) -> None:
        self._connect(GENESIS)

    def _replay(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Rebuild the state from what this chain wrote itself; proofs were verified then."""
        for kind, payload in records:
            if kind == _journal.BLOCK:
                self._connect(Block.parse(payload))
            elif kind == _journal.DISCONNECT:
                self._disconnect(int.from_bytes(payload, "little"))
            else:
                tx = Transaction.from_bytes(payload)
                self._remember(bytes(tx.wtxid()))
                try:
                    coins, admission = self._admit(tx)
                except BroadcastRejected:
                    continue
                if tx.txid() not in self._entries:
                    self._enter(tx, coins, admission)

    def _changed(self, what: str) -> None:
        self.revision += 1
        for listener in list(self._listeners):
            listener(what)


__all__ = ["MAX_FUTURE", "POLICY_ASSET", "BlockEntry", "Chain"]
