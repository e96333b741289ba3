"""Uvicorn with the limits that its settings do not have, and with large messages in pieces.

Its own limits begin where the application does. These are about what comes before: connections that say nothing, heads
without an end, requests that two readers would read differently, one address that takes all connections.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

    from amp0.server.settings import Settings

MAX_FRAGMENTS = 256
"""Pieces of one WebSocket message. The size limit counts their bytes, but empty ones have none."""

MAX_HEAD = 16 * 1024
"""Bytes of request line and headers, trailers included."""
MAX_HEADERS = 64
GRACEFUL_SECONDS = 10
"""Time for answers under way when the server stops."""

PIECE = 256 * 1024
"""Bytes of a message that are handed to the socket at once; a larger one is sent as WebSocket fragments."""


_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Doors:
    """How many connections each peer address has; trusted proxies are not counted."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_sessions_per_peer
        self._uncounted = frozenset(settings.trusted_proxies)
        self._open: Counter[str] = Counter()

    def enter(self, host: str) -> bool:
        """Whether one more is let in."""
        if host in self._uncounted:
            return True
        if self._open[host] >= self._most:
            return False
        self._open[host] += 1
        return True

    def leave(self, host: str) -> None:
        """One that was let in has gone."""
        if host in self._open:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]


class Config(uvicorn.Config):
    """Uvicorn's settings for an application of ours, with the limits of :class:`Settings`."""

    def __init__(self, application: Any, settings: Settings) -> None:
        super().__init__(
            application,
            http=BoundedHttp,
            ws=BoundedWebSocket,
            ws_max_size=settings.max_message,
            ws_per_message_deflate=False,
            # LWK answers pings only while a call is pending, so a missing pong says nothing.
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
            backlog=1024,
        )
        self.limits = settings
        self.doors = Doors(settings)


class _BadRequest(Exception):
    """Answered with 400 by the parser that calls us."""


class BoundedHttp(HttpToolsProtocol):
    """An HTTP connection that has to get on with it."""

    config: Config

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in = False
        self._in_head = True
        self._is_upgraded = False
        self._read = 0
        self._head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected."""
        super().connection_made(transport)
        self._is_in = self.config.doors.enter(_peer(transport))
        if not self._is_in:
            transport.abort()
            return
        self._within(self.config.limits.handshake_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._within(None)
        if self._is_in:
            self._is_in = False
            self.config.doors.leave(_peer(self.transport))

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        # The parser keeps a header until it is whole, so what it was fed has to be counted.
        self._read += len(data)
        most = MAX_HEAD if self._in_head else MAX_HEAD + 2 * self.config.limits.max_message
        if self._read > most and not self._is_upgraded and not self.transport.is_closing():
            self.send_400_response("This request is too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._read, self._head_size = True, 0, 0
        self._within(self.config.limits.handshake_seconds)

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(name + value)
        if len(self.headers) >= MAX_HEADERS:
            raise _BadRequest("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise _BadRequest("one Host header is needed")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise _BadRequest("the Host header is malformed")
        self._in_head = False
        self._within(self.config.limits.request_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._within(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer has left."""
        self._in_head, self._read = True, 0
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection goes over to a WebSocket, and this object is done with it."""
        self._within(None)
        self._is_upgraded = True
        super().handle_websocket_upgrade()
        # The parser knows us and we know it: left alone, only a garbage collection would part us.
        self.parser = None  # type: ignore[assignment]

    def _count(self, part: bytes) -> None:
        self._head_size += len(part)
        if self._head_size > MAX_HEAD:
            raise _BadRequest("the head is too long")

    def _within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def _peer(transport: asyncio.BaseTransport) -> str:
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose messages may not come in endless pieces, and which sends long ones in pieces.

    45 MB of unspent outputs, copied and written in one go, would keep the event loop from everybody else for 80 ms.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """What the application sends; returns when the socket takes more."""
        data: str | bytes | None = None
        if message["type"] == "websocket.send" and self.handshake_complete:
            data = message.get("bytes") or message.get("text")
        if data is None or len(data) <= PIECE:
            await super().send(message)
            return
        for start in range(0, len(data), PIECE):
            await self.writable.wait()
            if self.disconnected or self.close_sent:
                raise ClientDisconnected
            piece, last = data[start : start + PIECE], start + PIECE >= len(data)
            begin = self.conn.send_text if isinstance(piece, str) else self.conn.send_binary
            put = self.conn.send_continuation if start else begin
            try:
                put(piece.encode() if isinstance(piece, str) else piece, fin=last)
            except InvalidState:
                raise ClientDisconnected from None
            self.transport.write(b"".join(self.conn.data_to_send()))
            await asyncio.sleep(0)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer. A request that cannot be read is answered, not left waiting."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_initiated = self.handshake_complete = True
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        """One more piece of a message."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        assert isinstance(self.config, Config)
        self.config.doors.leave(_peer(self.transport))


class QuietServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals: the command line stops the server in order."""
        yield
