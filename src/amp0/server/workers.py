"""The threads that run calls, so that the event loop never waits: a pool for each kind of call."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from amp0.server.refusal import ServerBusy
from amp0.server.settings import Settings

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

_SENDING_WORKERS = 3
"""Threads that wait for mail relays and webhooks; the upkeep of two-factor takes one of them at times."""
_OUTSIDE_WORKERS = 8
"""Threads for operations of issuers that wait for the chain, for somebody else, or for a password to be stretched."""
_REGISTER_WORKERS = 2
"""Threads that read for issuers. More would only take turns with each other, and with those that wallets wait for."""
_AWAY_WORKERS = 8
"""Further threads for slow work that waits for somebody else meanwhile; see :meth:`Workers.away`."""


class Workers:
    """A thread for quick calls and one for those that write; pools for longer ones, for those that check proofs or wait
    for the chain, and for those that send messages."""

    def __init__(self, settings: Settings) -> None:
        # One, because the interpreter runs one at a time: with four of them, the loop gets every fifth turn.
        self._quick = ThreadPoolExecutor(1, thread_name_prefix="amp0-quick")
        self._ordinary = ThreadPoolExecutor(settings.workers, thread_name_prefix="amp0-call")
        # More threads than may work at once: those that are away leave their place to another.
        self._slow = ThreadPoolExecutor(settings.cosign_workers + _AWAY_WORKERS, thread_name_prefix="amp0-cosign")
        self._hands = threading.Semaphore(settings.cosign_workers)
        self._in_hand = threading.local()
        self._sending = ThreadPoolExecutor(_SENDING_WORKERS, thread_name_prefix="amp0-factor")
        self._outside = ThreadPoolExecutor(_OUTSIDE_WORKERS, thread_name_prefix="amp0-outside")
        self._registers = ThreadPoolExecutor(_REGISTER_WORKERS, thread_name_prefix="amp0-register")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="amp0-write")
        self._slow_places = settings.max_waiting_cosigns + settings.cosign_workers
        self._slow_taken = 0

    async def slow(self, work: Callable[[], T]) -> T:
        """Run something long in a thread of its own kind. Raises :class:`ServerBusy` when too many wait."""
        if self._slow_taken >= self._slow_places:
            raise ServerBusy("The server has more transactions to check than it can; try again in a moment")
        self._slow_taken += 1

        def in_turn() -> T:
            with self._hands:
                self._in_hand.yes = True
                try:
                    return work()
                finally:
                    self._in_hand.yes = False

        try:
            return await asyncio.get_running_loop().run_in_executor(self._slow, in_turn)
        finally:
            self._slow_taken -= 1

    @contextmanager
    def away(self) -> Iterator[None]:
        """For slow work that waits for somebody out of the house: another may work meanwhile.

        Elsewhere than in a thread of :meth:`slow` it does nothing.
        """
        if not getattr(self._in_hand, "yes", False):
            yield
            return
        self._hands.release()
        try:
            yield
        finally:
            self._hands.acquire()

    async def quick(self, work: Callable[[], T]) -> T:
        """Run something that takes a millisecond or less; whatever takes longer would hold up all of these."""
        return await asyncio.get_running_loop().run_in_executor(self._quick, work)

    async def ordinary(self, work: Callable[[], T]) -> T:
        """Run something in an ordinary thread."""
        return await asyncio.get_running_loop().run_in_executor(self._ordinary, work)

    async def sending(self, work: Callable[[], T]) -> T:
        """Run something that may wait for a mail relay or a webhook, where nobody else waits behind it."""
        return await asyncio.get_running_loop().run_in_executor(self._sending, work)

    async def outside(self, work: Callable[[], T]) -> T:
        """Run an issuer's operation that may wait for long, where no wallet waits behind it."""
        return await asyncio.get_running_loop().run_in_executor(self._outside, work)

    async def reading(self, work: Callable[[], T]) -> T:
        """Read for an issuer. A register of 100,000 holders takes its time, and no wallet waits behind it."""
        return await asyncio.get_running_loop().run_in_executor(self._registers, work)

    async def writing(self, work: Callable[[], T]) -> T:
        """Run something in the thread of those that write: there is one writer at a time anyway."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def close(self) -> None:
        """Wait for what is running, and take nothing more."""
        pools = (self._quick, self._ordinary, self._slow, self._sending, self._outside, self._registers, self._writer)
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)


class Shared(Generic[A, B]):
    """Items that come while others are being written are written together, next.

    ``run`` gets them in the order they came, in the writing thread, and answers each in its place. Nobody waits for
    company: a lone item is written at once. ``most`` bounds a batch: with more, the first of it would wait for the
    last for longer than for the disk. Lives on the event loop.
    """

    def __init__(self, workers: Workers, run: Callable[[Sequence[A]], Sequence[B]], *, most: int) -> None:
        self._workers = workers
        self._most = most
        self._run = run
        self._waiting: deque[tuple[A, asyncio.Future[B]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def run(self, item: A) -> B:
        """Returns when the item is written, whoever it was written with."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[B] = loop.create_future()
        self._waiting.append((item, written))
        if self._writer is None:
            self._writer = loop.create_task(self._write())
        return await written

    async def _write(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._most)
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._write_together(batch)
        finally:
            self._writer = None

    async def _write_together(self, batch: Sequence[tuple[A, asyncio.Future[B]]]) -> None:
        items = [item for item, _ in batch]
        try:
            results = await self._workers.writing(lambda: self._run(items))
        except Exception as error:  # noqa: BLE001 (each of them gets it; those that wait are not concerned)
            for _, written in batch:
                if not written.done():
                    written.set_exception(error)
            return
        for (_, written), result in zip(batch, results, strict=True):
            if not written.done():
                written.set_result(result)
