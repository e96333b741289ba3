"""The lean HTTP client: answers as bytes, over a real loopback connection where the wire matters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.chain.http import BrokenAnswer, HttpxTransport, Response, SocketTransport, parse_head
from tests.patience import PATIENCE

T = TypeVar("T")


def test_head() -> None:
    status, headers = parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\n")
    assert status == 200
    assert headers == {"content-length": "5", "x-a": "b"}
    assert parse_head(b"HTTP/1.0 404 Not Found\r\n\r\n") == (404, {"connection": "close"})


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ],
)
def test_bad_heads(head: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parse_head(head)


@given(st.binary(max_size=200))
def test_any_head(head: bytes) -> None:
    with contextlib.suppress(BrokenAnswer):
        status, headers = parse_head(head)
        assert 0 <= status <= 999
        assert all(name == name.lower() for name in headers)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("9" * 50, None),
        ("soon", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert Response(429, {"retry-after": value}, b"").retry_after(10.0) == seconds


# -- on the wire ------------------------------------------------------------------------------


class Wire:
    """A server that answers each request with the next of some byte strings, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                writer.write(answer)
                await writer.drain()
                if b"close" in answer or b"\r\n\r\n" not in answer:
                    break
        writer.close()


def on_wire(wire: Wire, job: Callable[[SocketTransport], Awaitable[T]]) -> T:
    async def main() -> T:
        server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = SocketTransport(f"http://127.0.0.1:{port}/base")
        try:
            async with asyncio.timeout(PATIENCE):
                return await job(transport)
        finally:
            await transport.aclose()
            server.close()

    return asyncio.run(main())


def get(transport: SocketTransport, limit: int = 1000) -> Awaitable[Response]:
    return transport.request("GET", "/a?b=c", {"x-y": "z"}, b"", limit)


def test_keep_alive_and_what_is_sent() -> None:
    wire = Wire(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno",
    )

    async def job(transport: SocketTransport) -> None:
        assert await get(transport) == Response(200, {"content-length": "3"}, b"abc")
        assert (await get(transport)).status == 204
        answer = await transport.request("POST", "/tx", {}, b"body", 1000)
        assert (answer.status, answer.text) == (400, "no")

    on_wire(wire, job)
    assert wire.connections == 1
    assert wire.requests[0].startswith(b"GET /base/a?b=c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-y: z\r\n" in wire.requests[0]
    assert b"user-agent" not in wire.requests[0]
    assert wire.requests[2].startswith(b"POST /base/tx HTTP/1.1\r\n")
    assert wire.requests[2].endswith(b"content-length: 4\r\n\r\nbody")


def test_chunks_and_answers_to_the_end() -> None:
    wire = Wire(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ny",
    )

    async def job(transport: SocketTransport) -> list[bytes]:
        return [(await get(transport)).body for _ in range(4)]

    assert on_wire(wire, job) == [b"abc0123456789", b"z", b"to the end", b"y"]
    assert wire.connections == 2


def test_a_kept_connection_that_the_server_closed() -> None:
    """The server drops an idle connection just as it is used: asked again on a new one, once."""
    wire = Wire(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n",
    )

    async def job(transport: SocketTransport) -> None:
        assert (await get(transport)).body == b"1"
        assert (await get(transport)).body == b"2"
        with pytest.raises(ConnectionError):
            await get(transport)

    on_wire(wire, job)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxyz",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 2000 + b"\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1" * 50_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 50_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 1001,
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
def test_broken_answers(answer: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        on_wire(Wire(answer), get)


def test_refused_connections_are_os_errors() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await get(SocketTransport("http://127.0.0.1:1"))

    asyncio.run(main())


def test_one_transport_on_two_event_loops() -> None:
    """A blocking caller may run each call on a loop of its own."""
    ports: list[int] = []
    transports: list[SocketTransport] = []

    async def main() -> bytes:
        wire = Wire(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1")
        server = await asyncio.start_server(wire.serve, "127.0.0.1", ports[0] if ports else 0)
        ports.append(server.sockets[0].getsockname()[1])
        if not transports:
            transports.append(SocketTransport(f"http://127.0.0.1:{ports[0]}"))
        async with asyncio.timeout(PATIENCE):
            body = (await get(transports[0])).body
        server.close()
        return body

    assert asyncio.run(main()) == b"1"
    assert asyncio.run(main()) == b"1"


def test_httpx_transport() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/base/down":
            raise httpx.ConnectError("down")
        assert request.headers["x-y"] == "z"
        return httpx.Response(200, headers={"X-Big": "1"}, content=b"x" * 10)

    async def main() -> None:
        transport = HttpxTransport("http://explorer/base", httpx.MockTransport(answer))
        response = await transport.request("GET", "/a", {"x-y": "z"}, b"", 10)
        assert (response.status, response.body, response.headers["x-big"]) == (200, b"x" * 10, "1")
        with pytest.raises(BrokenAnswer):
            await transport.request("GET", "/a", {"x-y": "z"}, b"", 9)
        with pytest.raises(OSError, match="down"):
            await transport.request("GET", "/down", {}, b"", 9)
        await transport.aclose()

    asyncio.run(main())
