"""Follows the chain: whole blocks and the mempool, into the index, and tells who should know.

One round (:meth:`Watcher.poll`) asks for the tip, connects the blocks that lead to it (after disconnecting those that
are no longer on the way), lists the mempool and reads what is new there. Everything that parses or writes runs in a
worker thread, block by block in one transaction each; waiting for the chain happens outside of any.

A transaction of ours that is missing from the mempool listing is not gone at once: explorers serve listings that
are some seconds old. It is gone when it stayed away for a while, or when a block holds a conflicting one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.protocol import rpc
from amp0.server import chainindex
from amp0.server.chainindex import Block, Changes, Follower
from amp0.server.chainsource import ChainSource, parse_block
from amp0.server.context import Publication, Tip
from amp0.server.refusal import ChainUnavailable, Refusal
from amp0.server.settings import Settings
from amp0.server.store.engine import Store

log = logging.getLogger("amp0.server.watcher")

T = TypeVar("T")

_PARALLEL_READS = 8
_MEMPOOL_BATCH = 200
_SLOWEST_RETRY = 15.0


class Run(Protocol):
    """Runs blocking work in a worker thread."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of ``work``, or what it raises."""


class Watcher:
    """The server's eye on the chain. Its synchronous methods are for worker threads, the others for the loop."""

    def __init__(
        self,
        settings: Settings,
        network: Network,
        store: Store,
        source: ChainSource,
        clock: Callable[[], float],
        run: Run,
        publish: Callable[[Sequence[Publication]], Awaitable[None]],
        followers: Sequence[Follower] = (),
    ) -> None:
        self._settings = settings
        self._followers = followers
        self._policy_asset = network.policy_asset_hex
        self._genesis = BlockHash(network.genesis_hash_hex)
        self._is_our_chain = False
        self._store = store
        self._source = source
        self._clock = clock
        self._run = run
        self._publish = publish
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._tip: Block | None = None
        self._mempool: set[Txid] = set()
        self._missing_since: dict[Txid, float] = {}
        self._has_read = False
        self._read_completely_at = 0.0
        self._round = asyncio.Lock()

    # -- for worker threads ------------------------------------------------------------------

    def tip(self) -> Tip:
        """The newest block read."""
        block = self._tip
        return Tip() if block is None else Tip(block.height, str(block.hash), str(block.previous))

    def height(self) -> int:
        """Height of the newest block read; 0 before the first."""
        block = self._tip
        return 0 if block is None else block.height

    def has_read(self) -> bool:
        """Whether blocks and mempool were read up to the tip once since this process began."""
        return self._has_read

    def is_current(self) -> bool:
        """Whether blocks and mempool were read completely a moment ago."""
        patience = max(5 * self._settings.poll_seconds, self._settings.chain_timeout_seconds)
        return self._clock() - self._read_completely_at <= patience

    def fetch(self, txid: Txid) -> Transaction | None:
        """Ask the chain for one transaction of block or mempool; None when it has no such.

        One bounded question, never inside a database transaction. Raises :class:`ChainUnavailable`.
        """
        return self._ask(lambda: self._source.transaction(txid))

    def broadcast(self, tx: Transaction) -> list[Publication]:
        """Hand a transaction to the chain and, once it took it, to the index; what there is to publish then.

        Raises :class:`ChainUnavailable` or :class:`~amp0.server.refusal.BroadcastRefused`.
        """
        return self._ask(lambda: self._broadcast(tx))

    def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(question(), self._settings.chain_timeout_seconds)

        if self._loop is None:
            raise ChainUnavailable("The server does not follow the chain yet; try again in a moment")
        try:
            return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()
        except TimeoutError:
            raise ChainUnavailable("The chain source does not answer in time; try again") from None

    # -- for the event loop ------------------------------------------------------------------

    async def start(self) -> None:
        """Read where the index stands, try to catch up once, and keep following until :meth:`stop`."""
        self._loop = asyncio.get_running_loop()
        self._tip = await self._run(lambda: self._read(chainindex.tip))
        try:
            await self.poll()
        except Refusal as error:
            log.warning("chain is away, will keep trying error=%s", error)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following; what is being written is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._loop = None

    async def poll(self) -> None:
        """One round: blocks, then mempool. Raises :class:`ChainUnavailable` or a store's refusal."""
        async with self._round:
            if not self._is_our_chain:
                await self._check_chain()
            tip_hash = await self._follow_blocks()
            is_complete = await self._follow_mempool(tip_hash)
            # A block that came in between changes nothing about what was there before.
            self._has_read = True
            if is_complete:
                self._read_completely_at = self._clock()

    async def _check_chain(self) -> None:
        """A source of another chain would make nonsense of everything: look once before believing it."""
        genesis = await self._source.block_hash(0)
        if genesis != self._genesis:
            raise ChainUnavailable(
                f"The chain source serves another chain: its first block is {genesis}, not {self._genesis}; "
                "correct chain_url or network"
            )
        await self._source.begin()
        self._is_our_chain = True

    async def _follow(self) -> None:
        delay = self._settings.poll_seconds
        while True:
            await asyncio.sleep(delay)
            try:
                await self.poll()
                if delay != self._settings.poll_seconds:
                    log.info("chain is back height=%d", self.height())
                delay = self._settings.poll_seconds
            except Refusal as error:
                if delay == self._settings.poll_seconds:
                    log.warning("chain cannot be followed error=%s", error)
                delay = min(2 * delay, max(_SLOWEST_RETRY, self._settings.poll_seconds))
            except Exception:
                log.exception("chain cannot be followed")
                delay = min(2 * delay, max(_SLOWEST_RETRY, self._settings.poll_seconds))

    # -- blocks ------------------------------------------------------------------------------

    async def _follow_blocks(self) -> BlockHash:
        """Connect and disconnect blocks until the source's tip is ours."""
        wanted = await self._source.tip_hash()
        while self._tip is None or self._tip.hash != wanted:
            if self._tip is None:
                await self._connect(wanted)
                continue
            following = await self._source.block_hash(self._tip.height + 1)
            if following is None or not await self._connect(following):
                await self._disconnect()
            wanted = await self._source.tip_hash()
        return wanted

    async def _connect(self, block_hash: BlockHash) -> bool:
        """Read and connect one block. False when it does not follow our tip."""
        raw = await self._source.block_bytes(block_hash)

        def work() -> tuple[Block, list[Publication]] | None:
            block = parse_block(raw, block_hash)
            tip = self._tip
            if tip is not None and (block.previous != tip.hash or block.height != tip.height + 1):
                return None
            with self._store.transaction() as connection:
                changes = chainindex.add_block(connection, block, self._policy_asset, self._clock(), self._followers)
                publications = _publications(connection, changes)
            kept = Block(block.height, block.hash, block.previous, block.time)
            return kept, publications

        done = await self._run(work)
        if done is None:
            return False
        self._tip, publications = done
        event = rpc.BlockEvent(
            count=self._tip.height, block_hash=str(self._tip.hash), previous_hash=str(self._tip.previous)
        )
        await self._publish([*publications, Publication(rpc.TOPIC_BLOCKS, msgspec.to_builtins(event))])
        return True

    async def _disconnect(self) -> None:
        """Take our tip back: the chain went another way."""
        tip = self._tip
        assert tip is not None
        log.warning("reorganisation, disconnecting height=%d hash=%s", tip.height, tip.hash)

        def work() -> tuple[Block | None, list[Publication]]:
            with self._store.transaction() as connection:
                changes = chainindex.remove_block(connection, tip.height, self._clock(), self._followers)
                return chainindex.tip(connection), _publications(connection, changes)

        self._tip, publications = await self._run(work)
        self._missing_since.clear()
        await self._publish(publications)
        if self._tip is None:
            # The first block ever read is gone. Begin again at its height, so that nothing is skipped.
            replacement = await self._source.block_hash(tip.height)
            if replacement is not None:
                await self._connect(replacement)

    # -- mempool -----------------------------------------------------------------------------

    async def _follow_mempool(self, tip_hash: BlockHash) -> bool:
        """Read what is new in the mempool, and note what is gone from it. False when a block came in between."""
        known = await self._run(lambda: self._read(chainindex.unconfirmed))
        listed = await self._source.mempool_txids()
        self._mempool &= listed
        new = [txid for txid in listed if txid not in self._mempool]
        for i in range(0, len(new), _MEMPOOL_BATCH):
            await self._read_transactions(new[i : i + _MEMPOOL_BATCH])
        if await self._source.tip_hash() != tip_hash:
            return False
        await self._note_gone(known - listed)
        return True

    async def _read_transactions(self, txids: Sequence[Txid]) -> None:
        places = asyncio.Semaphore(_PARALLEL_READS)

        async def read(txid: Txid) -> Transaction | None:
            async with places:
                return await self._source.transaction(txid)

        answers = await asyncio.gather(*(read(txid) for txid in txids))
        read_now = {txid: tx for txid, tx in zip(txids, answers, strict=True) if tx is not None}
        ready = in_order(read_now, postponed=set(txids) - read_now.keys())
        await self._add(ready)
        self._mempool.update(tx.txid() for tx in ready)

    async def _broadcast(self, tx: Transaction) -> list[Publication]:
        await self._source.broadcast(tx)
        return await self._record([tx])

    async def _add(self, transactions: Sequence[Transaction]) -> None:
        if transactions:
            await self._publish(await self._record(transactions))

    async def _record(self, transactions: Sequence[Transaction]) -> list[Publication]:
        def work() -> list[Publication]:
            with self._store.transaction() as connection:
                changes = chainindex.add_unconfirmed(
                    connection, transactions, self._policy_asset, self._clock(), self._followers
                )
                return _publications(connection, changes)

        return await self._run(work)

    async def _note_gone(self, missing: set[Txid]) -> None:
        now = self._clock()
        self._missing_since = {txid: self._missing_since.get(txid, now) for txid in missing}
        grace = self._settings.mempool_grace_seconds
        gone = [txid for txid, since in self._missing_since.items() if now - since >= grace]

        def work() -> list[Publication]:
            with self._store.transaction() as connection:
                return _publications(connection, chainindex.mark_gone(connection, gone, now, self._followers))

        if gone:
            await self._publish(await self._run(work))

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._store.snapshot() as connection:
            return query(connection)


def in_order(transactions: dict[Txid, Transaction], postponed: Iterable[Txid] = ()) -> list[Transaction]:
    """Parents before children; children of ``postponed`` ones, at any distance, are left out."""
    ordered: list[Transaction] = []
    left_out = set(postponed)
    done: set[Txid] = set()
    for root in transactions:
        # Depth first without recursion: a chain of unconfirmed transactions may be long.
        stack = [root]
        while stack:
            txid = stack[-1]
            if txid in done or txid in left_out:
                stack.pop()
                continue
            parents = {txin.prevout.txid() for txin in transactions[txid].vin}
            if parents & left_out:
                left_out.add(txid)
            elif waiting := [parent for parent in parents if parent in transactions and parent not in done]:
                stack += waiting
                continue
            else:
                ordered.append(transactions[txid])
                done.add(txid)
            stack.pop()
    return ordered


def _publications(connection: Connection, changes: Changes) -> list[Publication]:
    return [
        Publication(
            rpc.topic_txs(receiving_id),
            msgspec.to_builtins(rpc.TxEvent(txhash=str(txid), subaccounts=pointers)),
        )
        for receiving_id, txid, pointers in chainindex.events_for(connection, changes)
    ]
