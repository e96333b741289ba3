"""The issuer API over HTTP: from the table of endpoints to routes, and the one way a request takes.

Method, login, shape, transaction, function, in this order: who has no token learns nothing of what is there, and a
body of any size is looked at only for those who have one. Everything but the moving of bytes happens in a worker
thread. A request of :data:`Runs.WRITE` is one transaction: return commits, a refusal or a fault rolls back, and the
answer leaves after either. Errors have the three shapes of :mod:`amp0.server.issuer.refusals`.

Paths answer with and without a trailing slash, for every method, without a redirect: a redirect turns a POST into a
GET in several clients.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from amp0.server.context import Publication
from amp0.server.http import read_body
from amp0.server.issuer import openapi, page, parsing, principals, table
from amp0.server.issuer.desk import Call, Desk, Principal, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.refusals import ApiRefusal, Detail, NothingHere, WrongFields
from amp0.server.refusal import InternalError, Refusal, ServerBusy, ShuttingDown, TooManyAttempts
from amp0.server.websocket import Hub

log = logging.getLogger("amp0.server.issuer")

PREFIX = "/api"
MAX_PATH_PART = 200
_SMALL_BODY = 16 * 1024
"""Bytes that cost next to nothing to read, whoever sent them."""
_MOST_WAITING = 5
"""Operations of one issuer that may wait at once for the chain, or for somebody else. The threads for them are 8: some
of them are for other issuers, and for logins."""
_PIECE = 256 * 1024
"""Bytes of an answer that are handed to the socket at once."""
_ROWS = 2_000
"""Rows of a list that are encoded at once: about a millisecond's."""

