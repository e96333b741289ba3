"""``/dev/*``: what only a development chain can do — free coins, blocks, reorganisations.

======================================================  =====================================
``POST /dev/faucet {address, satoshi, asset_id?}``      ``{txid}``
``POST /dev/asset {satoshi}``                           ``{asset_id, txid}``
``POST /dev/mine {blocks}``                             ``{blocks: [hash, …], height}``
``POST /dev/reorg {depth, blocks?}``                    ``{disconnected: [hash, …], height}``
======================================================  =====================================

A reorganisation returns the transactions of ``depth`` blocks to the mempool and puts ``blocks``
empty ones (one more than ``depth`` unless told otherwise) in their place.

These routes exist only where :func:`amp0.devchain.app.build` is told so. They answer loopback
peers alone, want JSON with its content type, and give no CORS permission; a browser that was
lured here from elsewhere sends an ``Origin`` that is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet, Payment
from amp0.devchain.http import Receive, Reply, Scope, Send, TooLarge, header, json, read_body
from amp0.elements.address import Address
from amp0.elements.hashes import asset_id_to_bytes, asset_id_to_str
from amp0.errors import Amp0Error, InvalidInput
from amp0.network import Network, is_loopback_host

_LOG = logging.getLogger("amp0.devchain")
_MAX_BODY = 65_536
Json = dict[str, Any]
DevRoute = Callable[[Json], Json]
"""A handler: the JSON object of the request in, the JSON object of the answer out.

It runs in a worker thread; an :class:`~amp0.errors.Amp0Error` becomes a 400 with its text.
"""
DevRead = Callable[[], Any]
"""What ``GET`` is answered with, as JSON. It runs in a worker thread."""


class Dev:
    """An ASGI application for the paths below ``/dev/``."""

    def __init__(
        self, chain: Chain, faucet: Faucet, network: Network, extra: Mapping[str, DevRoute] | None = None
    ) -> None:
        self._chain = chain
        self._faucet = faucet
        self._network = network
        self.routes: dict[str, DevRoute] = {
            "faucet": self._pay,
            "asset": self._issue,
            "mine": self._mine,
            "reorg": self._reorg,
            **(extra or {}),
        }
        self.reads: dict[str, DevRead] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (await self._answer(scope, receive)).send(scope, send, ((b"cache-control", b"no-store"),))

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        refusal = _refusal(scope)
        if refusal is not None:
            return refusal
        name = scope["path"].removeprefix("/dev/").rstrip("/")
        if scope["method"] == "GET" and name in self.reads:
            return json(await asyncio.to_thread(self.reads[name]))
        route = self.routes.get(name)
        if route is None:
            return _error(404, "no such route below /dev")
        if scope["method"] != "POST":
            return _error(405, "POST a JSON object here")
        if (header(scope, b"content-type") or "").partition(";")[0].strip().lower() != "application/json":
            return _error(415, "send JSON with content-type: application/json")
        try:
            body = msgspec.json.decode(await read_body(receive, _MAX_BODY) or b"{}")
            if not isinstance(body, dict):
                return _error(400, "send a JSON object")
            return json(await asyncio.to_thread(route, body))
        except TooLarge:
            return _error(413, f"at most {_MAX_BODY} bytes")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(400, "the body is not JSON")
        except Amp0Error as error:
            return _error(400, str(error))
        except Exception:  # noqa: BLE001 -- a request ends here
            _LOG.exception("request failed path=%s", scope["path"])
            return _error(500, "internal error; see the log")

    # -- routes ------------------------------------------------------------------------------

    def _pay(self, body: Json) -> Json:
        _only(body, "address", "satoshi", "asset_id")
        text, asset_id = body.get("address"), body.get("asset_id")
        if not isinstance(text, str):
            raise InvalidInput("address: give an address of this chain")
        if asset_id is not None and not isinstance(asset_id, str):
            raise InvalidInput("asset_id: give the asset's id in hex, or leave it out")
        address = Address(text, self._network)
        asset = POLICY_ASSET if asset_id is None else asset_id_to_bytes(asset_id)
        payment = Payment(address.script, address.blinding_pubkey, _whole(body, "satoshi"), asset)
        return {"txid": str(self._faucet.pay(payment))}

    def _issue(self, body: Json) -> Json:
        _only(body, "satoshi")
        asset, txid = self._faucet.issue(_whole(body, "satoshi"))
        return {"asset_id": asset_id_to_str(asset), "txid": str(txid)}

    def _mine(self, body: Json) -> Json:
        _only(body, "blocks")
        blocks = self._chain.mine(_whole(body, "blocks", 1))
        return {"blocks": [str(block) for block in blocks], "height": self._chain.height}

    def _reorg(self, body: Json) -> Json:
        _only(body, "depth", "blocks")
        depth = _whole(body, "depth", 1)
        # Like a network: the chain that takes over is longer by a block, unless told otherwise.
        left = self._chain.reorg(depth, blocks=_whole(body, "blocks", depth + 1))
        return {"disconnected": [str(block) for block in left], "height": self._chain.height}


def _refusal(scope: Scope) -> Reply | None:
    client = scope.get("client")
    if not client or not is_loopback_host(str(client[0])):
        return _error(403, "these routes answer this machine only")
    origin = header(scope, b"origin")
    if origin is not None and not is_loopback_host(urlsplit(origin).hostname or ""):
        return _error(403, "these routes answer no pages of other sites")
    return None


def _error(status: int, message: str) -> Reply:
    return json({"error": message}, status)


def _only(body: Json, *names: str) -> None:
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise InvalidInput(f"unknown field {unknown[0]!r}; this route takes {', '.join(names)}")


def _whole(body: Json, name: str, default: int | None = None) -> int:
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name}: give a whole number")
    return value
