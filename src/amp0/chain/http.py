"""A small HTTP/1.1 client for explorers: keep-alive connections, deadlines, bounded answers, patience.

A first scan makes one request per transaction, thousands in a row, while two cores are busy opening
outputs. A general HTTP library spends a millisecond of processor time on each; this one a tenth of
that, because explorers need so little: GET and POST, bodies by length, by chunks or to the end of
the connection, no redirects, no cookies, no compression.

:class:`Transport` is what the chain clients talk to. :class:`SocketTransport` is the client
described above; :class:`HttpxTransport` lends itself to an ``httpx`` transport, for an application
in the same process or for a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from amp0.errors import BackendUnavailable, InvalidInput
from amp0.network import require_secure_url

if TYPE_CHECKING:
    import httpx

MAX_HEAD = 32 * 1024
MAX_BODY = 512 << 20
_IDLE_SECONDS = 30.0
_CHUNK_LINE = 1024


class BrokenAnswer(Exception):
    """Bytes that are not an HTTP answer, or more of them than was asked for."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (names in lower case) and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def retry_after(self, now: float) -> float | None:
        """Seconds the server asks to wait; ``now`` is the time in seconds since 1970."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return None


class Transport(Protocol):
    """Sends one request and reads one answer. No retries, no deadlines: the caller has them."""

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        """``path`` is appended to the base URL; an answer longer than ``limit`` bytes is refused.

        Raises :class:`OSError` or :class:`BrokenAnswer`.
        """

    async def aclose(self) -> None:
        """Close every connection."""


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, up to and with the empty line. Raises :class:`BrokenAnswer`."""
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit()) or len(code) != 3:
        raise BrokenAnswer("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            continue
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise BrokenAnswer("the answer has a malformed header")
        value = value.strip()
        if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
            raise BrokenAnswer(f"the answer has two different {name} headers")
        headers[name] = value
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(code), headers


def base_url(url: str, *, allow_insecure: bool = False) -> str:
    """A base URL without trailing slashes; plain ``host:port`` on this machine means ``http://``.

    Raises :class:`InvalidInput` for other schemes and for ``http://`` to another machine.
    """
    if "://" not in url:
        url = "http://" + url
    require_secure_url(url, allow_insecure=allow_insecure)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username is not None:
        raise InvalidInput(f"{url!r} is not the address of an explorer; give one like https://host/liquid/api")
    return url.rstrip("/")


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop it lived on is closed
            self.writer.close()

    async def exchange(self, request: bytes, head_only: bool, limit: int) -> tuple[Response, bool]:
        self.writer.write(request)
        status = 100
        headers: dict[str, str] = {}
        while 100 <= status < 200:
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                raise BrokenAnswer("the answer has too many headers") from None
            status, headers = parse_head(head)
        keep = headers.get("connection", "").lower() != "close"
        if head_only or status in (204, 304):
            return Response(status, headers, b""), keep
        encoding = headers.get("transfer-encoding", "").lower()
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise BrokenAnswer("the answer is compressed, which was not asked for")
        if encoding == "chunked":
            return Response(status, headers, await self._chunks(limit)), keep
        if encoding:
            raise BrokenAnswer(f"the answer is encoded as {encoding!r}")
        length = headers.get("content-length")
        if length is None:
            return Response(status, headers, await self._to_the_end(limit)), False
        if not (length.isascii() and length.isdigit()) or len(length) > 12:
            raise BrokenAnswer("the answer has a malformed length")
        if int(length) > limit:
            raise BrokenAnswer(f"the answer has {length} bytes where at most {limit} make sense")
        return Response(status, headers, await self.reader.readexactly(int(length))), keep

    async def _chunks(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            line = await self._line()
            digits = line.partition(b";")[0].strip()
            try:
                if len(digits) > 8:
                    raise ValueError
                size = int(digits, 16)
            except ValueError:
                raise BrokenAnswer("the answer has a malformed chunk") from None
            if size == 0:
                while await self._line():
                    pass
                return b"".join(parts)
            total += size
            if size < 0 or total > limit:
                raise BrokenAnswer(f"the answer has more than the {limit} bytes that make sense")
            parts.append(await self.reader.readexactly(size))
            if await self.reader.readexactly(2) != b"\r\n":
                raise BrokenAnswer("the answer has a malformed chunk")

    async def _line(self) -> bytes:
        try:
            line = await self.reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError:
            raise BrokenAnswer("the answer has a malformed chunk") from None
        if len(line) > _CHUNK_LINE:
            raise BrokenAnswer("the answer has a malformed chunk")
        return line[:-2]

    async def _to_the_end(self, limit: int) -> bytes:
        parts, total = [], 0
        while part := await self.reader.read(1 << 16):
            total += len(part)
            if total > limit:
                raise BrokenAnswer(f"the answer has more than the {limit} bytes that make sense")
            parts.append(part)
        return b"".join(parts)


class SocketTransport:
    """Keep-alive connections to one server, as many as there are requests at a time.

    Connections that have been idle for half a minute close themselves. They belong to the event
    loop they were made on; on another loop new ones are made.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: list[_Connection] = []
        self._reaper: asyncio.TimerHandle | None = None

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        """One request on a free connection, on a new one when the server has closed the old."""
        self._on_this_loop()
        lines = [f"{method} {self._prefix}{path} HTTP/1.1\r\nhost: {self._authority}\r\naccept: */*\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}\r\n")
        message = "".join(lines).encode("latin-1") + b"\r\n" + body
        while True:
            connection = await self._connection()
            fresh = not connection.used
            try:
                response, keep = await connection.exchange(message, method == "HEAD", limit)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                connection.close()
                # The server may close a connection it thought idle just as we use it. All that is
                # asked of an explorer can be asked twice, a broadcast too.
                if fresh:
                    raise ConnectionResetError(str(error) or "the connection was closed") from None
                continue
            except BaseException:
                connection.close()
                raise
            connection.used = True
            if keep:
                self._free.append(connection)
                self._watch_idle()
            else:
                connection.close()
            return response

    def _on_this_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._drop_free()
            self._loop = loop
            self._reaper = None

    async def _connection(self) -> _Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.close()
        tls = None
        if self._secure:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            tls = self._tls
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=tls, limit=MAX_HEAD)
        return _Connection(reader, writer)

    def _watch_idle(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        assert self._loop is not None
        self._reaper = self._loop.call_later(_IDLE_SECONDS, self._drop_free)

    def _drop_free(self) -> None:
        for connection in self._free:
            connection.close()
        self._free.clear()

    async def aclose(self) -> None:
        """Close every idle connection."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        closing = [connection.writer for connection in self._free]
        here = self._loop is asyncio.get_running_loop()
        self._drop_free()
        if here:
            for writer in closing:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


class HttpxTransport:
    """The same over any ``httpx`` transport, such as ``httpx.ASGITransport(app)``."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport) -> None:
        import httpx

        self._base = url
        self._client = httpx.AsyncClient(transport=transport, timeout=None)  # noqa: S113 - the caller has deadlines

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        """One request through ``httpx``."""
        import httpx

        try:
            async with self._client.stream(
                method, self._base + path, headers=dict(headers), content=body or None
            ) as answer:
                parts, total = [], 0
                async for part in answer.aiter_bytes():
                    total += len(part)
                    if total > limit:
                        raise BrokenAnswer(f"the answer has more than the {limit} bytes that make sense")
                    parts.append(part)
        except httpx.HTTPError as error:
            raise ConnectionError(str(error) or type(error).__name__) from None
        return Response(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, b"".join(parts))

    async def aclose(self) -> None:
        """Close the ``httpx`` client."""
        await self._client.aclose()


def unavailable(url: str, error: Exception) -> BackendUnavailable:
    """The error for a server that cannot be talked to, naming it and what to do."""
    reason = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return BackendUnavailable(
            f"the explorer at {url} shows a certificate that cannot be trusted: {error.verify_message}; "
            "check the URL, and do not use it before you know why"
        )
    return BackendUnavailable(
        f"the explorer at {url} cannot be reached: {reason}; check the URL and that it is running, then try again"
    )
