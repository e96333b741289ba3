"""JSON-RPC as an Elements node speaks it: one POST, one call or a batch of them, behind a cookie.

Answers have the three keys of JSON-RPC 1.0, ``result``, ``error`` and ``id``, whatever version a request names, as
every Elements before 28 answers; a call without ``id`` is answered too. Status is 404 for an unknown method, 400 for
what is no request, 500 for other errors, 200 for a batch.

Only this machine is answered, no page of a browser (whatever names an ``Origin`` is refused), and nobody without the
cookie: whoever may read the cookie file may spend the node's coins.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import inspect
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from amp0.devchain.http import JSON, Receive, Reply, Scope, Send, TooLarge, header, read_body
from amp0.devchain.http import text as plain
from amp0.devchain.node.values import (
    INTERNAL_ERROR,
    INVALID_PARAMETER,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISC_ERROR,
    PARSE_ERROR,
    WALLET_ERROR,
    Json,
    RpcError,
)
from amp0.elements.transaction import MAX_TRANSACTION_BYTES
from amp0.errors import Amp0Error
from amp0.network import is_loopback_host

_LOG = logging.getLogger("amp0.devchain")
_MAX_BODY = 2 * MAX_TRANSACTION_BYTES + 4096
_MAX_BATCH = 1000
_STATUS = {METHOD_NOT_FOUND: 404, INVALID_REQUEST: 400}
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
Call = Callable[..., Any]


class Method:
    """A call with the names of its parameters."""

    def __init__(self, name: str, call: Call) -> None:
        parameters = inspect.signature(call).parameters
        self.call = call
        self.names = list(parameters)
        self.needed = sum(one.default is inspect.Parameter.empty for one in parameters.values())
        optional = "".join(f" ( {one} )" for one in self.names[self.needed :])
        self.usage = " ".join([name, *self.names[: self.needed]]) + optional

    def run(self, given: object) -> Any:
        """The result. A null argument counts as one that was left out."""
        if given is None:
            given = []
        if isinstance(given, dict):
            unknown = [name for name in given if name not in self.names]
            if unknown:
                raise RpcError(INVALID_PARAMETER, f"Unknown named parameter {str(unknown[0])[:80]}")
            arguments = {name: value for name, value in given.items() if value is not None}
        elif isinstance(given, list):
            if len(given) > len(self.names):
                raise RpcError(MISC_ERROR, self.usage)
            arguments = {name: v for name, v in zip(self.names, given, strict=False) if v is not None}
        else:
            raise RpcError(INVALID_REQUEST, "Params must be an array or object")
        if any(name not in arguments for name in self.names[: self.needed]):
            raise RpcError(MISC_ERROR, self.usage)
        return self.call(**arguments)


class OfWallets(Protocol):
    """The calls that need a wallet."""

    names: frozenset[str]

    def method(self, name: str, selected: str | None) -> Method | None:
        """One of them, for the wallet that a path names, ``None`` where it names none."""


class JsonRpc:
    """An ASGI application that serves ``calls`` and those of ``wallets``; ``cookie`` is ``user:password``."""

    def __init__(self, calls: Mapping[str, Call], wallets: OfWallets, cookie: str) -> None:
        self._methods = {name: Method(name, call) for name, call in calls.items()}
        self._wallets = wallets
        self._cookie = cookie.encode("ascii")
        self.names = frozenset(self._methods) | wallets.names
        """Of all calls."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of the server."""
        if scope["type"] == "http":
            challenge = ((b"www-authenticate", b'Basic realm="jsonrpc"'),)
            reply = await self._answer(scope, receive)
            await reply.send(scope, send, challenge if reply.status == 401 else ())
        elif scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        client = scope.get("client")
        if not client or not is_loopback_host(str(client[0])) or header(scope, b"origin") is not None:
            return plain("Forbidden: this node answers programs on this machine only", 403)
        if scope["method"] != "POST":
            return plain("JSONRPC server handles only POST requests", 405)
        if not self._authorized(scope):
            return plain("", 401)
        try:
            body = await read_body(receive, _MAX_BODY)
        except TooLarge:
            return plain("Payload Too Large", 413)
        wallet = scope["path"].removeprefix("/wallet/") if scope["path"].startswith("/wallet/") else None
        if scope["path"] not in ("/", "") and not scope["path"].startswith("/wallet/"):
            return plain("", 404)
        return await asyncio.to_thread(self._serve, body, wallet)

    def _authorized(self, scope: Scope) -> bool:
        scheme, _, credentials = (header(scope, b"authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._cookie)

    def _serve(self, body: bytes, wallet: str | None) -> Reply:
        try:
            request = _DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, ArithmeticError, RecursionError):
            return _reply(_failure(RpcError(PARSE_ERROR, "Parse error"), None))
        if isinstance(request, dict):
            return _reply(self._one(request, wallet))
        if not isinstance(request, list):
            return _reply(_failure(RpcError(PARSE_ERROR, "Top-level object parse error"), None))
        if len(request) > _MAX_BATCH:
            return _reply(_failure(RpcError(INVALID_REQUEST, f"at most {_MAX_BATCH} calls in a batch"), None))
        answers = [self._one(one, wallet) for one in request]
        return Reply(msgspec.json.encode(answers) + b"\n", JSON)

    def _one(self, request: object, wallet: str | None) -> Json:
        if not isinstance(request, dict):
            return _failure(RpcError(INVALID_REQUEST, "Invalid Request object"), None)
        number, name = request.get("id"), request.get("method")
        try:
            if name is None:
                raise RpcError(INVALID_REQUEST, "Missing method")
            if not isinstance(name, str):
                raise RpcError(INVALID_REQUEST, "Method must be a string")
            method = self._methods.get(name) or self._wallets.method(name, wallet)
            if method is None:
                raise RpcError(METHOD_NOT_FOUND, "Method not found")
            return {"result": method.run(request.get("params")), "error": None, "id": number}
        except RpcError as error:
            return _failure(error, number)
        except Amp0Error as error:
            return _failure(RpcError(WALLET_ERROR, str(error)), number)
        except Exception:  # noqa: BLE001 -- a request ends here
            _LOG.exception("call failed method=%s", name)
            return _failure(RpcError(INTERNAL_ERROR, "internal error; see the log"), number)


def _failure(error: RpcError, number: object) -> Json:
    return {"result": None, "error": {"code": error.code, "message": error.message}, "id": number}


def _reply(answer: Json) -> Reply:
    error = answer["error"]
    status = 200 if error is None else _STATUS.get(error["code"], 500)
    return Reply(msgspec.json.encode(answer) + b"\n", JSON, status)
