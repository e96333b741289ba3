"""WAMP messages, and the two encodings in which they travel.

Decoding is deliberately narrow: a frame either is one message of the protocol, within bounds, or
:class:`RemoteProtocolError`. Sources: WAMP v2 basic profile; the forms GDK and LWK send.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, cast

import msgspec

from amp0.errors import RemoteProtocolError

MAX_ID = 2**53
"""Largest id in WAMP: what a double holds exactly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a peer may send. Sizes in bytes of one frame."""

    max_frame: int = 2 * 1024 * 1024
    max_depth: int = 32
    max_items: int = 200_000
    max_pending: int = 256
    max_ignored: int = 64
    remembered_ids: int = 1024


# ---------------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class Message:
    """Base of all WAMP messages; ``CODE`` is the number each begins with."""

    CODE: ClassVar[int] = 0
    REQUIRED: ClassVar[int] = 0

    def to_list(self) -> list[Any]:
        """The message as the array that travels; empty optional parts at the end are left out."""
        values = [getattr(self, f.name) for f in fields(self)]
        while len(values) > self.REQUIRED and not values[-1]:
            values.pop()
        return [self.CODE, *values]


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The client asks to join a realm."""

    CODE: ClassVar[int] = 1
    REQUIRED: ClassVar[int] = 2
    realm: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The server admits the client; ``session`` names the connection."""

    CODE: ClassVar[int] = 2
    REQUIRED: ClassVar[int] = 2
    session: int
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Abort(Message):
    """One side ends the conversation at once; ``details['message']`` may say why."""

    CODE: ClassVar[int] = 3
    REQUIRED: ClassVar[int] = 2
    details: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Goodbye(Message):
    """One side leaves in order, or answers the other's leaving."""

    CODE: ClassVar[int] = 6
    REQUIRED: ClassVar[int] = 2
    details: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Error(Message):
    """The request ``request``, a message of code ``request_type``, failed."""

    CODE: ClassVar[int] = 8
    REQUIRED: ClassVar[int] = 4
    request_type: int
    request: int
    details: dict[str, Any]
    uri: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """The client wants the events of a topic."""

    CODE: ClassVar[int] = 32
    REQUIRED: ClassVar[int] = 3
    request: int
    options: dict[str, Any]
    topic: str


@dataclass(frozen=True, slots=True)
class Subscribed(Message):
    """The subscription is made, and has this number."""

    CODE: ClassVar[int] = 33
    REQUIRED: ClassVar[int] = 2
    request: int
    subscription: int


@dataclass(frozen=True, slots=True)
class Unsubscribe(Message):
    """The client wants no more events of a subscription."""

    CODE: ClassVar[int] = 34
    REQUIRED: ClassVar[int] = 2
    request: int
    subscription: int


@dataclass(frozen=True, slots=True)
class Unsubscribed(Message):
    """The subscription is gone."""

    CODE: ClassVar[int] = 35
    REQUIRED: ClassVar[int] = 1
    request: int


@dataclass(frozen=True, slots=True)
class Event(Message):
    """Something happened on a topic; the payload is ``args[0]``."""

    CODE: ClassVar[int] = 36
    REQUIRED: ClassVar[int] = 3
    subscription: int
    publication: int
    details: dict[str, Any]
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call(Message):
    """The client calls a procedure. Both known clients always send the argument list."""

    CODE: ClassVar[int] = 48
    REQUIRED: ClassVar[int] = 4
    request: int
    options: dict[str, Any]
    procedure: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result(Message):
    """The answer to a call; by convention one positional value."""

    CODE: ClassVar[int] = 50
    REQUIRED: ClassVar[int] = 2
    request: int
    details: dict[str, Any]
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


MESSAGES: dict[int, type[Message]] = {
    kind.CODE: kind
    for kind in (
        Hello, Welcome, Abort, Goodbye, Error, Subscribe, Subscribed,
        Unsubscribe, Unsubscribed, Event, Call, Result,
    )
}  # fmt: skip
"""Every message understood, by code. PUBLISH, REGISTER and the rest are refused."""

_IDS = {"request", "subscription", "publication", "session"}
_MAPS = {"details", "options", "kwargs"}
_TEXTS = {"realm", "reason", "uri", "topic", "procedure"}
_FIELD_NAMES = {kind: tuple(f.name for f in fields(kind)) for kind in MESSAGES.values()}
_MIN_LENGTH = {kind: (3 if kind is Call else kind.REQUIRED) for kind in MESSAGES.values()}


