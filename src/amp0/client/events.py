"""Events: what the server tells without being asked, as something to iterate over.

An event is a hint that something happened, and no more: the chain says what. Hints can get lost, while the connection
is away or because nobody reads them. Whenever that may have happened a :class:`Resync` stands in their place, and
one stands at the beginning. So whoever syncs at each event misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from amp0.client.session import ClientOptions, Session
from amp0.elements.hashes import BlockHash, Txid
from amp0.errors import Amp0Error, CallFailed, ConnectionFailed, RemoteProtocolError
from amp0.protocol import rpc
from amp0.protocol.rows import Hex32

log = logging.getLogger("amp0.client")

MOST_WAITING = 1000
"""Events that are kept for a reader that is busy; one more, and a :class:`Resync` takes the place of all."""
KEEP_ALIVE_SECONDS = 300.0
"""After this much silence a harmless call shows whether we are still logged in; servers end idle sessions."""
_STEPS = 30
_BEGUN, _RECONNECTED, _OVERFLOW = "begun", "reconnected", "overflow"


@dataclass(frozen=True, slots=True)
class NewTransaction:
    """A transaction touches the account; most likely it is unconfirmed."""

    txid: Txid


@dataclass(frozen=True, slots=True)
class NewBlock:
    """The chain has a new tip. A ``previous_hash`` other than the last tip means a reorganisation."""

    height: int
    block_hash: BlockHash
    previous_hash: BlockHash


@dataclass(frozen=True, slots=True)
class WalletChanged:
    """The signer, or another client of the wallet, wrote its blob: accounts, names, the watch-only login."""


@dataclass(frozen=True, slots=True)
class Resync:
    """Sync now: what happened until here may have gone without an event.

    ``reason`` is ``begun``, ``reconnected`` or ``overflow`` (events came faster than they were read).
    """

    reason: str


Event = NewTransaction | NewBlock | WalletChanged | Resync


class Source(Protocol):
    """What events are heard from: an account that connects again when asked."""

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""

    async def session(self) -> Session:
        """A session that is logged in. Raises what connecting and logging in raise."""

    async def drop(self, session: Session) -> None:
        """Give up a session that is of no use."""

    def topics(self) -> Iterable[tuple[str, Callable[[Any], Event | None]]]:
        """Topics, each with what makes events of its payloads; it raises :class:`RemoteProtocolError`."""


class Events:
    """Events of an account, without end: ``async for event in amp0.events()``.

    The first is a :class:`Resync` with the reason ``begun``: from there on the server is being listened to. A lost
    connection is made again, as often and as long as it takes; an error that waiting does not cure, such as
    credentials that are not valid any more, is raised. The iteration ends when this object or the account is closed.
    """

    def __init__(self, source: Source, options: ClientOptions, most_waiting: int = MOST_WAITING) -> None:
        self._source = source
        self._options = options
        self._most = max(1, most_waiting)
        self._queue: deque[Event] = deque()
        self._news = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._over = False
        self._error: BaseException | None = None

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when there is none within ``timeout`` seconds.

        Raises :class:`ConnectionFailed` once this object or the account is closed, and what ends the iteration.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self.__anext__()
        except TimeoutError:
            return None
        except StopAsyncIteration:
            raise ConnectionFailed("these events were closed; ask the account for new ones") from None

    async def close(self) -> None:
        """Hear no more. What waits to be read is gone."""
        self._queue.clear()
        self._finish(None)
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._listening is None and not self._over:
            self._listening = asyncio.create_task(self._listen())
            self._listening.add_done_callback(self._stopped)
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- inside ------------------------------------------------------------------------------

    def _put(self, event: Event) -> None:
        if self._over:
            return
        if len(self._queue) >= self._most:
            log.warning("events are not read fast enough dropped=%d", len(self._queue))
            self._queue.clear()
            event = Resync(_OVERFLOW)
        self._queue.append(event)
        self._news.set()

    def _hear(self, parse: Callable[[Any], Event | None], payload: Any) -> None:
        try:
            event = parse(payload)
        except RemoteProtocolError as error:
            log.warning("ignored an event reason=%s", error)
            return
        if event is not None:
            self._put(event)

    def _finish(self, error: BaseException | None) -> None:
        self._over = True
        self._error = error
        self._news.set()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """A fault of ours ends the iteration too, and is not lost."""
        if not self._over:
            self._finish(None if task.cancelled() else task.exception())

    async def _listen(self) -> None:
        """Subscribe, wait for the end of the connection, and begin anew."""
        reason, attempt = _BEGUN, 0
        while not self._source.closed:
            session: Session | None = None
            listeners = []
            try:
                session = await self._source.session()
                for topic, parse in self._source.topics():
                    listener = functools.partial(self._hear, parse)
                    listeners.append(listener)
                    await session.subscribe(topic, listener)
                self._put(Resync(reason))
                reason, attempt = _RECONNECTED, 0
                await self._wait_for_end(session)
            except (ConnectionFailed, RemoteProtocolError) as error:
                log.info("events are interrupted attempt=%d error=%s", attempt, type(error).__name__)
            except CallFailed as error:
                if error.name != rpc.SESSION_EXPIRED[0]:
                    self._finish(error)
                    return
            except Amp0Error as error:
                self._finish(error)
                return
            finally:
                if session is not None:
                    for listener in listeners:
                        session.ignore(listener)
            if session is not None:
                await self._source.drop(session)
            attempt += 1
            await self._options.sleep(self._options.backoff.wait(min(attempt, _STEPS), self._options.jitter()))
        self._finish(None)

    async def _wait_for_end(self, session: Session) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await session.ended()
                    return
            await session.call(rpc.GetSyncStatus())


# -- payloads ------------------------------------------------------------------------------------


class _Block(msgspec.Struct, frozen=True):
    count: int
    block_hash: Hex32
    previous_hash: Hex32


class _Transaction(msgspec.Struct, frozen=True):
    """``subaccounts`` is a number, null (for 0) or an array of those."""

    txhash: Hex32
    subaccounts: list[int | None] | int | None = None


def block_of(payload: Any) -> Event:
    """The event of a block's payload. Raises :class:`RemoteProtocolError`."""
    block = _converted(payload, _Block)
    return NewBlock(block.count, BlockHash(block.block_hash), BlockHash(block.previous_hash))


def transaction_of(account: int, payload: Any) -> Event | None:
    """The event of a transaction's payload, None for other accounts. Raises :class:`RemoteProtocolError`."""
    seen = _converted(payload, _Transaction)
    named = seen.subaccounts if isinstance(seen.subaccounts, list) else [seen.subaccounts]
    return NewTransaction(Txid(seen.txhash)) if account in [number or 0 for number in named] else None


def blob_of(payload: Any) -> Event:
    """The event of a blob's payload."""
    return WalletChanged()


def _converted(payload: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(payload, kind)
    except (msgspec.ValidationError, RecursionError):
        raise RemoteProtocolError(f"the AMP0 server's event is not a {kind.__name__.strip('_').lower()}'s") from None
