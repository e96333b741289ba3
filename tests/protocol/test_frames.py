"""WAMP messages both ways in both encodings, and frames that must be refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.errors import RemoteProtocolError
from amp0.protocol.frames import (
    MAX_ID,
    Abort,
    Call,
    Error,
    Event,
    Goodbye,
    Hello,
    Limits,
    Message,
    Result,
    Serializer,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
    parse_message,
    serializer_for,
)

JSON, MSGPACK = Serializer.JSON, Serializer.MSGPACK
MESSAGES = [
    Hello("realm1", {"roles": {"caller": {"features": {}}}}),
    Welcome(7, {"roles": {"broker": {}, "dealer": {}}}),
    Abort({"message": "no"}, "wamp.error.no_such_realm"),
    Goodbye({}, "wamp.error.close_realm"),
    Error(48, 3, {}, "com.greenaddress.error", ["http://greenaddressit.com/error#auth", "text", {}]),
    Error(48, 3, {}, "wamp.error.runtime_error"),
    Subscribe(1, {"match": "exact"}, "com.greenaddress.blocks"),
    Subscribed(1, 99),
    Unsubscribe(2, 99),
    Unsubscribed(2),
    Event(99, 5, {}, [{"count": 102, "diverged_count": 0}]),
    Call(MAX_ID, {"timeout": 10000}, "com.greenaddress.login.register", ["02ab", True, None, 1.5, -7, 2**64 - 1, "é"]),
    Result(4, {}, [None]),
    Result(4, {}, [{"a": [1, [2, [3]]]}], {"extra": 1}),
]


@pytest.mark.parametrize("serializer", [JSON, MSGPACK])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_round_trip(serializer: Serializer, message: Message) -> None:
    frame = serializer.encode(message)
    assert isinstance(frame, str) is (serializer is JSON)
    assert serializer.decode(frame) == message


def test_frames_recorded_from_gdk_and_lwk() -> None:
    hello = '[1,"realm1",{"roles":{"caller":{"features":{}}}}]'
    assert JSON.decode(hello) == Hello("realm1", {"roles": {"caller": {"features": {}}}})
    goodbye = msgspec.msgpack.encode([6, {}, "wamp.error.close_realm"])
    assert MSGPACK.decode(goodbye) == Goodbye({}, "wamp.error.close_realm")
    call = JSON.decode('[48,2,{},"com.greenaddress.login.get_trezor_challenge",["2dof",true]]')
    assert call == Call(2, {}, "com.greenaddress.login.get_trezor_challenge", ["2dof", True])
    # GDK always sends five elements; so do we, and four are understood.
    assert JSON.encode(Call(1, {}, "x", [])) == '[48,1,{},"x",[]]'
    assert JSON.decode('[48,1,{},"x"]') == Call(1, {}, "x", [])


@pytest.mark.parametrize(
    "items",
    [
        5, "x", {}, [], [48], ["48", 1, {}, "x"], [True, "realm1", {}], [48.0, 1, {}, "x"],
        [16, 1, {}, "topic", []], [64, 1, {}, "procedure"], [49, 1, {}], [70, 1, {}], [999],
        [48, 1, {}], [48, 1, {}, "x", [], {}, 5], [1, "realm1"], [50, 1],
        [48, 1, [], "x"], [48, 1, {}, 5], [48, 1, {}, ""], [48, 1, {}, "x" * 513], [48, 1, {}, "x", {}],
        [48, 1, {}, "x", [], []], [8, "48", 1, {}, "u"], [8, -1, 1, {}, "u"], [36, 1, -1, {}],
    ],
)  # fmt: skip
def test_messages_out_of_shape(items: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_message(items)


@pytest.mark.parametrize("request_id", [0, -1, MAX_ID + 1, 1.0, True, "1", None])
def test_a08_request_ids_out_of_range(request_id: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_message([48, request_id, {}, "x", []])


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[", '[48,1,{},"x"', '[48,1,{},"x"]]', '[48,1,{},"x"] [', '{"a":1}',
        '[48,1,{"a":1,"a":2},"x"]',
        '[48,1,{},"x",[{"b":{"k":1,"k":1}}]]',
        '[48,1,{},"x",[NaN]]', '[48,1,{},"x",[Infinity]]', '[48,1,{},"x",[-Infinity]]', '[48,1,{},"x",[1e999]]',
        '[48,1,{},"x",[18446744073709551616]]', '[48,1,{},"x",[-9223372036854775809]]',
        '[48,1,{},"x",[' + "9" * 5000 + "]]",
        '[48,1,{},"x",["\\ud800"]]', '[48,1,{},"x",[{"\\udfff":1}]]',
        "[" * 100_000, "[" * 100_000 + "]" * 100_000,
        '[48,1,{},"x",' + "[" * 40 + "]" * 40 + "]",
        '[48,1,{},"x",' + '{"a":' * 40 + "1" + "}" * 40 + "]",
    ],
)  # fmt: skip
def test_a06_json_that_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        JSON.decode(text)


def packed(*args: Any) -> bytes:
    return msgspec.msgpack.encode([48, 1, {}, "x", list(args)])


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\xc1", b"\x95", packed()[:-1], packed() + b"\xc0", packed(b"binary"),
        packed(msgspec.msgpack.Ext(5, b"x")), packed(float("nan")), packed(float("inf")),
        b"\x95\x30\x01\x82\xa1a\x01\xa1a\x02\xa1x\x90",  # a repeated key
        b"\x95\x30\x01\x81\x01\x02\xa1x\x90",  # a key that is a number
        b"\x95\x30\x01\x80\xa2\xff\xfe\x90",  # not UTF-8
        b"\x95\x30\x01\x80\xa1x\x91\xca\x7f\x80\x00\x00",  # infinity in 32 bits
        b"\x91" * 100_000, b"\x81\xa1a" * 100_000,
        b"\xdd\xff\xff\xff\xff" + b"\x00" * 10, b"\xdf\xff\xff\xff\xff" + b"\x00" * 10, b"\xdb\xff\xff\xff\xff",
        packed([[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]),
    ],
)  # fmt: skip
def test_a06_msgpack_that_is_refused(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        MSGPACK.decode(frame)


def test_a06_bounds_are_those_given() -> None:
    small = Limits(max_frame=100, max_items=5, max_depth=4)
    for serializer in (JSON, MSGPACK):
        assert serializer.decode(serializer.encode(Call(1, {}, "x", [])), small) == Call(1, {}, "x", [])
        for call in (Call(1, {}, "x", ["y" * 100]), Call(1, {}, "x", [1, 2]), Call(1, {}, "x", [[[1]]])):
            with pytest.raises(RemoteProtocolError):
                serializer.decode(serializer.encode(call), small)


def test_a04_no_guessing_between_encodings() -> None:
    message = Call(1, {}, "x", [])
    with pytest.raises(RemoteProtocolError):
        MSGPACK.decode(JSON.encode(message))
    with pytest.raises(RemoteProtocolError):
        JSON.decode(MSGPACK.encode(message))
    with pytest.raises(RemoteProtocolError):
        MSGPACK.decode(str(JSON.encode(message)).encode())
    assert serializer_for("wamp.2.json") is JSON
    assert serializer_for("wamp.2.msgpack") is MSGPACK
    for unknown in (None, "", "wamp.2.cbor", "WAMP.2.JSON"):
        with pytest.raises(RemoteProtocolError):
            serializer_for(unknown)


def test_errors_do_not_repeat_what_was_sent() -> None:
    for text in ('[48,1,{},"x",["passw0rd"', '[48,1,{},"x",["passw0rd", NaN]]'):
        with pytest.raises(RemoteProtocolError) as caught:
            JSON.decode(text)
        assert "passw0rd" not in str(caught.value)
        assert caught.value.__cause__ is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=5))
def test_arguments_round_trip(args: list[Any]) -> None:
    for serializer in (JSON, MSGPACK):
        call = Call(1, {}, "x", args)
        with contextlib.suppress(RemoteProtocolError):  # nested too deeply
            assert serializer.decode(serializer.encode(call)) == call


@given(st.binary(max_size=200))
def test_msgpack_never_fails_otherwise(frame: bytes) -> None:
    for data in (frame, b"\x95\x30\x01\x80\xa1x" + frame):
        with contextlib.suppress(RemoteProtocolError):
            message = MSGPACK.decode(data)
            # What was read is what another decoder reads.
            assert msgspec.msgpack.decode(data)[1:] == message.to_list()[1 : len(msgspec.msgpack.decode(data))]


@given(st.text(max_size=200), VALUES)
def test_json_never_fails_otherwise(text: str, value: Any) -> None:
    for frame in (text, "[48,1,{}," + text, json.dumps(value)):
        with contextlib.suppress(RemoteProtocolError):
            JSON.decode(frame)


@given(st.sampled_from(MESSAGES), st.sampled_from([JSON, MSGPACK]), st.integers(0, 400))
def test_truncated_frames_are_refused(message: Message, serializer: Serializer, cut: int) -> None:
    frame = serializer.encode(message)
    if cut < len(frame):
        with pytest.raises(RemoteProtocolError):
            serializer.decode(frame[:cut])
    trailing = frame + "x" if isinstance(frame, str) else frame + b"x"
    with pytest.raises(RemoteProtocolError):
        serializer.decode(trailing)


@pytest.mark.parametrize("serializer", Serializer)
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 258, 512, 513, 1000])
def test_a_long_list_is_encoded_in_pieces_to_the_same_frame(serializer: Serializer, count: int) -> None:
    value = [{"n": n, "text": "é" * (n % 3), "none": None, "list": [n]} for n in range(count)]
    request = 2**53 - count
    frame = serializer.encode_result(request, value)
    assert serializer.decode(frame) == Result(request, {}, [value])
    if serializer is Serializer.JSON:
        assert frame == serializer.encode(Result(request, {}, [value]))