def parse_message(items: Any) -> Message:
    """The message in a decoded array. Raises :class:`RemoteProtocolError`."""
    if not isinstance(items, list) or not items or type(items[0]) is not int:
        raise RemoteProtocolError("a WAMP message is an array that begins with its code")
    kind = MESSAGES.get(items[0])
    if kind is None:
        raise RemoteProtocolError(f"WAMP message code {items[0]} is not served here")
    names = _FIELD_NAMES[kind]
    values = items[1:]
    if not _MIN_LENGTH[kind] <= len(values) <= len(names):
        raise RemoteProtocolError(f"a {kind.__name__} message cannot have {len(values)} parts")
    for name, value in zip(names, values, strict=False):
        _check_part(kind, name, value)
    return kind(*values)


def _check_part(kind: type[Message], name: str, value: Any) -> None:
    if name in _IDS:
        # A session id is ours to print, not to answer with, so any unsigned number will do.
        largest = 2**64 - 1 if name == "session" else MAX_ID
        good = type(value) is int and 0 <= value <= largest and (value > 0 or name != "request")
    elif name in _MAPS:
        good = type(value) is dict
    elif name in _TEXTS:
        good = type(value) is str and 0 < len(value) <= 512
    elif name == "args":
        good = type(value) is list
    else:
        good = type(value) is int and 0 <= value < 1024
    if not good:
        raise RemoteProtocolError(f"the {name} of a {kind.__name__} message is out of shape")


# ---------------------------------------------------------------------------- encodings


_PIECE = 256
"""Elements of a long list that are encoded at once: some 2 MB of unspent outputs, 2 ms."""


def _msgpack_header(count: int) -> int:
    """Bytes before the elements of a MessagePack array of fewer than 65,536."""
    return 1 if count < 16 else 3


def _joined(pieces: Sequence[bytes | memoryview]) -> bytes:
    """``b"".join`` in many short steps: copying 45 MB at once would hold the interpreter for 20 ms.

    In truth a bytearray that nobody changes any more; to make it bytes would be that copy.
    """
    whole = bytearray()
    for piece in pieces:
        whole += piece
    return cast("bytes", whole)


class Serializer(enum.Enum):
    """How messages become frames; the value is the WebSocket subprotocol."""

    JSON = "wamp.2.json"
    MSGPACK = "wamp.2.msgpack"

    def encode(self, message: Message) -> str | bytes:
        """One frame: text for JSON, bytes for MessagePack."""
        if self is Serializer.JSON:
            return msgspec.json.encode(message.to_list()).decode()
        return msgspec.msgpack.encode(message.to_list())

    def encode_result(self, request: int, value: Any) -> str | bytes:
        """The frame of a RESULT with one value, made in short steps where the value is a long list.

        Encoding holds the interpreter: a list of 45 MB in one go would keep every other thread, the event loop's
        too, from running for 40 ms. Meant for a thread that is not the loop's.
        """
        if not isinstance(value, list) or len(value) <= _PIECE:
            return self.encode(Result(request, {}, [value]))
        pieces = [value[i : i + _PIECE] for i in range(0, len(value), _PIECE)]
        # [50, request, {}, [value]], with the elements of every piece inside the one array of value.
        if self is Serializer.JSON:
            bodies = [memoryview(msgspec.json.encode(piece))[1:-1] for piece in pieces]
            return b"".join((b"[50,%d,{},[[" % request, b",".join(bodies), b"]]]")).decode()
        bodies = [memoryview(msgspec.msgpack.encode(piece))[_msgpack_header(len(piece)) :] for piece in pieces]
        outside = b"\x94\x32" + msgspec.msgpack.encode(request) + b"\x80\x91"
        return _joined([outside, b"\xdd", len(value).to_bytes(4, "big"), *bodies])

    def decode(self, frame: str | bytes, limits: Limits | None = None) -> Message:
        """The message in one frame. Raises :class:`RemoteProtocolError` and nothing else.

        Refused besides plain syntax errors: nesting, size and counts beyond ``limits``, repeated
        keys, keys that are not text, NaN and infinities, integers beyond 64 bits, text that is not
        Unicode, and MessagePack's binary and extension types, which the protocol never uses.
        """
        limits = limits or Limits()
        if isinstance(frame, str) is not (self is Serializer.JSON):
            raise RemoteProtocolError(f"this kind of frame does not belong to {self.value}")
        if len(frame) > limits.max_frame:
            raise RemoteProtocolError(f"a frame of {len(frame)} bytes is larger than {limits.max_frame}")
        if isinstance(frame, str):
            items = _decode_json(frame)
            _check_values(items, limits)
        else:
            items = _MsgpackReader(frame, limits).read_document()
        return parse_message(items)


def serializer_for(subprotocol: str | None) -> Serializer:
    """The serializer a negotiated subprotocol names. Raises :class:`RemoteProtocolError`."""
    for serializer in Serializer:
        if serializer.value == subprotocol:
            return serializer
    raise RemoteProtocolError(f"no common WAMP subprotocol: got {subprotocol!r}")


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("repeated key")
    return result


