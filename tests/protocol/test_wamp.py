"""Two peers joined by lists: legal conversations, and every illegal one the checklist names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.errors import LocalProtocolError, RemoteProtocolError
from amp0.protocol.wamp import (
    Abort,
    Call,
    Error,
    Event,
    Goodbye,
    Hello,
    Ignored,
    Limits,
    Message,
    Peer,
    Result,
    Role,
    Serializer,
    State,
    Subscribe,
    Subscribed,
    Unsubscribed,
    Welcome,
)

JSON, MSGPACK = Serializer.JSON, Serializer.MSGPACK


def pass_on(sender: Peer, receiver: Peer) -> list[Message | Ignored]:
    return [event for frame in sender.data_to_send() for event in receiver.receive(frame)]


def joined(serializer: Serializer = JSON, limits: Limits | None = None) -> tuple[Peer, Peer]:
    client, server = Peer(Role.CLIENT, serializer, limits), Peer(Role.SERVER, serializer, limits)
    client.hello()
    pass_on(client, server)
    server.welcome(7)
    pass_on(server, client)
    return client, server


@pytest.mark.parametrize("serializer", [JSON, MSGPACK])
def test_a_whole_conversation(serializer: Serializer) -> None:
    client, server = Peer(Role.CLIENT, serializer), Peer(Role.SERVER, serializer)
    client.hello()
    [hello] = pass_on(client, server)
    assert isinstance(hello, Hello)
    assert (client.state, server.state) == (State.JOINING, State.JOINING)
    server.welcome(2**53 - 1)
    [welcome] = pass_on(server, client)
    assert isinstance(welcome, Welcome)
    assert client.session == server.session == 2**53 - 1

    client.call(1, "one", [1, "x"])
    client.subscribe(2, "topic")
    assert pass_on(client, server) == [
        Call(1, {}, "one", [1, "x"]),
        Subscribe(2, {"match": "exact"}, "topic"),
    ]
    server.subscribed(2, 40)
    server.result(1, {"ok": True})
    server.event(40, 1, {"count": 1})
    assert pass_on(server, client) == [
        Subscribed(2, 40),
        Result(1, {}, [{"ok": True}]),
        Event(40, 1, {}, [{"count": 1}]),
    ]
    client.call(3, "two", [])
    client.unsubscribe(4, 40)
    pass_on(client, server)
    server.error(3, "com.greenaddress.error", ["http://greenaddressit.com/error#auth", "no", {}])
    server.unsubscribed(4, 40)
    failed, unsubscribed = pass_on(server, client)
    assert failed == Error(48, 3, {}, "com.greenaddress.error", ["http://greenaddressit.com/error#auth", "no", {}])
    assert unsubscribed == Unsubscribed(4)

    client.goodbye()
    assert client.state is State.CLOSING
    [goodbye] = pass_on(client, server)
    assert isinstance(goodbye, Goodbye)
    assert server.closed
    [answer] = pass_on(server, client)
    assert answer == Goodbye({}, "wamp.close.goodbye_and_out")
    assert client.closed


def test_the_server_leaves_in_order() -> None:
    client, server = joined()
    client.call(1, "x", [])
    pass_on(client, server)
    with pytest.raises(LocalProtocolError, match="answer"):
        server.goodbye()
    server.result(1, None)
    server.goodbye()
    # A call that crosses the server's GOODBYE still gets an answer: GDK would wait for ever otherwise.
    client.call(2, "late", [])
    [late] = pass_on(client, server)
    assert late == Call(2, {}, "late", [])
    server.error(2, "com.greenaddress.error", ["x", "stopping", {}])
    # The answer to a call made after our GOODBYE was on its way says nothing to a client that has closed.
    assert [type(event) for event in pass_on(server, client)] == [Result, Goodbye]
    assert client.closed
    pass_on(client, server)
    assert server.closed


def test_abort_ends_it_for_both() -> None:
    client, server = Peer(Role.CLIENT, JSON), Peer(Role.SERVER, JSON)
    client.hello()
    pass_on(client, server)
    server.abort("wamp.error.authorization_failed", "not today")
    assert server.closed
    assert pass_on(server, client) == [Abort({"message": "not today"}, "wamp.error.authorization_failed")]
    assert client.closed
    with pytest.raises(LocalProtocolError):
        client.call(1, "x", [])


def violation(server: Peer, frame: str) -> Abort:
    """The ABORT that a frame earns; the connection is over afterwards."""
    with pytest.raises(RemoteProtocolError):
        server.receive(frame)
    assert server.closed
    [out] = server.data_to_send()
    abort = JSON.decode(out)
    assert isinstance(abort, Abort)
    with pytest.raises(RemoteProtocolError):
        server.receive('[48,77,{},"x",[]]')
    assert server.data_to_send() == []
    return abort


CALL = '[48,1,{},"x",[]]'
HELLO = '[1,"realm1",{}]'


def test_a07_calls_out_of_turn() -> None:
    assert violation(Peer(Role.SERVER, JSON), CALL).reason == "wamp.error.protocol_violation"
    joining = Peer(Role.SERVER, JSON)
    joining.receive(HELLO)
    violation(joining, CALL)
    violation(joined()[1], HELLO)
    wrong_realm = Peer(Role.SERVER, JSON)
    assert violation(wrong_realm, '[1,"realm2",{}]').reason == "wamp.error.no_such_realm"
    for frame in ("[2,1,{}]", "[50,1,{},[1]]", "[36,1,1,{},[{}]]", '[8,48,1,{},"x"]', "[33,1,1]", '[16,1,{},"t"]'):
        violation(joined()[1], frame)
    _, server = joined()
    server.receive('[6,{},"wamp.error.close_realm"]')
    server.data_to_send()
    with pytest.raises(RemoteProtocolError):
        server.receive(CALL)


def test_a08_request_ids() -> None:
    for used in (CALL, '[32,1,{},"t"]'):
        _, server = joined()
        server.receive(CALL)
        violation(server, used)  # still open
        _, server = joined()
        server.receive(CALL)
        server.result(1, None)
        server.data_to_send()
        violation(server, used)  # answered
    for number in ("0", "-1", str(2**53 + 1), "1.0", "true"):
        violation(joined()[1], f'[48,{number},{{}},"x",[]]')
    # Known clients count from anywhere, or draw at random.
    _, server = joined()
    for known in (9, 10, 3, 2**53, 1):
        server.receive(f'[48,{known},{{}},"x",[]]')
    assert set(server.pending) == {9, 10, 3, 2**53, 1}


def test_a08_a_reused_id_is_noticed_after_many_calls_and_memory_stays_bounded() -> None:
    _, server = joined(limits=Limits(remembered_ids=10))
    for number in range(1, 100):
        server.receive(f'[48,{number},{{}},"x",[]]')
        server.result(number, None)
        server.data_to_send()
    assert len(server._answered) == len(server._answered_set) == 10
    violation(server, '[48,95,{},"x",[]]')


def test_a09_open_requests_are_bounded() -> None:
    _, server = joined(limits=Limits(max_pending=5))
    for number in range(1, 6):
        server.receive(f'[48,{number},{{}},"x",[]]')
    violation(server, '[48,6,{},"x",[]]')


@pytest.mark.parametrize("frame", ["garbage", "[" * 10**5, '[48,1,{},"x",[NaN]]', "x" * (2 * 1024 * 1024 + 1), "[]"])
def test_a06_garbage_ends_a_server_connection(frame: str) -> None:
    violation(joined()[1], frame)


@pytest.mark.parametrize(
    "frame",
    [
        '[36,5,1,{},[{"count":1}]]',  # an event nobody subscribed to
        "[50,2,{},[1]]",  # an answer to a call never made
        '[8,48,2,{},"x"]',
        "[33,1,9]",  # the right id, the wrong kind of answer
        '[8,32,1,{},"x"]',
        "[35,1]",
        "garbage",
        "{}",
        "[2,1,{}]",
        '[48,1,{},"x",[]]',
        "[50,1,{},[" + "[" * 50,
    ],
)
def test_a14_what_nobody_asked_for_is_ignored(frame: str) -> None:
    client, server = joined()
    client.call(1, "x", [])
    [ignored] = client.receive(frame)
    assert isinstance(ignored, Ignored)
    pass_on(client, server)
    server.result(1, "answer")
    assert pass_on(server, client) == [Result(1, {}, ["answer"])]


def test_a14_patience_has_a_bound() -> None:
    client, _ = joined(limits=Limits(max_ignored=3))
    for _ in range(3):
        client.receive("garbage")
    with pytest.raises(RemoteProtocolError):
        client.receive("garbage")
    assert client.closed


def test_a_client_that_is_not_in_yet_has_no_patience() -> None:
    client = Peer(Role.CLIENT, JSON)
    client.hello()
    with pytest.raises(RemoteProtocolError):
        client.receive("garbage")
    assert client.closed


def test_a15_deadlines_and_late_answers() -> None:
    client, server = joined()
    assert client.next_deadline == math.inf
    client.call(1, "slow", [], deadline=10.0)
    client.call(2, "slower", [], deadline=20.0)
    assert client.next_deadline == 10.0
    assert client.expire(9.9) == []
    [(request, pending)] = client.expire(10.0)
    assert (request, pending.what) == (1, "slow")
    assert client.next_deadline == 20.0
    pass_on(client, server)
    server.result(1, "late")
    server.result(2, "in time")
    late, good = pass_on(server, client)
    assert isinstance(late, Ignored)
    assert good == Result(2, {}, ["in time"])
    assert client.expire(math.inf) == []


def test_our_own_mistakes_change_nothing() -> None:
    client, server = joined()
    client.call(1, "x", [])
    for wrong in (1, 0, -5, 2**53 + 1):
        with pytest.raises(LocalProtocolError):
            client.call(wrong, "x", [])
    mistakes: list[Callable[[], object]] = [
        lambda: client.hello(),
        lambda: client.result(1, None),
        lambda: client.welcome(1),
        lambda: server.hello(),
        lambda: server.call(1, "x", []),
        lambda: server.result(1, None),
        lambda: server.error(1, "x", []),
        lambda: server.subscribed(1, 1),
        lambda: server.event(1, 1, {}),
        lambda: server.welcome(1),
    ]
    for act in mistakes:
        with pytest.raises(LocalProtocolError):
            act()
    pass_on(client, server)
    with pytest.raises(LocalProtocolError):
        server.subscribed(1, 1)  # it was a call
    server.result(1, None)
    with pytest.raises(LocalProtocolError):
        server.result(1, None)  # once only: LWK reads one message per call
    assert pass_on(server, client) == [Result(1, {}, [None])]


@given(st.data())
def test_a11_answers_find_their_calls_in_any_order(data: Any) -> None:
    """Many sessions, calls answered in any order: nobody ever gets another's answer."""
    sessions = [joined() for _ in range(data.draw(st.integers(1, 5)))]
    open_calls = []
    for number, (client, server) in enumerate(sessions):
        for request in range(1, data.draw(st.integers(1, 6)) + 1):
            client.call(request, "whoami", [number, request])
            open_calls.append((number, request))
        pass_on(client, server)
    for number, request in data.draw(st.permutations(open_calls)):
        client, server = sessions[number]
        server.result(request, [number, request])
        assert pass_on(server, client) == [Result(request, {}, [[number, request]])]
    assert all(not peer.pending for pair in sessions for peer in pair)


@given(
    st.lists(
        st.one_of(st.text(max_size=40), st.sampled_from([CALL, HELLO, '[6,{},"x"]', "[50,1,{},[1]]", "[2,1,{}]"])),
        max_size=8,
    )
)
def test_peers_never_fail_otherwise(frames: list[str]) -> None:
    for role in Role:
        peer = Peer(role, JSON)
        if role is Role.CLIENT:
            peer.hello()
        for frame in frames:
            try:
                peer.receive(frame)
            except RemoteProtocolError:
                assert peer.closed
            peer.data_to_send()
