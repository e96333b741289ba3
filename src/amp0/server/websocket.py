"""One WAMP connection: frames ↔ ``wamp.Peer`` ↔ the table of calls.

A :class:`Connection` reads one frame at a time and answers it before it reads the next. So calls of one session run in
their order, a call is always answered before a GOODBYE behind it, and a client that sends faster than it is served
is held back by its own socket. Events are put into the same outgoing queue, behind the answer of a call that is running
and of the one that caused them; a client that does not read them is disconnected when the queue is full.

Nothing here blocks: calls run in worker threads (:mod:`amp0.server.workers`), and this module only moves frames.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from amp0.errors import RemoteProtocolError
from amp0.protocol import rpc, wamp
from amp0.server import calls
from amp0.server.context import Level, Publication, Services, Session
from amp0.server.refusal import (
    InternalError,
    InvalidRequest,
    NotAllowed,
    Refusal,
    SessionExpired,
    ShuttingDown,
    wamp_error_arguments,
)
from amp0.server.settings import Settings
from amp0.server.workers import Shared, Workers

log = logging.getLogger("amp0.server.websocket")

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_PROTOCOL_ERROR = 1002
CLOSE_POLICY = 1008
CLOSE_TOO_LARGE = 1009

_SEND_SECONDS, _SEND_RATE = 30.0, 20_000
"""A peer that takes longer to accept a frame is gone: so long, and a second for so many bytes."""
_MOST_QUEUED_FRAMES = 512
_LAST_CALLS_SECONDS = 0.1
"""How long calls are still answered, with a refusal, when the server stops: for those that are on their way."""
_FAN_OUT = 25
"""Sessions that hear an event before the loop may do something else."""


class Transport(Protocol):
    """What a connection needs from the socket under it."""

    async def send(self, frame: str | bytes) -> None:
        """Put one frame on the wire; returns when the socket has taken it."""

    async def close(self, code: int) -> None:
        """Close with a WebSocket status code."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that has run: its outcome, and the frame of its result, None where there is none."""

    outcome: calls.Outcome
    frame: str | bytes | None


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A call on its way to a thread."""

    session: Session
    call: wamp.Call
    serializer: wamp.Serializer

    def answered(self, outcome: calls.Outcome) -> Answered:
        """Results are encoded where they are made: a large one would hold up the event loop."""
        if outcome.refusal is not None:
            return Answered(outcome, None)
        try:
            return Answered(outcome, self.serializer.encode_result(self.call.request, outcome.value))
        except (TypeError, ValueError, OverflowError):
            log.exception("a result cannot be sent procedure=%s", self.call.procedure)
            return Answered(outcome, None)


class Hub:
    """Who is connected, and who hears what. Lives on the event loop."""

    services: Services
    """Given by the composition root once it has them: the watcher needs the hub to publish."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        self.settings = settings
        self.workers = workers
        self.stopping = False
        self.connections: set[Connection] = set()
        self._peers: Counter[str] = Counter()
        self._subscribers: dict[str, set[Connection]] = {}
        self._numbers: dict[str, int] = {}
        self._last_number = 0
        self._publications = 0
        self._writing = Shared(workers, self._write, most=settings.max_shared_commit)

    def opened(self, connection: Connection) -> None:
        """One more."""
        self.connections.add(connection)
        self._peers[connection.peer] += 1

    def closed(self, connection: Connection) -> None:
        """One less; harmless when repeated."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._peers[connection.peer] -= 1
        if not self._peers[connection.peer]:
            del self._peers[connection.peer]

    def connections_of(self, peer: str) -> int:
        """How many a peer address has open."""
        return self._peers[peer]

    def subscribe(self, topic: str, connection: Connection) -> int:
        """Let a connection hear a topic; the number names the topic in its events."""
        if topic not in self._numbers:
            self._last_number += 1
            self._numbers[topic] = self._last_number
        self._subscribers.setdefault(topic, set()).add(connection)
        return self._numbers[topic]

    def unsubscribe(self, topic: str, connection: Connection) -> None:
        """Stop a connection from hearing a topic."""
        subscribers = self._subscribers.get(topic)
        if subscribers is not None:
            subscribers.discard(connection)
            if not subscribers:
                # The number goes as well: nobody holds it, and topics come and go with wallets.
                del self._subscribers[topic], self._numbers[topic]

    async def publish(self, publications: Iterable[Publication]) -> None:
        """Tell the subscribers, in order, without holding up the loop."""
        for publication in publications:
            subscribers = self._subscribers.get(publication.topic)
            if not subscribers:
                continue
            self._publications += 1
            number, current = self._numbers[publication.topic], self._publications
            for count, connection in enumerate(list(subscribers), 1):
                connection.push(publication.topic, number, current, publication.payload)
                if count % _FAN_OUT == 0:
                    await asyncio.sleep(0)

    async def call(self, session: Session, call: wamp.Call, serializer: wamp.Serializer) -> Answered:
        """Run one call of a session in a thread of its kind. Raises :class:`~amp0.server.refusal.ServerBusy`."""
        uri, incoming = call.procedure, _Incoming(session, call, serializer)
        if uri in calls.SHARED:
            return await self._writing.run(incoming)
        pool = self.workers.slow if uri in calls.SLOW else self.workers.ordinary
        if uri in calls.SENDING:
            pool = self.workers.sending
        elif calls.is_quick(uri, call.args):
            pool = self.workers.quick
        return await pool(lambda: self._execute(incoming))

    def _execute(self, incoming: _Incoming) -> Answered:
        call = incoming.call
        return incoming.answered(calls.execute(self.services, incoming.session, call.procedure, call.args))

    def _write(self, several: Sequence[_Incoming]) -> list[Answered]:
        asked = [calls.Asked(each.session, each.call.procedure, each.call.args) for each in several]
        outcomes = calls.execute_together(self.services, asked)
        return [each.answered(outcome) for each, outcome in zip(several, outcomes, strict=True)]

    def end_sessions(self, user_id: int, level: Level) -> None:
        """Log out the sessions of a wallet that are of this level or below."""
        for connection in list(self.connections):
            session = connection.session
            if session.user_id == user_id and Level.ANONYMOUS < session.level <= level:
                connection.become(Session(peer=session.peer))

    async def sweep(self) -> None:
        """Disconnect those who never said HELLO, and those who have been silent for too long."""
        now = time.monotonic()
        settings = self.settings
        for count, connection in enumerate(list(self.connections), 1):
            silent = now - connection.heard_at
            if connection.is_new and silent > settings.handshake_seconds:
                await connection.drop(CLOSE_POLICY)
            elif silent > settings.session_idle_seconds:
                await connection.leave(CLOSE_GOING_AWAY)
            if count % _FAN_OUT == 0:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Answer what is running, refuse what comes, and close every connection."""
        self.stopping = True
        if any(connection.listens for connection in self.connections):
            # Clients that listen are GDK's: it waits for ever for a call whose connection is closed.
            await asyncio.sleep(_LAST_CALLS_SECONDS)
        await asyncio.gather(*(connection.leave(CLOSE_GOING_AWAY) for connection in list(self.connections)))


