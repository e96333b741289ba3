"""A chain in memory that answers like an Esplora, for the server's tests: no proofs, no rules, any reorganisation."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from amp0.elements.block import BlockHeader, merkle_root
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Reader, Transaction, TxIn, TxOut, compact_size
from amp0.network import Network

VECTORS = Path(__file__).parent.parent / "vectors"
GENESIS = json.loads((VECTORS / "liquidregtest-blocks.json").read_text())["blocks"][0]
ASSET = bytes.fromhex(Network.regtest_default().policy_asset_hex)[::-1]


def payment(*outputs: tuple[bytes, int], spends: tuple[OutPoint, ...] = (), salt: int = 0) -> Transaction:
    """A transaction with explicit outputs ``(script, satoshi)`` and a fee of 100 satoshi."""
    vin = [TxIn(prevout) for prevout in spends]
    if not vin:
        vin = [TxIn(OutPoint(Txid(salt.to_bytes(4, "big") * 8), 0))]
    vout = [TxOut.explicit(script, ASSET, satoshi) for script, satoshi in outputs]
    return Transaction.of(2, 0, vin, [*vout, TxOut.fee(ASSET, 100)])


class FakeChain:
    """Blocks, a mempool, and switches to break it."""

    def __init__(self) -> None:
        self.blocks: list[tuple[BlockHeader, tuple[Transaction, ...]]] = []
        self.mempool: dict[Txid, Transaction] = {}
        self.is_down = False
        self.refuses: str | None = None
        self.hidden: set[Txid] = set()
        self.requests: list[str] = []
        self._time = 1_700_000_000
        reader = Reader(bytes.fromhex(GENESIS["raw"]))
        header = BlockHeader.read(reader)
        self.blocks.append((header, tuple(Transaction.read(reader) for _ in range(reader.count(10)))))

    def client(self) -> httpx.AsyncClient:
        """An HTTP client that talks to this chain."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def mine(self, *transactions: Transaction, coinbase_script: bytes = b"\x6a") -> BlockHash:
        """Add a block with these transactions, or else with the whole mempool."""
        self._time += 60
        chosen = transactions or tuple(self.mempool.values())
        null = TxIn(OutPoint(Txid(bytes(32)), 0xFFFFFFFF), script_sig=self._time.to_bytes(4, "big"))
        coinbase = Transaction.of(2, 0, [null], [TxOut.explicit(coinbase_script, ASSET, 0)])
        body = (coinbase, *chosen)
        previous, root = self.blocks[-1][0].block_hash(), merkle_root([tx.txid() for tx in body])
        header = BlockHeader(1, previous, root, self._time, len(self.blocks), False, b"\x51", b"")
        self.blocks.append((header, body))
        spent = {txin.prevout for tx in chosen for txin in tx.vin}
        for tx in list(self.mempool.values()):
            if tx in chosen or any(txin.prevout in spent for txin in tx.vin):
                del self.mempool[tx.txid()]
        return header.block_hash()

    def drop_blocks(self, depth: int) -> list[Transaction]:
        """Take the newest blocks away; their transactions are nowhere then, and returned."""
        dropped = self.blocks[-depth:]
        del self.blocks[-depth:]
        self._time += 1
        return [tx for _, body in dropped for tx in body[1:]]

    def send(self, tx: Transaction) -> None:
        """Put a transaction into the mempool."""
        self.mempool[tx.txid()] = tx

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(path)
        if self.is_down:
            raise httpx.ConnectError("down")
        if path == "/blocks/tip/hash":
            return httpx.Response(200, text=str(self.blocks[-1][0].block_hash()))
        if path == "/mempool/txids":
            return httpx.Response(200, json=[str(txid) for txid in self.mempool])
        if path == "/tx" and request.method == "POST":
            tx = Transaction.from_string(request.content.decode())
            if self.refuses is not None:
                return httpx.Response(400, text=self.refuses)
            self.send(tx)
            return httpx.Response(200, text=str(tx.txid()))
        kind, _, rest = path[1:].partition("/")
        answer = {"block-height": self._height, "block": self._block, "tx": self._tx}[kind](rest)
        return httpx.Response(404) if answer is None else httpx.Response(200, content=answer)

    def _height(self, rest: str) -> bytes | None:
        n = int(rest)
        return str(self.blocks[n][0].block_hash()).encode() if n < len(self.blocks) else None

    def _block(self, rest: str) -> bytes | None:
        for header, body in self.blocks:
            if rest == f"{header.block_hash()}/raw":
                return header.serialize() + compact_size(len(body)) + b"".join(tx.to_bytes() for tx in body)
        return None

    def _tx(self, rest: str) -> bytes | None:
        txid = rest.removesuffix("/raw")
        for tx in [*self.mempool.values(), *(tx for _, body in self.blocks for tx in body)]:
            if str(tx.txid()) == txid and tx.txid() not in self.hidden:
                return tx.to_bytes()
        return None
