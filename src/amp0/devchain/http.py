"""The little HTTP that the chain's pages need: replies as values, bounded bodies, CORS.

Handlers are plain functions from a request to a :class:`Reply`. A reply always names its length
and is sent as one piece, because a kept-alive client waits 40 ms for the second piece of a
split one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
BINARY = b"application/octet-stream"
CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"*"),
)
PREFLIGHT: tuple[Header, ...] = (
    *CORS,
    (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
)


class TooLarge(Exception):
    """A request's body is larger than its route takes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: bytes, what they are, and a status."""

    body: bytes
    content_type: bytes = TEXT
    status: int = 200

    async def send(self, scope: Scope, send: Send, extra: tuple[Header, ...] = ()) -> None:
        """Put it on the wire; a HEAD request gets the headers alone."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode("ascii")),
            *extra,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if scope.get("method") == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


def text(value: object, status: int = 200) -> Reply:
    """A plain-text reply."""
    return Reply(str(value).encode("utf-8"), TEXT, status)


def json(value: object, status: int = 200) -> Reply:
    """A JSON reply of a value, or of bytes that are JSON already."""
    return Reply(value if isinstance(value, bytes) else msgspec.json.encode(value), JSON, status)


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name (lower case), ``None`` when there is none."""
    for key, value in scope.get("headers") or ():
        if bytes(key).lower() == name:
            return bytes(value).decode("latin-1")
    return None


def query(scope: Scope) -> dict[str, str]:
    """The parameters of the query string; of repeated ones the last."""
    raw = bytes(scope.get("query_string") or b"").decode("latin-1")
    return dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=32)) if raw else {}


async def read_body(receive: Receive, limit: int) -> bytes:
    """The request's body. Raises :class:`TooLarge` beyond ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