_AUTHORIZATION = re.compile(r"(?i:token) +(\S+) *")
_KEY = re.compile(r"[!-~]{1,128}")
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_NO_LOGIN = "Authentication credentials were not provided."


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A request when all of it is here."""

    path: Mapping[str, str]
    parameters: Mapping[str, str]
    raw: bytes = field(repr=False)
    content_type: str
    token: str | None = field(repr=False)
    peer: str
    idempotency_key: str | None
    api_url: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    publications: Sequence[Publication] = ()


class IssuerApi:
    """The routes under ``/api``, and what they need."""

    def __init__(self, desk: Desk, hub: Hub, endpoints: Sequence[Endpoint] = table.ENDPOINTS) -> None:
        self._desk = desk
        self._hub = hub
        self._endpoints = endpoints
        self._waiting: Counter[int] = Counter()
        self._lock = threading.Lock()

    def routes(self) -> list[BaseRoute]:
        """Everything under ``/api``, what is not there included."""
        routes: list[BaseRoute] = []
        for path in ("", "/"):
            routes.append(Route(PREFIX + path, self._browse, methods=["GET"]))
            routes.append(Route(PREFIX + "/openapi.json" + path, self._describe, methods=["GET"]))
        for path, methods in table.by_path(self._endpoints).items():
            handler = _Path(self, path, methods)
            routes += [Route(PREFIX + path, handler), Route(PREFIX + path + "/", handler)]
        nowhere = _Path(self, "", {})
        return [*routes, Route(PREFIX, nowhere), Route(PREFIX + "/{rest:path}", nowhere)]

    @cached_property
    def _described(self) -> tuple[bytes, bytes]:
        """The description and its page: made when somebody looks, because a server starts without them sooner."""
        description = openapi.describe(self._endpoints)
        return msgspec.json.encode(description), page.render(description).encode()

    async def _browse(self, _request: Request) -> Response:
        headers = {
            **_HEADERS,
            "content-security-policy": page.CONTENT_SECURITY_POLICY,
            "referrer-policy": "no-referrer",
        }
        _, shown = self._described
        return Response(shown, media_type="text/html", headers={**headers, "x-frame-options": "DENY"})

    async def _describe(self, _request: Request) -> Response:
        description, _ = self._described
        return Response(description, media_type="application/json", headers=_HEADERS)

    async def answer(self, request: Request, path: str, methods: Mapping[str, Endpoint]) -> Response:
        """Answer a request to a path of the table; without methods: to one that is not in it."""
        try:
            endpoint = methods.get(request.method)
            if endpoint is None:
                return _refused(_no_such(request, methods), methods)
            if self._hub.stopping:
                raise ShuttingDown("The server is stopping; try again in a moment")
            incoming = await self._incoming(request, endpoint)
            answer = await self._in_thread(endpoint, incoming)
        except Refusal as refusal:
            log.info("refused %s %s name=%s status=%d", request.method, path, type(refusal).__name__, refusal.status)
            return _refused(refusal, methods)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("failed %s %s", request.method, path)
            return _refused(InternalError(), methods)
        await self._hub.publish(answer.publications)
        media_type = "application/json" if answer.body else None
        return _InPieces(answer.body, answer.status, media_type=media_type, headers=_HEADERS)

    async def _incoming(self, request: Request, endpoint: Endpoint) -> _Incoming:
        token = _token(request)
        if token is None and endpoint.who is not Who.ANYBODY:
            raise Detail(401, _NO_LOGIN)
        path = {name: str(value) for name, value in request.path_params.items()}
        # The routes' patterns let a line break at the end of a path pass.
        if not request.scope["path"].isprintable() or any(len(value) > MAX_PATH_PART for value in path.values()):
            raise NothingHere("there is nothing at this path")
        keys = request.headers.getlist("idempotency-key")
        if len(keys) > 1 or not all(map(_KEY.fullmatch, keys)):
            raise WrongFields.of("Idempotency-Key", "This header comes once, with 1 to 128 visible ASCII characters")
        return _Incoming(
            path=path,
            parameters=request.query_params,
            raw=await read_body(request, self._desk.settings.max_message),
            content_type=request.headers.get("content-type", ""),
            token=token,
            peer="" if request.client is None else request.client.host,
            idempotency_key=keys[0] if keys else None,
            api_url=(self._desk.settings.public_api_url or str(request.base_url.replace(path=PREFIX))).rstrip("/"),
        )

    async def _in_thread(self, endpoint: Endpoint, incoming: _Incoming) -> _Answer:
        workers = self._hub.workers
        pool = {
            Runs.READ: workers.reading,
            Runs.WRITE: workers.writing,
            Runs.OUTSIDE: workers.outside,
            Runs.SLOW: workers.slow,
        }[endpoint.runs]
        return await pool(lambda: self._run(endpoint, incoming))

    # --- in a worker thread ----------------------------------------------------------------------------------------

    def _run(self, endpoint: Endpoint, incoming: _Incoming) -> _Answer:
        # Read before the transaction, and judged in it: only who may call learns what is wrong with a body.
        body: Any = None
        wrong: WrongFields | None = None
        call = Call(
            desk=self._desk,
            principal=None,
            path=incoming.path,
            token=incoming.token or "",
            peer=incoming.peer,
            idempotency_key=incoming.idempotency_key,
            api_url=incoming.api_url,
        )
        store = self._desk.store
        if endpoint.who is not Who.ANYBODY and len(incoming.raw) > _SMALL_BODY:
            # The time that a large one takes is for those who may call.
            with store.snapshot() as call.connection:
                self._admit(endpoint, call, None)
        try:
            if endpoint.query is not None:
                raw = incoming.raw if endpoint.body is None else b""
                call.query = parsing.query(incoming.parameters, raw, endpoint.query)
            if endpoint.body is not None:
                body = parsing.body(incoming.raw, endpoint.body, incoming.content_type)
        except WrongFields as refusal:
            wrong = refusal
        if endpoint.runs is Runs.WRITE:
            with store.transaction() as call.connection:
                self._admit(endpoint, call, wrong)
                value = endpoint.function(call, body)
        elif endpoint.runs is Runs.READ:
            with store.snapshot() as call.connection:
                self._admit(endpoint, call, wrong)
                value = endpoint.function(call, body)
        else:
            with store.snapshot() as call.connection:
                self._admit(endpoint, call, wrong)
            call.connection = None
            with self._place(call.principal):
                value = endpoint.function(call, body)
        return _Answer(endpoint.status, b"" if value is None else _encode(value), call.publications)

    @contextmanager
    def _place(self, principal: Principal | None) -> Iterator[None]:
        """One of the issuer's places among those that wait. Raises :class:`ServerBusy` when there is none left."""
        if principal is None:
            yield
            return
        issuer = principal.issuer_id
        with self._lock:
            if self._waiting[issuer] >= _MOST_WAITING:
                raise ServerBusy("Too many operations of this issuer are under way; try again in a moment")
            self._waiting[issuer] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[issuer] -= 1
                if not self._waiting[issuer]:
                    del self._waiting[issuer]

    def _admit(self, endpoint: Endpoint, call: Call, wrong: WrongFields | None) -> None:
        if endpoint.who is not Who.ANYBODY:
            call.principal = principals.authenticate(call.db, call.token, self._desk.now())
            _require(endpoint.who, call.principal)
        if wrong is not None:
            raise wrong


