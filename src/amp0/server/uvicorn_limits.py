"""Uvicorn with the limits that its settings do not have, and with large messages in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

MAX_FRAGMENTS = 256
"""Pieces of one WebSocket message. The size limit counts their bytes, but empty ones have none."""


PIECE = 256 * 1024
"""Bytes of a message that are handed to the socket at once; a larger one is sent as WebSocket fragments."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose messages may not come in endless pieces, and which sends long ones in pieces.

    45 MB of unspent outputs, copied and written in one go, would keep the event loop from everybody else for 80 ms.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """What the application sends; returns when the socket takes more."""
        data = None
        if message["type"] == "websocket.send" and self.handshake_complete:
            data = message.get("bytes")
        if data is None or len(data) <= PIECE:
            await super().send(message)
            return
        whole = memoryview(data)
        for start in range(0, len(whole), PIECE):
            await self.writable.wait()
            if self.disconnected or self.close_sent:
                raise ClientDisconnected
            end = start + PIECE
            put = self.conn.send_continuation if start else self.conn.send_binary
            try:
                put(whole[start:end], fin=end >= len(whole))
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


class QuietServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals: the command line stops the server in order."""
        yield
