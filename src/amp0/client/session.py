"""One joined WAMP connection: calls in, answers or typed errors out, each within its deadline."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from amp0.client.transport import Connection, NetworkTransport, Transport
from amp0.errors import (
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    LoginFailed,
    RemoteProtocolError,
    TwoFactorLocked,
    TwoFactorRequired,
    WrongTwoFactorCode,
)
from amp0.network import Network, require_secure_url
from amp0.protocol import rpc, wamp
from amp0.protocol.twofactor import INVALID_CODE

log = logging.getLogger("amp0.client")

LOCKED = "twofactorlocked"
"""Name of the refusal to look at codes for a while."""
MAX_INDEX_JUMP = 100_000
"""How far ahead of what is known the server may put the last index before it is not believed."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts to connect again, in seconds: growing, and jittered so that the clients of
    a server that restarts do not all come back in the same instant."""

    attempts: int = 6
    first: float = 0.25
    factor: float = 2.0
    longest: float = 15.0

    def wait(self, attempt: int, fraction: float) -> float:
        """The wait before ``attempt`` (from 1); ``fraction`` in 0…1 is the jitter: half to all of the step."""
        step = min(self.longest, self.first * self.factor ** (attempt - 1))
        return step * (0.5 + fraction / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How the client behaves. Times in seconds.

    ``timeout`` bounds connecting and each call, ``cosign_timeout`` the cosigner's answer.
    ``allow_insecure`` permits ``ws://`` and ``http://`` to another machine. ``max_index_jump`` is how far
    the server's last index may run ahead of what is known. ``sleep`` and ``jitter`` are for tests.
    """

    timeout: float = 10.0
    cosign_timeout: float = 60.0
    allow_insecure: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    max_index_jump: int = MAX_INDEX_JUMP
    user_agent: str = rpc.USER_AGENT
    transport: Callable[[], Transport] = NetworkTransport
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