class Connection:
    """One connection without its socket: give it frames with :meth:`handle`."""

    def __init__(self, hub: Hub, serializer: wamp.Serializer, transport: Transport, peer: str = "") -> None:
        settings = hub.settings
        self.peer = peer
        self.session = Session(peer=peer)
        self.heard_at = time.monotonic()
        self._hub = hub
        self._settings = settings
        self._transport = transport
        self._peer = wamp.Peer(
            wamp.Role.SERVER,
            serializer,
            wamp.Limits(max_frame=settings.max_message, max_pending=settings.max_pending_calls),
        )
        self._topics: dict[int, str] = {}
        self._outgoing: deque[str | bytes] = deque()
        self._is_calling = False
        self._held: list[tuple[str, int, int, dict[str, Any]]] = []
        self._sending = asyncio.Lock()
        self._flush_is_due = False
        self._closed = False
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        hub.opened(self)

    @property
    def closed(self) -> bool:
        """Whether nothing more will be read or written."""
        return self._closed

    @property
    def is_new(self) -> bool:
        """Whether the peer has not said HELLO yet."""
        return self._peer.state is wamp.State.NEW

    @property
    def listens(self) -> bool:
        """Whether the peer has subscribed to anything."""
        return bool(self._topics)

    async def handle(self, frame: str | bytes) -> None:
        """Take one frame, and return when it is answered."""
        self.heard_at = time.monotonic()
        anonymous = self.session.level is Level.ANONYMOUS
        if len(frame) > (self._settings.max_anonymous_message if anonymous else self._settings.max_message):
            await self.drop(CLOSE_TOO_LARGE)
            return
        async with self._turn:
            if self._closed:
                return
            try:
                messages = self._peer.receive(frame)
            except RemoteProtocolError as error:
                log.info("protocol violation peer=%s error=%s", self.session.peer, error)
                await self._flush()
                await self.drop(CLOSE_PROTOCOL_ERROR)
                return
            for message in messages:
                await self._act(message)
            await self._flush()
        self.heard_at = time.monotonic()
        if self._peer.closed:
            await self.drop(CLOSE_NORMAL)

    def push(self, topic: str, number: int, publication: int, payload: dict[str, Any]) -> None:
        """Queue one event for a peer that subscribed to its topic.

        Behind the answer to a call that is running: its answer may be older than the event. GDK forgets what it knew
        of an account at an event, and an answer that comes after it counts as new, for as long as nothing happens.
        """
        if self._closed or self._peer.state is not wamp.State.OPEN or self._topics.get(number) != topic:
            return
        if len(self._outgoing) + len(self._held) >= _MOST_QUEUED_FRAMES:
            log.info("peer does not read peer=%s", self.session.peer)
            self._spawn(self.drop(CLOSE_POLICY))
            return
        if self._is_calling:
            self._held.append((topic, number, publication, payload))
            return
        self._peer.event(number, publication, payload)
        self._outgoing.extend(self._peer.data_to_send())
        if not self._flush_is_due:
            self._flush_is_due = True
            self._spawn(self._flush())

    def become(self, session: Session) -> None:
        """Change who is logged in. Topics that the new session may not hear fall silent."""
        if session is self.session:
            return
        self.session = session
        allowed = session.topics()
        for number, topic in list(self._topics.items()):
            if topic not in allowed:
                del self._topics[number]
                self._hub.unsubscribe(topic, self)

    async def leave(self, code: int) -> None:
        """End the conversation from our side, after the answer that is under way.

        Without a GOODBYE of ours: the GDK that everybody has ends its whole process over one that it did not ask for,
        and LWK would take it for the answer to its next call.
        """
        async with self._turn:
            await self._flush()
        await self.drop(code)

    async def drop(self, code: int) -> None:
        """Close the socket and forget the connection."""
        if self._closed:
            return
        self.lost()
        try:
            await self._transport.close(code)
        except Exception as error:  # noqa: BLE001
            # The socket was gone before we were: nothing is left to do for it.
            log.debug("close failed error=%r", error)

    def lost(self) -> None:
        """The socket is gone."""
        self._closed = True
        self._hub.closed(self)
        for topic in self._topics.values():
            self._hub.unsubscribe(topic, self)
        self._topics.clear()
        self._outgoing.clear()
        self._held.clear()

    # -- inside ------------------------------------------------------------------------------

    async def _act(self, message: wamp.Message | wamp.Ignored) -> None:
        if isinstance(message, wamp.Hello):
            self._peer.welcome(secrets.randbelow(wamp.MAX_ID) + 1)
        elif isinstance(message, wamp.Call):
            await self._call(message)
        elif isinstance(message, wamp.Subscribe):
            self._subscribe(message)
        elif isinstance(message, wamp.Unsubscribe):
            self._unsubscribe(message)

    async def _call(self, call: wamp.Call) -> None:
        self._is_calling = True
        try:
            await self._answer(call)
        finally:
            self._is_calling = False
            held, self._held = self._held, []
            for event in held:
                self.push(*event)

    async def _answer(self, call: wamp.Call) -> None:
        if self._hub.stopping:
            self._refuse(call.request, ShuttingDown("The server is stopping; connect again in a moment"))
            return
        if call.kwargs:
            self._refuse(call.request, InvalidRequest("Procedures take positional arguments only"))
            return
        user_id = self.session.user_id
        try:
            answered = await self._hub.call(self.session, call, self._peer.serializer)
        except Refusal as refusal:
            self._refuse(call.request, refusal)
            return
        outcome = answered.outcome
        if self._closed:
            await self._hub.publish(outcome.publications)
            return
        if outcome.session is not self.session:
            self.become(outcome.session)
        if outcome.refusal is not None:
            self._refuse(call.request, outcome.refusal)
        elif answered.frame is not None:
            self._peer.result_frame(call.request, answered.frame)
        else:
            self._refuse(call.request, InternalError())
        await self._flush()
        await self._hub.publish(outcome.publications)
        if outcome.ends_sessions is not None:
            self._hub.end_sessions(user_id, outcome.ends_sessions)

    def _refuse(self, request: int, refusal: Refusal) -> None:
        if request in self._peer.pending:
            self._peer.error(request, rpc.ERROR_URI, wamp_error_arguments(refusal))

    def _subscribe(self, message: wamp.Subscribe) -> None:
        if self.session.level is Level.ANONYMOUS:
            self._refuse(message.request, SessionExpired())
        elif message.topic not in self.session.topics() or message.options.get("match", "exact") != "exact":
            self._refuse(message.request, NotAllowed("A session hears its own wallet and the blocks, nothing else"))
        else:
            number = self._hub.subscribe(message.topic, self)
            self._topics[number] = message.topic
            self._peer.subscribed(message.request, number)

    def _unsubscribe(self, message: wamp.Unsubscribe) -> None:
        topic = self._topics.pop(message.subscription, None)
        if topic is None:
            self._refuse(message.request, InvalidRequest("There is no such subscription"))
            return
        self._hub.unsubscribe(topic, self)
        self._peer.unsubscribed(message.request, message.subscription)

    async def _flush(self) -> None:
        """Send everything that is queued; returns when it is on its way, whoever sent it."""
        self._flush_is_due = False
        self._outgoing.extend(self._peer.data_to_send())
        try:
            async with self._sending:
                while self._outgoing and not self._closed:
                    frame = self._outgoing.popleft()
                    async with asyncio.timeout(_SEND_SECONDS + len(frame) / _SEND_RATE):
                        await self._transport.send(frame)
        except Exception as error:  # noqa: BLE001 (here the connection ends)
            log.info("peer is gone peer=%s error=%r", self.session.peer, error)
            await self.drop(CLOSE_GOING_AWAY)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Socket:
    """A Starlette WebSocket as a :class:`Transport`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            await self._websocket.send_text(frame)
        else:
            await self._websocket.send_bytes(frame)

    async def close(self, code: int) -> None:
        await self._websocket.close(code)


def _host(websocket: WebSocket) -> str:
    return websocket.client.host if websocket.client else ""


class WebSocketEndpoint:
    """The ASGI endpoint: checks the handshake, then reads frames until the end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection from handshake to end."""
        websocket = WebSocket(scope, receive, send)
        status = self._refuse_handshake(websocket)
        if status:
            from starlette.responses import PlainTextResponse

            await websocket.send_denial_response(PlainTextResponse(status[1], status_code=status[0]))
            return
        serializer = self._serializer(websocket)
        assert serializer is not None
        await websocket.accept(subprotocol=serializer.value)
        connection = Connection(self._hub, serializer, _Socket(websocket), _host(websocket))
        try:
            while not connection.closed:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text, data = message.get("text"), message.get("bytes")
                await connection.handle(text if text is not None else data or b"")
        except WebSocketDisconnect:
            pass
        finally:
            connection.lost()

    def _refuse_handshake(self, websocket: WebSocket) -> tuple[int, str] | None:
        origin = websocket.headers.get("origin")
        if origin is not None and origin not in self._hub.settings.allowed_origins:
            return 403, "This origin may not connect; the operator allows origins with AMP0_ALLOWED_ORIGINS"
        if self._serializer(websocket) is None:
            offered = " or ".join(serializer.value for serializer in wamp.Serializer)
            return 400, f"Offer the WebSocket subprotocol {offered}"
        if self._hub.stopping or len(self._hub.connections) >= self._hub.settings.max_sessions:
            return 503, "The server takes no more connections now; try again later"
        host, settings = _host(websocket), self._hub.settings
        if host not in settings.trusted_proxies and self._hub.connections_of(host) >= settings.max_sessions_per_peer:
            return 503, "There are too many connections from this address; close some of them"
        return None

    @staticmethod
    def _serializer(websocket: WebSocket) -> wamp.Serializer | None:
        for offered in websocket.scope.get("subprotocols", []):
            try:
                return wamp.serializer_for(offered)
            except RemoteProtocolError:
                continue
        return None
