"""The chain as the server reads it: whole blocks, the mempool, single transactions, broadcasting.

Nothing is asked address by address, so whoever serves the chain learns nothing about the accounts. Any Esplora will
do. Answers are bounded in size and checked against the hash that was asked for; a source that is away, overloaded or
wrong is :class:`ChainUnavailable`.
"""

from __future__ import annotations

import re

import httpx

from amp0.elements.block import BlockHeader
from amp0.elements.hashes import BlockHash, Txid, sha256d
from amp0.elements.transaction import Reader, Transaction
from amp0.errors import InvalidInput
from amp0.server.chainindex import Block
from amp0.server.refusal import BroadcastRefused, ChainUnavailable

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


def merkle_root(hashes: list[Txid]) -> bytes:
    """Bitcoin's merkle root of transaction ids, internal order."""
    row: list[bytes] = list(hashes)
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0] if row else bytes(32)


class ChainSource:
    """An Esplora-like HTTP server. All methods raise :class:`ChainUnavailable`."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

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
