"""Many WAMP sessions from one process: a client that costs far less than the server it measures.

It speaks just enough of WebSocket: frames in one piece, masked with zeros, which is a mask like any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from amp0.elements.keys import HARDENED, ExtendedKey
from amp0.network import Network
from amp0.protocol import credentials, rpc

HELLO = [1, "realm1", {"roles": {"caller": {"features": {}}}}]
_LONG = 100_000
_ABREAST = 64
"""Connections that are opened at once."""


class Session(asyncio.Protocol):
    """One session; its calls are answered one at a time."""

    def __init__(self, host: str, packed: bool) -> None:
        self._host = host
        self._packed = packed
        self._received = bytearray()
        self._pieces: list[bytes] = []
        self._size = 0
        self._upgraded = False
        self._answer: asyncio.Future[Any] | None = None
        self._last = 0
        self.on_event: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(
            f"GET /v2/ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: wamp.2.{'msgpack' if self._packed else 'json'}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._upgraded:
            head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head[:20], head
            self._received, self._upgraded = bytearray(rest), True
            self._settle(None)
        while (frame := self._frame()) is not None:
            finished, payload = frame
            self._size += len(payload)
            if self._size <= _LONG:
                self._pieces.append(payload)
            if finished:
                message, size = b"".join(self._pieces), self._size
                self._pieces, self._size = [], 0
                self._take(message, size)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed"))

    def _frame(self) -> tuple[bool, bytes] | None:
        """The next frame: whether a message ends with it, and its payload."""
        data = self._received
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return None
        frame = bool(data[0] & 0x80), bytes(data[start : start + size])
        del data[: start + size]
        return frame

    def _take(self, text: bytes, size: int) -> None:
        if size > _LONG:
            # Only its size is of interest, and reading it would be measured too.
            self._settle([50, 0, {}, [size]])
            return
        message = msgspec.msgpack.decode(text) if self._packed else json.loads(text)
        if message[0] == 36:
            if self.on_event is not None:
                self.on_event()
        elif message[0] == 8:
            assert self._answer is not None
            self._answer.set_exception(RuntimeError(str(message[4:])))
        else:
            self._settle(message)

    def _settle(self, value: Any) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(value)

    def wait(self) -> asyncio.Future[Any]:
        """The next answer."""
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    async def send(self, message: Sequence[Any]) -> Any:
        """Send a message and wait for what answers it."""
        payload = msgspec.msgpack.encode(message) if self._packed else json.dumps(message).encode()
        size, kind = len(payload), 0x82 if self._packed else 0x81
        head = bytes((kind, 0x80 | size)) if size < 126 else bytes((kind, 0xFE)) + size.to_bytes(2, "big")
        answer = self.wait()
        self._transport.write(head + bytes(4) + payload)
        return await answer

    async def call(self, procedure: rpc.Procedure) -> Any:
        """The result of a call."""
        self._last += 1
        return (await self.send([48, self._last, {}, procedure.URI, procedure.args()]))[3][0]

    async def subscribe(self, topic: str) -> None:
        """Hear a topic."""
        self._last += 1
        await self.send([32, self._last, {}, topic])

    def close(self) -> None:
        """Without a word."""
        self._transport.close()


class Swarm:
    """Sessions at one server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80

    async def join(self, *, packed: bool = False) -> Session:
        """A session that was welcomed; ``packed`` speaks MessagePack, as GDK does."""
        loop, host = asyncio.get_running_loop(), f"{self._host}:{self._port}"
        _, session = await loop.create_connection(lambda: Session(host, packed), self._host, self._port)
        await session.wait()
        assert (await session.send(HELLO))[0] == 2
        return session

    async def join_many(self, count: int) -> list[Session]:
        """Many, some at a time."""
        made: list[Session] = []
        while len(made) < count:
            some = min(_ABREAST, count - len(made))
            made += await asyncio.gather(*(self.join() for _ in range(some)))
        return made


class Wallet:
    """A wallet's keys, and the calls it logs in with."""

    def __init__(self, number: int, network: Network) -> None:
        self.master = ExtendedKey.from_seed(number.to_bytes(4, "big") * 16, main=False)
        self._network = network
        name, password = f"{number:064x}", f"{number:064x}"
        self.watch_only = rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials(name, password), rpc.USER_AGENT, True)
        self._sync = rpc.SyncCustom(name, password, "ab" * 64)
        self.receiving_id = ""

    async def register(self, session: Session) -> None:
        """With one account and watch-only credentials."""
        gait_path = credentials.gait_path(self.master.child(0x4741 + HARDENED).public())
        await session.call(
            rpc.Register(self.master.public_key.hex(), self.master.chain_code.hex(), rpc.USER_AGENT, gait_path.hex())
        )
        await self.log_in(session)
        xpub = str(credentials.account_xpub(self.master, 1))
        self.receiving_id = await session.call(rpc.CreateSubaccount(1, "", rpc.ACCOUNT_TYPE, [xpub], [""]))
        await session.call(self._sync)

    async def log_in(self, session: Session) -> None:
        """With a signature."""
        address = credentials.login_address(self._network, self.master.public_key)
        challenge = await session.call(rpc.GetChallenge(address))
        signed = credentials.sign_challenge(self.master, credentials.check_challenge(challenge))
        assert await session.call(rpc.Authenticate(signed))
