"""WAMP v2 as the Green backend speaks it: a silent connection core.

A :class:`Peer` is one end of one connection. It owns no socket, clock, loop or randomness: frames go
in and messages come out, :meth:`Peer.data_to_send` says what to put on the wire, and request ids and
times are handed in. Client and server share it, so a test can connect the two with lists.

**States.** A connection is born ``NEW``. The client says HELLO and both are ``JOINING``; WELCOME makes
both ``OPEN``, ABORT ends it. Whoever wants to leave says GOODBYE and is ``CLOSING`` until the other's
GOODBYE; the other answers at once and both are ``CLOSED``. The table :data:`TRANSITIONS` is written
from the client's chair; the server sits opposite, so its table is the same one with *send* and
*receive* swapped. What the table does not name is a violation of the protocol.

**Who is to blame.** A wrong call on our side raises :class:`LocalProtocolError` and changes nothing.
Wrong bytes from the peer raise :class:`RemoteProtocolError`: a server then queues ABORT and is closed.
A client is more patient once it has joined: it matches answers by request id, and reports anything else
(an event nobody asked for, a late answer, garbage) as :class:`Ignored`, up to a bound, because a server
that misbehaves between a call and its answer must not be able to swap answers.

The messages and their encodings are in :mod:`amp0.protocol.frames`. Sources: WAMP v2 basic profile; the
ids and quirks of GDK and LWK.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from amp0.errors import LocalProtocolError, RemoteProtocolError
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
    serializer_for,
)

__all__ = [
    "CLOSE_REALM", "GOODBYE_AND_OUT", "MAX_ID", "NO_SUCH_REALM", "PROTOCOL_VIOLATION", "REALM",
    "TRANSITIONS", "Abort", "Call", "Error", "Event", "Goodbye", "Hello", "Ignored", "Limits", "Message",
    "Peer", "Pending", "Result", "Role", "Serializer", "State", "Subscribe", "Subscribed", "Unsubscribe",
    "Unsubscribed", "Welcome", "serializer_for",
]  # fmt: skip

REALM = "realm1"
PROTOCOL_VIOLATION = "wamp.error.protocol_violation"
NO_SUCH_REALM = "wamp.error.no_such_realm"
CLOSE_REALM = "wamp.close.close_realm"
GOODBYE_AND_OUT = "wamp.close.goodbye_and_out"


class Role(enum.Enum):
    """Which end of the connection a peer is."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """Where a connection is in its life; see the essay at the top of this module."""

    NEW = "new"
    JOINING = "joining"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class _Way(enum.Enum):
    SEND = "send"
    RECEIVE = "receive"


TRANSITIONS: dict[tuple[State, _Way, type[Message]], State] = {
    (State.NEW, _Way.SEND, Hello): State.JOINING,
    (State.JOINING, _Way.RECEIVE, Welcome): State.OPEN,
    (State.JOINING, _Way.RECEIVE, Abort): State.CLOSED,
    (State.JOINING, _Way.SEND, Abort): State.CLOSED,
    (State.OPEN, _Way.SEND, Call): State.OPEN,
    (State.OPEN, _Way.RECEIVE, Result): State.OPEN,
    (State.OPEN, _Way.RECEIVE, Error): State.OPEN,
    (State.OPEN, _Way.SEND, Subscribe): State.OPEN,
    (State.OPEN, _Way.RECEIVE, Subscribed): State.OPEN,
    (State.OPEN, _Way.SEND, Unsubscribe): State.OPEN,
    (State.OPEN, _Way.RECEIVE, Unsubscribed): State.OPEN,
    (State.OPEN, _Way.RECEIVE, Event): State.OPEN,
    (State.OPEN, _Way.SEND, Abort): State.CLOSED,
    (State.OPEN, _Way.RECEIVE, Abort): State.CLOSED,
    (State.OPEN, _Way.SEND, Goodbye): State.CLOSING,
    (State.OPEN, _Way.RECEIVE, Goodbye): State.CLOSING,
    # Leaving: answers already under way may still arrive; the second GOODBYE ends it.
    (State.CLOSING, _Way.RECEIVE, Result): State.CLOSING,
    (State.CLOSING, _Way.RECEIVE, Error): State.CLOSING,
    (State.CLOSING, _Way.RECEIVE, Subscribed): State.CLOSING,
    (State.CLOSING, _Way.RECEIVE, Unsubscribed): State.CLOSING,
    (State.CLOSING, _Way.RECEIVE, Event): State.CLOSING,
    (State.CLOSING, _Way.RECEIVE, Abort): State.CLOSED,
    (State.CLOSING, _Way.SEND, Abort): State.CLOSED,
    (State.CLOSING, _Way.SEND, Goodbye): State.CLOSED,
    (State.CLOSING, _Way.RECEIVE, Goodbye): State.CLOSED,
}
"""(state, direction, message) → next state, as the client sees it."""

_MIRROR = {_Way.SEND: _Way.RECEIVE, _Way.RECEIVE: _Way.SEND}
_TABLES: dict[Role, dict[tuple[State, _Way, type[Message]], State]] = {
    Role.CLIENT: TRANSITIONS,
    Role.SERVER: {
        **{(state, _MIRROR[way], kind): to for (state, way, kind), to in TRANSITIONS.items()},
        # Requests may cross our GOODBYE on the wire; they still get an answer (an error will do).
        (State.CLOSING, _Way.RECEIVE, Call): State.CLOSING,
        (State.CLOSING, _Way.RECEIVE, Subscribe): State.CLOSING,
        (State.CLOSING, _Way.RECEIVE, Unsubscribe): State.CLOSING,
    },
}


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something the server sent that no request of ours is waiting for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A request without an answer: its message code, what it asked, and when it is given up."""

    code: int
    what: str
    deadline: float


