"""The HTTP side: the cosigner's door for LWK, the description of the network, and health.

``POST /delayed_signature`` has no login: the scripts say which account it is, and the user's signatures on every input
are the authority. Its answer is JSON with ``result``, ``error`` and ``tx`` whatever happens, because stock clients
read nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from amp0.elements.hashes import Txid
from amp0.errors import InvalidInput, RemoteProtocolError
from amp0.protocol import preflight as wire
from amp0.protocol import rpc
from amp0.server import behind, cosigner
from amp0.server.context import Services
from amp0.server.refusal import (
    AlreadySigned,
    InternalError,
    InvalidRequest,
    PolicyRefused,
    Refusal,
    SessionExpired,
    ShuttingDown,
    TooLarge,
    TooManyAttempts,
)
from amp0.server.websocket import Hub

log = logging.getLogger("amp0.server.http")

_BEARER = re.compile(r"(?i:bearer) +([!-~]{1,512}) *")


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request, of ``most`` bytes. Raises :class:`TooLarge` as soon as there are more."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"A request may have {most} bytes")
    return bytes(body)


class HttpApi:
    """The routes and what they need."""

    def __init__(self, services: Services, hub: Hub) -> None:
        self._services = services
        self._hub = hub

    def routes(self) -> list[Route]:
        """The table: path, method, function."""
        return [
            Route(rpc.COSIGN_PATH, self.delayed_signature, methods=["POST"]),
            Route(rpc.COSIGNED_PATH + "/{txid}", self.cosigned, methods=["GET"]),
            Route(wire.PREFLIGHT_PATH, self.preflight, methods=["POST"]),
            Route(rpc.NETWORK_PATH, self.network, methods=["GET"]),
            Route(rpc.BITCOIN_PRICE_PATH, self.bitcoin_price, methods=["GET"]),
            Route(rpc.LIQUID_PRICE_PATH, self.liquid_prices, methods=["GET"]),
            Route("/v1/health", self.health, methods=["GET"]),
            Route("/v1/ready", self.ready, methods=["GET"]),
        ]

    async def delayed_signature(self, request: Request) -> Response:
        """Cosign a transaction that the user has signed."""

        async def work() -> rpc.CosignReply:
            body = await read_body(request, self._services.settings.max_message)
            return await self._hub.workers.slow(lambda: self._cosign(body))

        return await self._reply(work)

    async def cosigned(self, request: Request) -> Response:
        """A transaction cosigned earlier, by its txid: the same signatures again."""
        text = request.path_params["txid"]

        async def work() -> rpc.CosignReply:
            try:
                txid = Txid(text)
            except InvalidInput as error:
                raise InvalidRequest(f"This is not a txid: {error}") from None
            return await self._hub.workers.slow(lambda: _yes(self._services.cosigner.again(txid)))

        return await self._reply(work)

    async def preflight(self, request: Request) -> Response:
        """What the policy would say of a transfer, for a bearer token of the sending account."""
        try:
            if self._hub.stopping:
                raise ShuttingDown("The server is stopping; try again in a moment")
            sent = request.headers.getlist("authorization")
            bearer = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
            if bearer is None:
                raise SessionExpired
            preflights = self._services.preflights
            sender = await self._hub.workers.ordinary(lambda: preflights.sender_of(bearer[1]))
            raw = await read_body(request, self._services.settings.max_message)
            # Read there too: a megabyte of nonces would keep the event loop for 20 ms.
            return _json(await self._hub.workers.slow(lambda: preflights.ask(sender, _asked(raw))))
        except Refusal as refusal:
            log.info("refused procedure=preflight name=%s", refusal.name)
            body = {"error": str(refusal), "code": refusal.name, "retryable": refusal.retryable}
            answer = _json(body, refusal.status)
            if isinstance(refusal, TooManyAttempts):
                answer.headers["retry-after"] = str(refusal.seconds or 60)
            return answer
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("failed procedure=preflight")
            return _json({"error": str(InternalError()), "code": InternalError().name}, InternalError().status)

    async def _reply(self, work: Callable[[], Awaitable[rpc.CosignReply]]) -> Response:
        try:
            if self._hub.stopping:
                raise ShuttingDown("The server is stopping; try again in a moment")
            reply = await work()
        except Refusal as refusal:
            log.info("refused procedure=cosign name=%s", refusal.name)
            return _json(_no(refusal), refusal.status)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            log.exception("failed procedure=cosign")
            return _json(_no(InternalError()), InternalError().status)
        return _json(reply)

    async def network(self, _request: Request) -> Response:
        """What a client has to know: GDK's ``register_network`` fields, and where to cosign."""
        network = self._services.network
        return _json(network.to_json() | {"price_url": network.cosign_url})

    async def bitcoin_price(self, _request: Request) -> Response:
        """No price is known here, and saying so matters.

        GDK that has no answer asks again before every transaction it drafts, and waits for the answer with its lock
        held: a block that is told in that moment leaves its process hanging for good. With this answer it asks once.
        """
        return _json({"rate": None})

    async def liquid_prices(self, _request: Request) -> Response:
        """No asset has a price here; see :meth:`bitcoin_price`."""
        return _json({"data": {}})

    async def health(self, _request: Request) -> Response:
        """Whether the process answers."""
        return _json({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """Whether the server can do its work: write durably, see the chain, and sign."""
        store = await self._hub.workers.ordinary(self._services.store.ready)
        chain = self._services.is_current()
        is_behind = await self._hub.workers.ordinary(self._is_behind)
        ready = store and chain and not is_behind and not self._hub.stopping
        report = {
            "ready": ready,
            "store": store,
            "chain": chain,
            "height": self._services.tip().height,
            # Issuances will fail one day, and nothing else: no reason to take the server out of service.
            "fee_wallet": "low" if self._services.is_fee_wallet_low() else "ok",
        }
        if is_behind:
            report["database"] = "older than the chain"
        return _json(report, 200 if ready else 503)

    def _is_behind(self) -> bool:
        try:
            with self._services.store.snapshot() as db:
                return behind.found(db) is not None
        except Refusal:
            # A store that cannot be read has said so already.
            return False

    def _cosign(self, body: bytes) -> rpc.CosignReply:
        try:
            call = rpc.parse_cosign_request(body)
        except RemoteProtocolError as error:
            raise InvalidRequest(str(error)) from None
        request = cosigner.Request(
            tx=bytes.fromhex(call.tx),
            nonces=[bytes.fromhex(nonce) for nonce in call.blinding_nonces],
            scripts=[bytes.fromhex(script) for script in call.scripts],
        )
        return _yes(self._services.cosigner.cosign(request))


def _asked(raw: bytes) -> wire.PreflightRequest:
    try:
        return wire.parse_request(raw)
    except RemoteProtocolError as error:
        raise InvalidRequest(str(error)) from None


def _yes(cosigned: cosigner.Cosigned) -> rpc.CosignReply:
    return rpc.CosignReply(result=True, error="", tx=str(cosigned.tx), txid=str(cosigned.tx.txid()))


def _no(refusal: Refusal) -> rpc.CosignReply:
    return rpc.CosignReply(
        result=False,
        error=str(refusal),
        code=refusal.name,
        retryable=refusal.retryable,
        txid=refusal.earlier_txid if isinstance(refusal, AlreadySigned) else None,
        reasons=list(refusal.reasons) if isinstance(refusal, PolicyRefused) else None,
    )


def _json(value: Any, status: int = 200) -> Response:
    return Response(rpc.encode_json(value), status_code=status, media_type="application/json")
