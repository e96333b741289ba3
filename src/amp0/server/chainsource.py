"""The chain as the server reads it: whole blocks, the mempool, single transactions, broadcasting.

Nothing is asked address by address, so whoever serves the chain learns nothing about the accounts. Any Esplora will
do, and so will an Elements node. Answers are bounded in size and checked against the hash that was asked for; a source
that is away, overloaded or wrong is :class:`ChainUnavailable`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx

from amp0.chain.elements_rpc import ElementsRpc
from amp0.elements.block import BlockHeader, merkle_root
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Reader, Transaction
from amp0.errors import BroadcastRejected, ChainError, InvalidInput
from amp0.server.chainindex import Block
from amp0.server.refusal import BroadcastRefused, ChainUnavailable
from amp0.server.settings import Settings

log = logging.getLogger("amp0.server.chainsource")

MAX_BLOCK_BYTES = 16 * 1024 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_LISTING_BYTES = 16 * 1024 * 1024
_HASH = re.compile(r"[0-9a-f]{64}")


def parse_block(raw: bytes, expected: BlockHash) -> Block:
    """A whole block whose header hashes to ``expected`` and whose merkle root fits its transactions.

    Raises :class:`ChainUnavailable`, for the source is not to be believed otherwise.
    """
    try:
        reader = Reader(raw)
        header = BlockHeader.read(reader)
        transactions = tuple(Transaction.read(reader) for _ in range(reader.count(10)))
        if reader.remaining:
            raise InvalidInput(f"{reader.remaining} bytes follow the block")
    except InvalidInput as error:
        raise ChainUnavailable(f"The chain source sent a block that cannot be read: {error}") from None
    if header.block_hash() != expected or merkle_root([tx.txid() for tx in transactions]) != header.merkle:
        raise ChainUnavailable(f"The chain source sent another block than {expected}")
    return Block(header.height(), expected, header.previous, header.time(), transactions)


class ChainSource(Protocol):
    """Where the server reads the chain. All methods raise :class:`ChainUnavailable`."""

    async def begin(self) -> None:
        """Look once, before the first block is read, at what this source can do."""

    async def tip_hash(self) -> BlockHash:
        """Hash of the newest block."""

    async def block_hash(self, height: int) -> BlockHash | None:
        """Hash of the block at a height; None above the tip."""

    async def block_bytes(self, block_hash: BlockHash) -> bytes:
        """A whole block, for :func:`parse_block`."""

    async def mempool_txids(self) -> set[Txid]:
        """Ids of all unconfirmed transactions."""

    async def transaction(self, txid: Txid) -> Transaction | None:
        """A transaction of block or mempool; None when there is no such."""

    async def broadcast(self, tx: Transaction) -> None:
        """Hand a transaction to the network; one that is there already is fine.

        Raises :class:`BroadcastRefused` with the node's text.
        """


def chain_source(settings: Settings, client: httpx.AsyncClient) -> ChainSource:
    """The source that the settings name, asked through ``client``."""
    url = settings.node_url()
    if url is None:
        return EsploraSource(settings.chain_url, client)
    # The settings see to it that a node's URL comes with a file.
    assert settings.chain_auth_file is not None
    return NodeSource(ElementsRpc(url, settings.chain_auth_file, client, timeout=settings.chain_timeout_seconds))


class NodeSource:
    """An Elements node. All methods raise :class:`ChainUnavailable`."""

    def __init__(self, node: ElementsRpc) -> None:
        self._node = node

    async def begin(self) -> None:
        """Say in the log what a node without index of transactions means."""
        with _refusals():
            if not await self._node.has_transaction_index():
                log.warning(
                    "the node keeps no index of transactions: transfers that spend other people's confirmed outputs "
                    "beside the account's own are refused; start it with -txindex=1"
                )

    async def tip_hash(self) -> BlockHash:
        """Hash of the newest block."""
        with _refusals():
            return await self._node.best_block_hash()

    async def block_hash(self, height: int) -> BlockHash | None:
        """Hash of the block at a height; None above the tip."""
        with _refusals():
            return await self._node.block_hash(height)

    async def block_bytes(self, block_hash: BlockHash) -> bytes:
        """A whole block, for :func:`parse_block`."""
        with _refusals():
            answer = await self._node.block(block_hash)
        if answer is None:
            raise ChainUnavailable(f"The chain source does not have block {block_hash} any more")
        return answer

    async def mempool_txids(self) -> set[Txid]:
        """Ids of all unconfirmed transactions."""
        with _refusals():
            return await self._node.mempool_txids()

    async def transaction(self, txid: Txid) -> Transaction | None:
        """A transaction of the mempool, or of blocks if the node has ``-txindex``; None when it finds none."""
        with _refusals():
            return await self._node.transaction(txid)

    async def broadcast(self, tx: Transaction) -> None:
        """Hand a transaction to the network. Raises :class:`BroadcastRefused` with the node's text."""
        with _refusals():
            await self._node.broadcast(tx)