class _Path:
    """One path of the table, as an ASGI application: it answers to every method, if only with 405."""

    def __init__(self, api: IssuerApi, path: str, methods: Mapping[str, Endpoint]) -> None:
        self._api = api
        self._path = path
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._api.answer(Request(scope, receive), self._path, self._methods)
        await response(scope, receive, send)


class _InPieces(Response):
    """An answer that goes out in pieces: 15 MB in one go would keep the event loop from everybody else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body) or 1, _PIECE):
            piece, more = bytes(body[start : start + _PIECE]), start + _PIECE < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


def _encode(value: Any) -> bytes:
    """JSON. A long list in pieces too: other threads get their turn only in between."""
    if not isinstance(value, list) or len(value) <= _ROWS:
        return msgspec.json.encode(value)
    pieces = [msgspec.json.encode(value[i : i + _ROWS])[1:-1] for i in range(0, len(value), _ROWS)]
    return b"[" + b",".join(pieces) + b"]"


def _token(request: Request) -> str | None:
    """From the one header there may be; never from the URL, which ends in logs."""
    sent = request.headers.getlist("authorization")
    # Of two, a proxy that looks at them may have looked at the other one.
    match = _AUTHORIZATION.fullmatch(sent[0]) if len(sent) == 1 else None
    return None if match is None else match[1]


def _require(who: Who, principal: Principal) -> None:
    if who is Who.ISSUER and principal.role is not Role.ISSUER:
        raise Detail(403, "Only the issuer may do this.")
    if who is Who.MANAGER and principal.role is not Role.MANAGER:
        raise Detail(403, "Only a manager may do this.")


def _no_such(request: Request, methods: Mapping[str, Endpoint]) -> Detail:
    if not methods:
        return NothingHere("there is nothing at this path")
    return Detail(405, f'Method "{request.method}" not allowed.')


def _refused(refusal: Refusal, methods: Mapping[str, Endpoint]) -> Response:
    """The answer to somebody who is refused."""
    headers = dict(_HEADERS)
    status = refusal.status
    if status == 401:
        headers["www-authenticate"] = "Token"
    if status == 405:
        headers["allow"] = ", ".join(sorted(methods))
    if isinstance(refusal, TooManyAttempts):
        headers["retry-after"] = str(refusal.seconds or 60)
    elif isinstance(refusal, ServerBusy | ShuttingDown):
        headers["retry-after"] = "1"
    body = refusal.body() if isinstance(refusal, ApiRefusal) else {"detail": str(refusal)}
    return Response(msgspec.json.encode(body), status, media_type="application/json", headers=headers)