class Closable(abc.ABC):
    """What all clients are: context managers that close their connections."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


Listener = Callable[[Any], None]
"""Hears the payload of each event of a topic, as it came."""


class Session:
    """A joined WAMP connection. Calls may overlap; answers find their call by its id."""

    def __init__(self, connection: Connection, options: ClientOptions) -> None:
        self._connection = connection
        self._options = options
        self._peer = wamp.Peer(wamp.Role.CLIENT, connection.serializer, wamp.Limits(max_frame=4 * 1024 * 1024))
        self._waiting: dict[int, asyncio.Future[wamp.Message]] = {}
        self._next_request = 1
        self._listeners: dict[int, list[Listener]] = {}
        self._subscribing: dict[int, Listener] = {}
        self._ended = asyncio.Event()
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: Exception | None = None
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, network: Network, transport: Transport, options: ClientOptions) -> Session:
        """Connect and join within the deadline. Raises :class:`ConnectionFailed` and its kin."""
        if not network.wamp_url:
            raise InvalidInput(f"the network {network.name} names no AMP0 server; set its wamp_url")
        require_secure_url(network.wamp_url, allow_insecure=options.allow_insecure)
        session: Session | None = None
        try:
            async with asyncio.timeout(options.timeout):
                session = cls(await transport.connect(network), options)
                await session._join()
                return session
        except TimeoutError:
            if session is not None:
                await session._abandon()
            raise ConnectionTimeout(
                f"{network.wamp_url} does not let us in within {options.timeout:g} s; try again"
            ) from None
        except BaseException:
            if session is not None:
                await session._abandon()
            raise

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._failure is None and self._peer.state is wamp.State.OPEN

    async def call(self, procedure: rpc.Procedure, timeout: float | None = None) -> Any:
        """The typed result of one call, within ``timeout`` seconds or else the usual ones.

        Raises :class:`CallFailed` with the server's words, :class:`ConnectionTimeout` after the deadline,
        :class:`ConnectionFailed` when the connection is lost, :class:`RemoteProtocolError` for a result out
        of shape.
        """
        name = procedure.URI.removeprefix(rpc.PREFIX)

        def send(request: int, deadline: float) -> None:
            self._peer.call(request, procedure.URI, procedure.args(), deadline=deadline)

        message = await self._ask(name, send, timeout or self._options.timeout)
        assert isinstance(message, wamp.Result)
        return rpc.parse_result(procedure, message.args)

    async def subscribe(self, topic: str, listener: Listener) -> None:
        """Have ``listener`` hear a topic from now on, until the connection ends. Raises as :meth:`call`.

        No event between the server's consent and the return of this call is lost: ``listener`` hears it.
        """

        def send(request: int, deadline: float) -> None:
            self._peer.subscribe(request, topic, deadline=deadline)
            self._subscribing[request] = listener

        await self._ask("events", send, self._options.timeout)

    def ignore(self, listener: Listener) -> None:
        """Have ``listener`` hear nothing any more."""
        for listeners in self._listeners.values():
            if listener in listeners:
                listeners.remove(listener)

    async def ended(self) -> None:
        """Wait until the connection is no more."""
        await self._ended.wait()

    async def _ask(self, name: str, send: Callable[[int, float], None], timeout: float) -> wamp.Message:
        """Send one request under a fresh number, and wait for its answer."""
        if not self.alive:
            raise self._failure or ConnectionFailed("the connection to the AMP0 server is closed; connect again")
        loop = asyncio.get_running_loop()
        request, self._next_request = self._next_request, self._next_request + 1
        answer: asyncio.Future[wamp.Message] = loop.create_future()
        self._waiting[request] = answer
        try:
            async with asyncio.timeout(timeout):
                send(request, loop.time() + timeout)
                await self._flush()
                message = await answer
        except TimeoutError:
            self._peer.expire(loop.time() + 1e-3)
            raise ConnectionTimeout(f"the AMP0 server does not answer {name} within {timeout:g} s; try again") from None
        finally:
            self._waiting.pop(request, None)
            self._subscribing.pop(request, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # it may have failed after the caller gave up: not forgotten, only late
        if isinstance(message, wamp.Error):
            raise call_failed(name, *rpc.parse_error(message.uri, message.args))
        return message

    async def close(self) -> None:
        """Leave in order, briefly. Never raises."""
        if self.alive:
            with contextlib.suppress(ConnectionFailed, TimeoutError):
                self._peer.goodbye()
                async with asyncio.timeout(1):
                    await self._flush()
                    if self._reader is not None:
                        await asyncio.wait([self._reader])
        self._fail(ConnectionFailed("the connection to the AMP0 server was closed; connect again"))
        await self._abandon()

    # -- inside ------------------------------------------------------------------------------

    async def _join(self) -> None:
        self._reader = asyncio.create_task(self._read())
        self._peer.hello()
        await self._flush()
        await self._joined

    async def _flush(self) -> None:
        for frame in self._peer.data_to_send():
            await self._connection.send(frame)

    async def _read(self) -> None:
        """The only reader: hand each answer to the call that waits for it, until the connection ends."""
        try:
            while not self._peer.closed:
                for message in self._peer.receive(await self._connection.receive()):
                    self._dispatch(message)
                await self._flush()
            self._fail(ConnectionFailed("the AMP0 server ended the connection; connect again"))
        except (ConnectionFailed, RemoteProtocolError) as error:
            self._fail(error)
            with contextlib.suppress(ConnectionFailed):
                await self._flush()
        await self._connection.close()

    def _dispatch(self, message: wamp.Message | wamp.Ignored) -> None:
        if isinstance(message, wamp.Event):
            for listener in tuple(self._listeners.get(message.subscription, ())):
                listener(message.args[0] if message.args else None)
        elif isinstance(message, wamp.Result | wamp.Error | wamp.Subscribed):
            if isinstance(message, wamp.Subscribed) and message.request in self._subscribing:
                # Here and not in the waiting task: the next message may be an event already.
                heard = self._listeners.setdefault(message.subscription, [])
                heard.append(self._subscribing.pop(message.request))
            answer = self._waiting.get(message.request)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, wamp.Welcome):
            self._joined.set_result(None)
        elif isinstance(message, wamp.Abort | wamp.Goodbye):
            text = message.details.get("message")
            reason = text if isinstance(text, str) else message.reason
            self._fail(ConnectionFailed(f"the AMP0 server ended the connection ({reason[:200]}); connect again"))
        elif isinstance(message, wamp.Ignored):
            log.warning("ignored a message reason=%s", message.reason)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._failure)
        if not self._joined.done():
            self._joined.set_exception(self._failure)
            self._joined.exception()  # whoever waits still gets it; nobody waiting is no fault
        self._ended.set()

    async def _abandon(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await self._connection.close()


def call_failed(procedure: str, name: str, text: str) -> CallFailed:
    """The error for what a server answered to ``procedure`` in place of a result."""
    error = _call_failed(procedure, name, text)
    error.text = text
    return error


def _call_failed(procedure: str, name: str, text: str) -> CallFailed:
    if text.startswith("User not found") or name in ("usernotfound", "password"):
        return LoginFailed(
            f"{text}: check user name and password, and that the network is the one they were made on",
            name=name,
            procedure=procedure,
        )
    if text == INVALID_CODE[1]:
        return WrongTwoFactorCode(
            f"{text}: it is wrong, expired or used, or was made for something else; take a new one, made for exactly "
            "this. The server counts wrong ones, and too many lock the wallet's two-factor for a while",
            name=name,
            procedure=procedure,
        )
    if name == INVALID_CODE[0]:
        return TwoFactorRequired(
            f"{text}. Have a code sent (request_code), or read it off the authenticator, and give it along as "
            "two_factor=(method, code)",
            procedure=procedure,
        )
    if name == LOCKED:
        return TwoFactorLocked(text, name=name, procedure=procedure)
    return CallFailed(f"the AMP0 server refuses {procedure}: {text}", name=name, procedure=procedure)