@contextmanager
def _refusals() -> Iterator[None]:
    """The errors of a node in the words of the server."""
    try:
        yield
    except BroadcastRejected as error:
        raise BroadcastRefused(f"The network refuses the transaction: {error.reason[:500]}") from None
    except ChainError as error:
        raise ChainUnavailable(f"The chain cannot be asked: {error}") from None


class EsploraSource:
    """An Esplora-like HTTP server. All methods raise :class:`ChainUnavailable`."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def begin(self) -> None:
        """Every Esplora can do all that is asked of it."""

    async def tip_hash(self) -> BlockHash:
        """Hash of the newest block."""
        return BlockHash(await self._hash("/blocks/tip/hash"))

    async def block_hash(self, height: int) -> BlockHash | None:
        """Hash of the block at a height; None above the tip."""
        answer = await self._get(f"/block-height/{height}", 1024)
        return None if answer is None else BlockHash(self._checked_hash(answer))

    async def block_bytes(self, block_hash: BlockHash) -> bytes:
        """A whole block, for :func:`parse_block`."""
        answer = await self._get(f"/block/{block_hash}/raw", MAX_BLOCK_BYTES)
        if answer is None:
            raise ChainUnavailable(f"The chain source does not have block {block_hash} any more")
        return answer

    async def mempool_txids(self) -> set[Txid]:
        """Ids of all unconfirmed transactions."""
        answer = await self._get("/mempool/txids", MAX_LISTING_BYTES)
        texts = re.findall(rb'"([0-9a-f]{64})"', answer or b"")
        if answer is None or not answer.lstrip().startswith(b"["):
            raise ChainUnavailable("The chain source does not list its mempool")
        return {Txid(text.decode()) for text in texts}

    async def transaction(self, txid: Txid) -> Transaction | None:
        """A transaction of block or mempool; None when there is no such."""
        answer = await self._get(f"/tx/{txid}/raw", MAX_TRANSACTION_BYTES)
        if answer is None:
            return None
        try:
            tx = Transaction.from_bytes(answer)
        except InvalidInput:
            raise ChainUnavailable(f"The chain source sent something else than transaction {txid}") from None
        if tx.txid() != txid:
            raise ChainUnavailable(f"The chain source sent another transaction than {txid}")
        return tx

    async def broadcast(self, tx: Transaction) -> None:
        """Hand a transaction to the network. Raises :class:`BroadcastRefused` with the node's text."""
        try:
            answer = await self._client.post(f"{self._url}/tx", content=str(tx))
        except httpx.HTTPError as error:
            raise ChainUnavailable(f"The chain source cannot be reached: {type(error).__name__}") from None
        if answer.status_code == 200:
            return
        if answer.status_code == 429 or answer.status_code >= 500:
            raise ChainUnavailable(f"The chain source answers {answer.status_code}; try again")
        if await self.transaction(tx.txid()) is not None:
            # Sent before, by us or by somebody else: what was asked for is the case.
            return
        raise BroadcastRefused(f"The network refuses the transaction: {answer.text[:500]}")

    async def _hash(self, path: str) -> str:
        answer = await self._get(path, 1024)
        if answer is None:
            raise ChainUnavailable(f"The chain source does not know {path}")
        return self._checked_hash(answer)

    @staticmethod
    def _checked_hash(answer: bytes) -> str:
        text = answer.decode("ascii", "replace").strip()
        if not _HASH.fullmatch(text):
            raise ChainUnavailable("The chain source sent something else than a hash")
        return text

    async def _get(self, path: str, most: int) -> bytes | None:
        """The bounded body of one GET; None for 404."""
        try:
            async with self._client.stream("GET", self._url + path) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise ChainUnavailable(f"The chain source answers {answer.status_code} to {path}")
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > most:
                        raise ChainUnavailable(f"The chain source sends too much for {path}")
                return bytes(body)
        except httpx.HTTPError as error:
            raise ChainUnavailable(f"The chain source cannot be reached: {type(error).__name__}") from None