_JSON_DECODER = json.JSONDecoder(object_pairs_hook=_unique_pairs, parse_constant=_no_constant)


def _decode_json(frame: str) -> Any:
    try:
        return _JSON_DECODER.decode(frame)
    except (ValueError, RecursionError):
        # The text of json's own error repeats what the peer sent: secrets may be in it.
        raise RemoteProtocolError("a frame is not acceptable JSON") from None


def _check_values(items: Any, limits: Limits) -> None:
    """Depth, count and ranges of a decoded JSON document, without recursion."""
    level: list[Any] = [items]
    count = 0
    for _ in range(limits.max_depth):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                below.extend(value.keys())
                below.extend(value.values())
            elif kind is list:
                below.extend(value)
            elif kind is int:
                if not -(2**63) <= value < 2**64:
                    raise RemoteProtocolError("an integer in a frame has more than 64 bits")
            elif kind is str:
                if not value.isascii():
                    _check_unicode(value)
            elif kind is float and not math.isfinite(value):
                raise RemoteProtocolError("a number in a frame is not finite")
        count += len(below)
        if count > limits.max_items:
            raise RemoteProtocolError(f"a frame holds more than {limits.max_items} values")
        if not below:
            return
        level = below
    raise RemoteProtocolError(f"a frame is nested deeper than {limits.max_depth}")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError("a text in a frame is not Unicode") from None


class _MsgpackReader:
    """A bounded MessagePack decoder that notices repeated keys.

    Fast general decoders keep the last of repeated keys in silence; what a cosigner reads must not
    depend on which parser read it.
    """

    # First byte → (number of bytes of the length or value). Binary and extension types are absent.
    _UINT: ClassVar[dict[int, int]] = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
    _INT: ClassVar[dict[int, int]] = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
    _STR: ClassVar[dict[int, int]] = {0xD9: 1, 0xDA: 2, 0xDB: 4}
    _ARRAY: ClassVar[dict[int, int]] = {0xDC: 2, 0xDD: 4}
    _MAP: ClassVar[dict[int, int]] = {0xDE: 2, 0xDF: 4}
    _CONSTANT: ClassVar[dict[int, Any]] = {0xC0: None, 0xC2: False, 0xC3: True}

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._at = 0
        self._limits = limits
        self._items = 0

    def read_document(self) -> Any:
        value = self._read(0)
        if self._at != len(self._data):
            raise RemoteProtocolError("a frame holds bytes after its message")
        return value

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise RemoteProtocolError("a frame ends in the middle of a value")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(width), "big", signed=signed)

    def _read(self, depth: int) -> Any:
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if 0xA0 <= first < 0xC0:
            return self._text(first & 0x1F)
        if first < 0x90:
            return self._map(first & 0x0F, depth)
        if first < 0xA0:
            return self._array(first & 0x0F, depth)
        if first in self._CONSTANT:
            return self._CONSTANT[first]
        if first in self._UINT:
            return self._number(self._UINT[first])
        if first in self._INT:
            return self._number(self._INT[first], signed=True)
        if first in self._STR:
            return self._text(self._number(self._STR[first]))
        if first in self._ARRAY:
            return self._array(self._number(self._ARRAY[first]), depth)
        if first in self._MAP:
            return self._map(self._number(self._MAP[first]), depth)
        if first in (0xCA, 0xCB):
            return self._float(first)
        raise RemoteProtocolError(f"MessagePack type 0x{first:02x} is not part of the protocol")

    def _float(self, first: int) -> float:
        raw = bytes([first]) + self._take(4 if first == 0xCA else 8)
        value: float = msgspec.msgpack.decode(raw)
        if not math.isfinite(value):
            raise RemoteProtocolError("a number in a frame is not finite")
        return value

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("a text in a frame is not UTF-8") from None

    def _enter(self, count: int, depth: int) -> None:
        # A claimed count costs nothing until its bytes are there: each value has at least one.
        if count > len(self._data) - self._at:
            raise RemoteProtocolError("a frame ends in the middle of a value")
        if depth + 1 >= self._limits.max_depth:
            raise RemoteProtocolError(f"a frame is nested deeper than {self._limits.max_depth}")
        self._items += count
        if self._items > self._limits.max_items:
            raise RemoteProtocolError(f"a frame holds more than {self._limits.max_items} values")

    def _array(self, count: int, depth: int) -> list[Any]:
        self._enter(count, depth)
        return [self._read(depth + 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        self._enter(2 * count, depth)
        result: dict[str, Any] = {}
        for _ in range(count):
            key = self._read(depth + 1)
            if type(key) is not str:
                raise RemoteProtocolError("a key in a frame is not text")
            if key in result:
                raise RemoteProtocolError("a frame repeats a key")
            result[key] = self._read(depth + 1)
        return result
