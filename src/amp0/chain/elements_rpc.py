"""JSON-RPC of an Elements node: the few calls that follow a chain and broadcast.

The way there is loopback or https. Credentials come from a file that is read anew for each request, so that a node
that was started again, and wrote another cookie, is known at once; they are in no URL, argument or environment.
Answers are bounded in size and time, and what has a hash is checked against it.

A node without ``-txindex`` finds transactions of its mempool only, not those of blocks.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Transaction
from amp0.errors import BackendUnavailable, BroadcastRejected, InvalidInput, NodeRefused
from amp0.network import require_secure_url

MAX_BLOCK_BYTES = 16 * 1024 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_LISTING_BYTES = 16 * 1024 * 1024
_SMALL = 64 * 1024
_MAX_CREDENTIALS = 4096

# Error codes of the node (its src/rpc/protocol.h).
_NOT_FOUND = -5
_BAD_PARAMETER = -8
_VERIFY_ERROR = -25
_VERIFY_REJECTED = -26
_ALREADY_IN_CHAIN = -27
_WARMING_UP = -28
_UNREADABLE = -22
_ABOUT_THE_TRANSACTION = (_VERIFY_ERROR, _VERIFY_REJECTED, _UNREADABLE)

# What an open burn may destroy: a node of version 25 or later wants to be told, older ones do not know the argument.
_BURN_ARGUMENT = "maxburnamount"
_ANY_AMOUNT = 21_000_000

_HASH = re.compile(r"[0-9a-f]{64}")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def rpc_url(url: str) -> str:
    """The URL of a node's RPC, ``http(s)://host:port`` with or without ``/wallet/NAME``, checked.

    Raises :class:`InvalidInput` for credentials in it (which are not repeated in the error), for other shapes, and
    for ``http://`` to another machine.
    """
    if "@" in url:
        raise InvalidInput("a node's URL must not carry credentials; name a file that holds them instead")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or not re.fullmatch(r"/?|/wallet/[^/]+", parts.path):
        raise InvalidInput(f"{url!r} is not the address of a node's RPC; give one like http://127.0.0.1:7041")
    require_secure_url(url)
    return url


def read_credentials(path: Path) -> bytes:
    """``user:password`` from a file: a node's cookie, or one written by hand. A final line break is no part of it.

    Raises :class:`BackendUnavailable`, whose text names neither the file nor what is in it.
    """
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o007:
                raise BackendUnavailable("everybody can read the file with the node's credentials; chmod o-rwx it")
            text = file.read(_MAX_CREDENTIALS + 1)
    except OSError as error:
        raise BackendUnavailable(
            f"the file with the node's credentials cannot be read ({error.strerror}); a cookie is there only while "
            "the node runs"
        ) from None
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    if len(text) > _MAX_CREDENTIALS or not re.fullmatch(rb"[^:\x00-\x1f]+:[^\x00-\x1f]+", text):
        raise BackendUnavailable("the file with the node's credentials does not hold one line user:password")
    return text


class ElementsRpc:
    """A node. ``client`` carries the requests and stays its maker's; ``timeout`` is the seconds for a whole answer.

    Every method raises :class:`BackendUnavailable` when the node is away, starting, overloaded, silent for too long,
    or sends what cannot be believed, and :class:`NodeRefused` when it answers with an error.
    """

    def __init__(self, url: str, credentials: Path, client: httpx.AsyncClient, *, timeout: float = 10.0) -> None:
        self._url = rpc_url(url)
        self._credentials = credentials
        self._client = client
        self._timeout = timeout
        self._ids = itertools.count(1)

    async def call(self, method: str, *arguments: Any, limit: int = _SMALL) -> Any:
        """The result of any call, of at most ``limit`` bytes; numbers with a point are :class:`~decimal.Decimal`."""
        identifier = next(self._ids)
        body = msgspec.json.encode({"jsonrpc": "1.0", "id": identifier, "method": method, "params": arguments})
        status, answer = await self._post(body, limit)
        if status == 401:
            raise BackendUnavailable(
                "the node refuses the credentials; check the file that holds them: a node that was started again has "
                "written another cookie"
            )
        if status == 403:
            raise BackendUnavailable(f"the node forbids {method}; check its rpcallowip and rpcwhitelist")
        try:
            decoded = _decoder.decode(answer)
            error = decoded["error"]
            if error is None and decoded["id"] == identifier and status == 200:
                return decoded["result"]
            code, message = int(error["code"]), str(error["message"])[:1000]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, ValueError):
            # Also the plain text of an overloaded node: 503 Work queue depth exceeded.
            raise BackendUnavailable(f"the node answers {status} to {method}, and no result; try again") from None
        if code == _WARMING_UP:
            raise BackendUnavailable(f"the node is starting: {message}")
        raise NodeRefused(method, code, message)

    async def best_block_hash(self) -> BlockHash:
        """Hash of the newest block."""
        return BlockHash(_checked_hash(await self.call("getbestblockhash")))

    async def block_hash(self, height: int) -> BlockHash | None:
        """Hash of the block at a height; None above the tip."""
        try:
            return BlockHash(_checked_hash(await self.call("getblockhash", height)))
        except NodeRefused as refused:
            if refused.code == _BAD_PARAMETER:
                return None
            raise

    async def block(self, block_hash: BlockHash) -> bytes | None:
        """A whole block, not looked at; None when the node does not know it."""
        try:
            answer = await self.call("getblock", str(block_hash), 0, limit=2 * MAX_BLOCK_BYTES + _SMALL)
        except NodeRefused as refused:
            if refused.code == _NOT_FOUND:
                return None
            raise
        return _checked_hex(answer)

    async def mempool_txids(self) -> set[Txid]:
        """Ids of all unconfirmed transactions."""
        answer = await self.call("getrawmempool", limit=MAX_LISTING_BYTES)
        if not isinstance(answer, list):
            raise BackendUnavailable("the node does not list its mempool")
        return {Txid(_checked_hash(text)) for text in answer}

    async def transaction(self, txid: Txid) -> Transaction | None:
        """A transaction of the mempool and, if the node has ``-txindex``, of blocks; None when it finds none."""
        try:
            answer = await self.call("getrawtransaction", str(txid), False, limit=2 * MAX_TRANSACTION_BYTES + _SMALL)
        except NodeRefused as refused:
            if refused.code == _NOT_FOUND:
                return None
            raise
        try:
            found = Transaction.from_bytes(_checked_hex(answer))
        except InvalidInput:
            raise BackendUnavailable(f"the node sent something else than transaction {txid}") from None
        if found.txid() != txid:
            raise BackendUnavailable(f"the node sent another transaction than {txid}")
        return found

    async def has_transaction_index(self) -> bool:
        """Whether the node keeps ``-txindex``, complete or still being built."""
        answer = await self.call("getindexinfo")
        return isinstance(answer, dict) and "txindex" in answer

    async def broadcast(self, tx: Transaction) -> None:
        """Hand a transaction to the network; one that the node has already, in mempool or chain, is fine.

        Raises :class:`BroadcastRejected` with the node's reason. Without ``-txindex`` a transaction of a block all of
        whose outputs are spent is not recognised, and refused as a double spend.
        """
        try:
            sent = await self._send(str(tx))
        except NodeRefused as refused:
            if refused.code == _ALREADY_IN_CHAIN:
                return
            if refused.code not in _ABOUT_THE_TRANSACTION:
                raise
            if await self.transaction(tx.txid()) is not None:
                return
            raise BroadcastRejected(refused.reason) from None
        if sent != str(tx.txid()):
            raise BackendUnavailable("the node answers a broadcast with another transaction id")

    async def _send(self, text: str) -> Any:
        try:
            return await self.call("sendrawtransaction", text)
        except NodeRefused as refused:
            # Whether to burn was decided when the transaction was signed.
            if _BURN_ARGUMENT not in refused.reason:
                raise
        return await self.call("sendrawtransaction", text, None, _ANY_AMOUNT)

    async def _post(self, body: bytes, limit: int) -> tuple[int, bytes]:
        """Status and bounded body of one answer."""
        secret = base64.b64encode(read_credentials(self._credentials)).decode()
        headers = {"authorization": f"Basic {secret}", "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                received = bytearray()
                async for chunk in answer.aiter_bytes():
                    received += chunk
                    if len(received) > limit:
                        raise BackendUnavailable("the node sends more than was asked for")
                return answer.status_code, bytes(received)
        except TimeoutError:
            raise BackendUnavailable("the node does not answer in time; try again") from None
        except httpx.HTTPError as error:
            raise BackendUnavailable(
                f"the node at {self._url} cannot be reached: {type(error).__name__}; check the URL, and that it runs"
            ) from None


def _checked_hash(answer: object) -> str:
    if not isinstance(answer, str) or not _HASH.fullmatch(answer):
        raise BackendUnavailable("the node sent something else than a hash")
    return answer


def _checked_hex(answer: object) -> bytes:
    try:
        if isinstance(answer, str):
            return bytes.fromhex(answer)
    except ValueError:
        pass
    raise BackendUnavailable("the node sent something else than hex")
