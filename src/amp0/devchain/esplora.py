"""The public routes of the chain: Esplora and Waterfalls, readable from anywhere.

A path is split once and dispatched by its first word. What needs time (a transaction's proofs,
deriving a wallet's scripts) happens in worker threads; the rest are dictionary lookups.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from amp0.devchain.chain import BlockEntry, Chain
from amp0.devchain.explorer import Explorer
from amp0.devchain.http import (
    BINARY,
    CORS,
    PREFLIGHT,
    Receive,
    Reply,
    Scope,
    Send,
    TooLarge,
    json,
    query,
    read_body,
    text,
)
from amp0.devchain.index import TxEntry
from amp0.devchain.waterfalls import Query, Refused, Waterfalls
from amp0.elements.address import Address
from amp0.elements.hashes import BlockHash, Txid, asset_id_to_bytes, bytes_from_hex
from amp0.elements.transaction import MAX_TRANSACTION_BYTES, OutPoint, Transaction
from amp0.errors import BroadcastRejected, ConfigError, InvalidInput, InvalidTransaction
from amp0.network import Network

_LOG = logging.getLogger("amp0.devchain")
_MAX_BODY = 2 * MAX_TRANSACTION_BYTES + 16
_HEARTBEAT = 15.0
"""Seconds between two signs of life on an idle event stream."""


class NotFound(Exception):
    """There is no such thing; the text says which."""


class Esplora:
    """An ASGI application over one chain."""

    def __init__(self, chain: Chain, network: Network) -> None:
        self.chain = chain
        self.explorer = Explorer(chain, network)
        self.waterfalls = Waterfalls(chain, network)
        self.network = network
        self._script_of = functools.lru_cache(maxsize=65_536)(self._parse_address)
        self._routes: dict[str, Callable[[list[str], dict[str, str]], Reply]] = {
            "tx": self._tx,
            "address": self._address,
            "scripthash": self._scripthash,
            "block": self._block,
            "block-height": self._block_height,
            "blocks": self._blocks,
            "mempool": self._mempool,
            "fee-estimates": self._fee_estimates,
            "asset": self._asset,
            "v1": self._v1,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"]
        if method == "OPTIONS":
            await Reply(b"", status=204).send(scope, send, PREFLIGHT)
            return
        parts = scope["path"].strip("/").split("/")
        try:
            if method == "POST":
                reply = await self._post(parts, receive)
            elif method not in ("GET", "HEAD"):
                reply = text("Method Not Allowed", 405)
            elif parts[0][:1] == "v" and parts[1:] in (["waterfalls"], ["subscribe"], ["last_used_index"]):
                if parts[1] == "subscribe" and parts[0] == "v1":
                    await self._subscribe(scope, receive, send)
                    return
                reply = await asyncio.to_thread(self._wallet, parts, query(scope))
            else:
                reply = self._get(parts, scope)
        except TooLarge:
            reply = text("Payload Too Large", 413)
        except NotFound as error:
            reply = text(error, 404)
        except Refused as error:
            reply = text(error, error.status)
        except InvalidInput as error:
            reply = text(error, 400)
        except Exception:  # noqa: BLE001 -- a request ends here
            _LOG.exception("request failed path=%s", scope["path"])
            reply = text("Internal Server Error", 500)
        await reply.send(scope, send, CORS)

    def _get(self, parts: list[str], scope: Scope) -> Reply:
        route = self._routes.get(parts[0])
        if route is None:
            raise NotFound("Not Found")
        return route(parts[1:], query(scope))

    # -- transactions ------------------------------------------------------------------------

    async def _post(self, parts: list[str], receive: Receive) -> Reply:
        if parts != ["tx"]:
            raise NotFound("Not Found")
        body = await read_body(receive, _MAX_BODY)
        return await asyncio.to_thread(self._broadcast, body)

    def _broadcast(self, body: bytes) -> Reply:
        try:
            tx = Transaction(body.decode("ascii").strip())
        except (UnicodeDecodeError, InvalidTransaction) as error:
            detail = error if isinstance(error, InvalidTransaction) else "not hex text"
            return _rpc_error(-22, f"TX decode failed ({detail}); send the transaction as hex text")
        try:
            return text(self.chain.submit(tx))
        except BroadcastRejected as refused:
            known = {"bad-txns-inputs-missingorspent": -25, "Transaction already in block chain": -27}
            return _rpc_error(known.get(refused.reason, -26), refused.reason)
        except ConfigError as error:
            return text(error, 503)

    def _tx(self, parts: list[str], _: dict[str, str]) -> Reply:
        entry = self._entry(parts[0] if parts else "")
        rest = parts[1:]
        if rest == ["raw"]:
            return Reply(entry.tx.to_bytes(), BINARY)
        if not rest:
            return json(self.explorer.transaction(entry))
        if rest == ["hex"]:
            return text(entry.tx)
        if rest == ["status"]:
            return json(self.explorer.status(entry))
        if rest == ["outspends"]:
            return json(self.explorer.outspends(entry))
        if len(rest) == 2 and rest[0] == "outspend":
            vout = _number(rest[1])
            if vout >= len(entry.tx.vout):
                raise NotFound("Output not found")
            return json(self.explorer.outspend(OutPoint(entry.txid, vout)))
        raise NotFound("Not Found")

    def _entry(self, txid: str) -> TxEntry:
        entry = self.chain.entry(Txid(bytes_from_hex(txid, length=32, what="transaction id")[::-1]))
        if entry is None:
            raise NotFound("Transaction not found")
        return entry

    # -- scripts -----------------------------------------------------------------------------

    def _parse_address(self, address: str) -> bytes:
        return Address(address, self.network).script

    def _address(self, parts: list[str], _: dict[str, str]) -> Reply:
        if not parts:
            raise NotFound("Not Found")
        return self._script(self._script_of(parts[0]), {"address": parts[0]}, parts[1:])

    def _scripthash(self, parts: list[str], _: dict[str, str]) -> Reply:
        wanted = bytes_from_hex(parts[0] if parts else "", length=32, what="script hash")
        # Esplora's clients write the hash in either direction.
        known = self.chain.index.by_hash
        script = known.get(wanted, known.get(wanted[::-1], b""))
        return self._script(script, {"scripthash": parts[0]}, parts[1:])

    def _script(self, script: bytes, name: dict[str, str], rest: list[str]) -> Reply:
        if not rest:
            return json({**name, **self.explorer.script_stats(script)})
        if rest[0] == "utxo" and len(rest) == 1:
            return json(self.explorer.utxos(script))
        if rest[0] != "txs" or len(rest) > 3:
            raise NotFound("Not Found")
        part = rest[1] if len(rest) > 1 else "all"
        if part not in ("all", "chain", "mempool") or (len(rest) == 3 and part != "chain"):
            raise NotFound("Not Found")
        last = Txid(rest[2]) if len(rest) == 3 else None
        return json(self.explorer.history(script, part, last))

    # -- blocks ------------------------------------------------------------------------------

    def _blocks(self, parts: list[str], _: dict[str, str]) -> Reply:
        if parts == ["tip", "hash"]:
            return text(self.chain.tip.hash)
        if parts == ["tip", "height"]:
            return text(self.chain.height)
        if len(parts) > 1:
            raise NotFound("Not Found")
        return json(self.explorer.recent_blocks(_number(parts[0]) if parts else None))

    def _block_height(self, parts: list[str], _: dict[str, str]) -> Reply:
        block = self.chain.block_at(_number(parts[0])) if len(parts) == 1 else None
        if block is None:
            raise NotFound("Block not found")
        return text(block.hash)

    def _block(self, parts: list[str], _: dict[str, str]) -> Reply:
        wanted = bytes_from_hex(parts[0] if parts else "", length=32, what="block hash")
        block = self.chain.block(BlockHash(wanted[::-1]))
        if block is None:
            raise NotFound("Block not found")
        rest = parts[1:]
        if rest == ["header"]:
            return text(block.header)
        if rest == ["raw"]:
            return Reply(block.block.serialize(), BINARY)
        if rest == ["txids"]:
            return json([str(txid) for txid in block.txids])
        if not rest:
            return json(self.explorer.block(block))
        if rest == ["status"]:
            return json(self.explorer.block_status(block))
        return self._block_part(block, rest)

    def _block_part(self, block: BlockEntry, rest: list[str]) -> Reply:
        if rest[0] == "txs" and len(rest) <= 2:
            start = _number(rest[1]) if len(rest) == 2 else 0
            if start >= len(block.txids):
                raise NotFound("start index out of range")
            return json(self.explorer.block_transactions(block, start))
        if rest[0] == "txid" and len(rest) == 2:
            position = _number(rest[1])
            if position >= len(block.txids):
                raise NotFound("tx index out of range")
            return text(block.txids[position])
        raise NotFound("Not Found")

    # -- mempool, fees, assets ---------------------------------------------------------------

    def _mempool(self, parts: list[str], _: dict[str, str]) -> Reply:
        if not parts:
            return json(self.explorer.mempool())
        if parts == ["txids"]:
            return json(self.explorer.mempool_txids())
        if parts == ["recent"]:
            return json(self.explorer.mempool_recent())
        raise NotFound("Not Found")

    def _fee_estimates(self, parts: list[str], _: dict[str, str]) -> Reply:
        if parts:
            raise NotFound("Not Found")
        return json(self.explorer.fee_estimates())

    def _asset(self, parts: list[str], _: dict[str, str]) -> Reply:
        if len(parts) != 1:
            raise NotFound("Not Found")
        shown = self.explorer.asset(asset_id_to_bytes(parts[0]))
        if shown is None:
            raise NotFound("Asset id not found")
        return json(shown)

    # -- Waterfalls --------------------------------------------------------------------------

    def _v1(self, parts: list[str], _: dict[str, str]) -> Reply:
        if parts == ["server_recipient"]:
            return text(self.waterfalls.recipient)
        if parts == ["time_since_last_block"]:
            return text(int(self.chain.clock()) - self.chain.tip.time)
        if parts == ["build_info"]:
            return json({"name": "amp0 devchain"})
        if len(parts) == 2 and parts[0] == "unspent":
            outpoint = OutPoint(parts[1])
            entry = self.chain.entry(outpoint.hash)
            if entry is None or outpoint.vout() >= len(entry.tx.vout):
                raise NotFound("Output not found")
            return json(self.chain.coin(outpoint) is not None)
        raise NotFound("Not Found")

    def _wallet(self, parts: list[str], parameters: dict[str, str]) -> Reply:
        """The routes that derive scripts; in a worker thread."""
        version, name = parts
        if name == "waterfalls" and version in ("v1", "v2", "v4"):
            return json(self.waterfalls.scan(Query.parse(parameters), int(version[1])))
        if name == "last_used_index" and version == "v1":
            return json(self.waterfalls.last_used_index(_descriptor(parameters)))
        raise NotFound("Not Found")

    async def _subscribe(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events about one scanned descriptor, until the client goes away."""
        descriptor = _descriptor(query(scope))
        state = await asyncio.to_thread(self.waterfalls.watched, descriptor)
        loop = asyncio.get_running_loop()
        changes: asyncio.Queue[str] = asyncio.Queue()
        stop = self.chain.on_change(lambda what: _notify(loop, changes, what))
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), *CORS]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b": ready\n\n", "more_body": True})
            seen = state()
            while not gone.done():
                waiting = asyncio.create_task(changes.get())
                await asyncio.wait({waiting, gone}, timeout=_HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    if not gone.done():
                        await send({"type": "http.response.body", "body": b": alive\n\n", "more_body": True})
                    continue
                what, now = waiting.result(), state()
                if now != seen or what != "mempool":
                    kind = what if now != seen or what == "reorg" else "tip"
                    seen = now
                    await send({"type": "http.response.body", "body": self._event(kind), "more_body": True})
        finally:
            stop()
            gone.cancel()

    def _event(self, kind: str) -> bytes:
        """The event in the words of LWK 0.19, and in those of newer servers beside it."""
        tip = self.chain.tip
        update: dict[str, Any] = {
            "type": kind,
            "tip": {"height": tip.height, "block_hash": str(tip.hash), "timestamp": tip.time},
        }
        event = b"event: update\ndata: " + msgspec.json.encode(update) + b"\n\n"
        if kind != "tip":
            event += b"event: changed\ndata: " + msgspec.json.encode({"reason": kind}) + b"\n\n"
        return event


def _notify(loop: asyncio.AbstractEventLoop, changes: asyncio.Queue[str], what: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(changes.put_nowait, what)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _descriptor(parameters: dict[str, str]) -> str:
    descriptor = parameters.get("descriptor")
    if descriptor is None:
        raise Refused("AtLeastOneFieldMandatory: give descriptor")
    return descriptor


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise InvalidInput("not a number")
    return int(digits)


def _rpc_error(code: int, message: str) -> Reply:
    """A node's refusal in the words Esplora passes on."""
    error = msgspec.json.encode({"code": code, "message": message}).decode()
    return text(f"sendrawtransaction RPC error: {error}", 400)