_ANSWERED_BY = {Result: Call.CODE, Subscribed: Subscribe.CODE, Unsubscribed: Unsubscribe.CODE}


class Peer:
    """One end of a WAMP connection, without I/O.

    Feed frames to :meth:`receive` and act on the messages it returns; after every call put the
    frames of :meth:`data_to_send` on the wire; when :attr:`closed`, close the connection.
    """

    def __init__(self, role: Role, serializer: Serializer, limits: Limits | None = None) -> None:
        self.role = role
        self.serializer = serializer
        self.limits = limits or Limits()
        self.state = State.NEW
        self.session: int | None = None
        self._outgoing: list[str | bytes] = []
        self._pending: dict[int, Pending] = {}
        self._answered: deque[int] = deque(maxlen=self.limits.remembered_ids)
        self._answered_set: set[int] = set()
        self._subscriptions: set[int] = set()
        self._ignored = 0

    # -- both roles --------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing more will be said; close the transport once the queue is sent."""
        return self.state is State.CLOSED

    @property
    def pending(self) -> dict[int, Pending]:
        """Requests without an answer, by request id: ours as client, theirs as server."""
        return dict(self._pending)

    def data_to_send(self) -> list[str | bytes]:
        """Frames to put on the wire, in order. Each is returned once."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def receive(self, frame: str | bytes) -> list[Message | Ignored]:
        """What one frame from the peer means. Raises :class:`RemoteProtocolError`.

        After that error a server has ABORT in its queue, and any peer is closed. What reaches a client that
        has closed says nothing to it.
        """
        if self.role is Role.CLIENT and self.state is State.CLOSED:
            return []
        try:
            message = self.serializer.decode(frame, self.limits)
        except RemoteProtocolError as error:
            if self._is_patient():
                return [self._ignore(str(error))]
            raise self._violation(str(error)) from None
        to = _TABLES[self.role].get((self.state, _Way.RECEIVE, type(message)))
        if to is None:
            reason = f"{type(message).__name__} is out of place while {self.state.value}"
            if self._is_patient():
                return [self._ignore(reason)]
            raise self._violation(reason)
        event = self._admit(message)
        self.state = to
        if isinstance(message, Goodbye) and to is State.CLOSING:
            self._send(Goodbye({}, GOODBYE_AND_OUT))
        return [event]

    def goodbye(self, reason: str = CLOSE_REALM) -> None:
        """Leave in order. A server must have answered every request first."""
        if self.role is Role.SERVER and self._pending:
            # A client whose call dies with the connection may wait for it for ever (GDK does).
            raise LocalProtocolError(f"answer the {len(self._pending)} open requests before GOODBYE")
        self._send(Goodbye({}, reason))

    def abort(self, reason: str, message: str = "") -> None:
        """End the conversation at once; ``message`` is for people."""
        self._send(Abort({"message": message} if message else {}, reason))

    # -- client ------------------------------------------------------------------------------

    def hello(self, realm: str = REALM) -> None:
        """Ask to join. The answer is :class:`Welcome` or :class:`Abort`."""
        self._send(Hello(realm, {"roles": {"caller": {"features": {}}, "subscriber": {"features": {}}}}))

    def call(self, request: int, procedure: str, args: Iterable[Any], *, deadline: float = math.inf) -> None:
        """Call a procedure. ``request`` must be fresh; ``deadline`` is a time for :meth:`expire`."""
        self._request(request, Call(request, {}, procedure, list(args)), procedure, deadline)

    def subscribe(self, request: int, topic: str, *, deadline: float = math.inf) -> None:
        """Ask for the events of a topic."""
        self._request(request, Subscribe(request, {"match": "exact"}, topic), topic, deadline)

    def unsubscribe(self, request: int, subscription: int, *, deadline: float = math.inf) -> None:
        """Ask for no more events of a subscription."""
        self._request(request, Unsubscribe(request, subscription), str(subscription), deadline)
        self._subscriptions.discard(subscription)

    def expire(self, now: float) -> list[tuple[int, Pending]]:
        """Requests whose deadline has passed, given up: a later answer to one is ignored."""
        late = [(request, entry) for request, entry in self._pending.items() if entry.deadline <= now]
        for request, _ in late:
            self._settle(request)
        return late

    @property
    def next_deadline(self) -> float:
        """When :meth:`expire` has something to do next; infinity if never."""
        return min((entry.deadline for entry in self._pending.values()), default=math.inf)

    # -- server ------------------------------------------------------------------------------

    def welcome(self, session: int) -> None:
        """Admit the client. ``session`` is a random id below 2⁵³."""
        self._send(Welcome(session, {"roles": {"broker": {}, "dealer": {}}}))
        self.session = session

    def result(self, request: int, value: Any) -> None:
        """Answer a call with one value."""
        self._answer(request, Call.CODE, Result(request, {}, [value]))

    def result_frame(self, request: int, frame: str | bytes) -> None:
        """Answer a call with a RESULT that :meth:`Serializer.encode_result` has made already."""
        self._require_open(request, Call.CODE, Result)
        to = self._after(Result)
        self._outgoing.append(frame)
        self.state = to
        self._settle(request)

    def error(self, request: int, uri: str, args: Iterable[Any]) -> None:
        """Answer any request with an error."""
        entry = self._pending.get(request)
        code = entry.code if entry else 0
        self._answer(request, code, Error(code, request, {}, uri, list(args)))

    def subscribed(self, request: int, subscription: int) -> None:
        """Grant a subscription under a number of the server's choice."""
        self._answer(request, Subscribe.CODE, Subscribed(request, subscription))
        self._subscriptions.add(subscription)

    def unsubscribed(self, request: int, subscription: int) -> None:
        """Confirm that a subscription is gone."""
        self._answer(request, Unsubscribe.CODE, Unsubscribed(request))
        self._subscriptions.discard(subscription)

    def event(self, subscription: int, publication: int, payload: dict[str, Any]) -> None:
        """Tell a subscriber. Never to a connection that did not subscribe: LWK would lose step."""
        if subscription not in self._subscriptions:
            raise LocalProtocolError(f"the client has no subscription {subscription}")
        self._send(Event(subscription, publication, {}, [payload]))

    # -- inside ------------------------------------------------------------------------------

    def _after(self, kind: type[Message]) -> State:
        to = _TABLES[self.role].get((self.state, _Way.SEND, kind))
        if to is None:
            raise LocalProtocolError(f"{kind.__name__} cannot be sent by a {self.role.value} while {self.state.value}")
        return to

    def _send(self, message: Message) -> None:
        to = self._after(type(message))
        self._outgoing.append(self.serializer.encode(message))
        self.state = to

    def _request(self, request: int, message: Message, what: str, deadline: float) -> None:
        if not 0 < request <= MAX_ID or request in self._pending or request in self._answered_set:
            raise LocalProtocolError(f"request id {request} is not a fresh one")
        self._send(message)
        self._pending[request] = Pending(message.CODE, what, deadline)

    def _answer(self, request: int, code: int, message: Message) -> None:
        self._require_open(request, code, type(message))
        self._send(message)
        self._settle(request)

    def _require_open(self, request: int, code: int, kind: type[Message]) -> None:
        entry = self._pending.get(request)
        if entry is None or entry.code != code:
            raise LocalProtocolError(f"there is no open request {request} to answer with {kind.__name__}")

    def _settle(self, request: int) -> None:
        del self._pending[request]
        if len(self._answered) == self._answered.maxlen:
            self._answered_set.discard(self._answered[0])
        self._answered.append(request)
        self._answered_set.add(request)

    def _is_patient(self) -> bool:
        return self.role is Role.CLIENT and self.state in (State.OPEN, State.CLOSING)

    def _ignore(self, reason: str) -> Ignored:
        self._ignored += 1
        if self._ignored > self.limits.max_ignored:
            raise self._violation(f"the server keeps sending what nobody asked for: {reason}")
        return Ignored(reason)

    def _violation(self, text: str, reason: str = PROTOCOL_VIOLATION) -> RemoteProtocolError:
        if (self.state, _Way.SEND, Abort) in _TABLES[self.role] or self.state is State.NEW:
            self._outgoing.append(self.serializer.encode(Abort({"message": text}, reason)))
        self.state = State.CLOSED
        return RemoteProtocolError(text)

    def _admit(self, message: Message) -> Message | Ignored:
        """Book-keeping of a message that is legal now."""
        if self.role is Role.SERVER:
            self._admit_as_server(message)
            return message
        if isinstance(message, Welcome):
            self.session = message.session
        elif isinstance(message, Event):
            if message.subscription not in self._subscriptions:
                return self._ignore("an event of a topic that was not asked for")
        elif isinstance(message, Result | Subscribed | Unsubscribed | Error):
            code = message.request_type if isinstance(message, Error) else _ANSWERED_BY[type(message)]
            entry = self._pending.get(message.request)
            if entry is None or entry.code != code:
                return self._ignore("an answer to a request that is not open")
            self._settle(message.request)
            if isinstance(message, Subscribed):
                self._subscriptions.add(message.subscription)
        return message

    def _admit_as_server(self, message: Message) -> None:
        if isinstance(message, Hello) and message.realm != REALM:
            raise self._violation(f"the only realm here is {REALM}", NO_SUCH_REALM)
        if not isinstance(message, Call | Subscribe | Unsubscribe):
            return
        if message.request in self._pending or message.request in self._answered_set:
            raise self._violation(f"request id {message.request} was used before")
        if len(self._pending) >= self.limits.max_pending:
            raise self._violation(f"more than {self.limits.max_pending} requests are open")
        what = message.procedure if isinstance(message, Call) else ""
        if isinstance(message, Subscribe):
            what = message.topic
        self._pending[message.request] = Pending(message.CODE, what, math.inf)
