"""An explorer in memory: a chain of headers, transactions by script, and Esplora's and Waterfalls' answers.

Transactions are real where their outputs are ours (blinded, so that they have to be opened), and made up
everywhere else: nobody validates here.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pyrage

from amp0.chain.http import Response
from amp0.elements.address import Address
from amp0.elements.block import BlockHeader, merkle_root
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import BlockHash, Txid, asset_id_to_bytes, sha256
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut, compact_size, explicit_asset_field
from amp0.network import Network

NETWORK = Network.regtest_default()
LBTC = asset_id_to_bytes(NETWORK.policy_asset())
TOKEN = b"\xaa" * 32
STRANGER_SCRIPT = bytes.fromhex("0014") + b"\x77" * 20
STRANGER_KEY = bytes.fromhex("02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
_serial = iter(range(1, 1 << 30))


def stranger_coin() -> OutPoint:
    """An outpoint nobody here owns, another one each time."""
    return OutPoint(Txid(sha256(b"stranger" + next(_serial).to_bytes(4, "big"))), 0)


def stranger_payment() -> Transaction:
    """Any transaction that has nothing to do with us."""
    return Transaction.of(2, 0, [TxIn(stranger_coin())], [TxOut.explicit(STRANGER_SCRIPT, LBTC, 1)])


def pay(
    descriptor: WolletDescriptor,
    *payments: tuple[int, int] | tuple[int, int, bytes],
    chain: Chain = Chain.EXTERNAL,
    spend: OutPoint | None = None,
) -> Transaction:
    """A transaction by a stranger that pays (index, satoshi[, asset]) to the wallet, blinded."""
    outputs, inputs = [], []
    for index, satoshi, *asset in payments:
        script = descriptor.script_bytes(index, chain)
        kind = asset[0] if asset else LBTC
        outputs.append(PlainOutput(script, kind, satoshi, descriptor.blinding_pubkey(script)))
    outputs += [
        PlainOutput(STRANGER_SCRIPT, LBTC, 1000, STRANGER_KEY),
        PlainOutput(b"", LBTC, 50),
    ]
    total: Counter[bytes] = Counter()
    for output in outputs:
        total[output.asset] += output.satoshi
    for asset_id, amount in total.items():
        inputs.append(DomainEntry(explicit_asset_field(asset_id), Opening(asset_id, amount)))
    vin = [TxIn(stranger_coin()) for _ in inputs]
    if spend is not None:
        vin[0] = TxIn(spend)
    return Transaction.of(2, 0, vin, [blinded.txout for blinded in blind(inputs, outputs)])


def send(*coins: OutPoint, fee: int = 50) -> Transaction:
    """A transaction that spends coins and pays strangers, amounts made up."""
    return Transaction.of(
        2,
        0,
        [TxIn(coin, witness=(b"\x01",)) for coin in coins],
        [TxOut.explicit(STRANGER_SCRIPT, LBTC, 1000), TxOut.fee(LBTC, fee)],
    )


class FakeExplorer:
    """Implements :class:`amp0.chain.http.Transport`; tests move its chain and spoil its answers."""

    def __init__(self, *, page: int = 25, mempool_ids: bool = True, whole_blocks: bool = True) -> None:
        self.page = page
        self.mempool_ids = mempool_ids
        self.whole_blocks = whole_blocks
        self.blocks: list[BlockHeader] = []
        self.contents: list[list[Transaction]] = []
        self.in_block: dict[Txid, int] = {}
        self.mempool: list[Txid] = []
        self.transactions: dict[Txid, Transaction] = {}
        self.asked: list[str] = []
        self.answers: dict[str, Response] = {}
        self.before: list[tuple[str, object]] = []
        self.descriptors: dict[str, WolletDescriptor] = {}
        self.identity = pyrage.x25519.Identity.generate()
        self.fork = 0
        self.block_times = True
        self.mine()

    # -- the chain ---------------------------------------------------------------------------

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def mine(self, *txs: Transaction, count: int = 1) -> None:
        """Put transactions (and the whole mempool) into one block, then mine empty ones."""
        for tx in txs:
            self.transactions[tx.txid()] = tx
        included = [*self.mempool, *(tx.txid() for tx in txs)]
        self.mempool.clear()
        for number in range(count):
            height = len(self.blocks)
            previous = self.blocks[-1].block_hash() if self.blocks else BlockHash(bytes(32))
            content = [stranger_payment(), *(self.transactions[txid] for txid in included if number == 0)]
            merkle = merkle_root([tx.txid() for tx in content])
            self.contents.append(content)
            self.blocks.append(
                BlockHeader(1, previous, merkle, 1_700_000_000 + 60 * height, height, False, b"\x51", b"")
            )
            if number == 0:
                self.in_block.update(dict.fromkeys(included, height))

    def submit(self, *txs: Transaction) -> None:
        """Into the mempool."""
        for tx in txs:
            self.transactions[tx.txid()] = tx
            self.mempool.append(tx.txid())

    def drop(self, tx: Transaction) -> None:
        """Out of the mempool."""
        self.mempool.remove(tx.txid())
        del self.transactions[tx.txid()]

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Take blocks back; their transactions go to the mempool, or nowhere; mine one block more."""
        self.fork += 1
        cut = len(self.blocks) - depth
        gone = [txid for txid, height in self.in_block.items() if height >= cut]
        for txid in gone:
            del self.in_block[txid]
            if not keep:
                del self.transactions[txid]
        del self.blocks[cut:], self.contents[cut:]
        pool = [*self.mempool, *gone] if keep else list(self.mempool)
        self.mempool.clear()
        self.mine(count=depth + 1)
        self.mempool.extend(pool)

    # -- the transport -----------------------------------------------------------------------

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        self.asked.append(path)
        for start, action in list(self.before):
            if path.startswith(start):
                self.before.remove((start, action))
                action()  # type: ignore[operator]
        for start, answer in self.answers.items():
            if path.startswith(start):
                return answer
        answer = self._answer(path, body)
        assert len(answer.body) <= limit
        return answer

    async def aclose(self) -> None:
        pass

    def count(self, start: str) -> int:
        return sum(path.startswith(start) for path in self.asked)

    def _answer(self, path: str, body: bytes) -> Response:
        parts = urlsplit(path)
        match parts.path.strip("/").split("/"):
            case ["blocks", "tip", "hash"]:
                return _text(str(self.blocks[-1].block_hash()))
            case ["block", block, "header"]:
                header = next((h for h in self.blocks if str(h.block_hash()) == block), None)
                return _text(str(header)) if header else _error(404, "Block not found")
            case ["block", block, "raw"] if self.whole_blocks:
                height = next(h.height() for h in self.blocks if str(h.block_hash()) == block)
                content = self.contents[height]
                raw = self.blocks[height].serialize() + compact_size(len(content))
                return Response(200, {}, raw + b"".join(tx.to_bytes() for tx in content))
            case ["mempool", "txids"] if self.mempool_ids:
                return _json([str(txid) for txid in self.mempool])
            case ["tx", txid, "raw"]:
                tx = self.transactions.get(Txid(txid))
                return Response(200, {}, tx.to_bytes()) if tx else _error(404, "Transaction not found")
            case ["tx"]:
                tx = Transaction(body.decode())
                if any(txin.prevout in self._spent() for txin in tx.vin):
                    return _error(400, "sendrawtransaction RPC error: txn-mempool-conflict")
                self.submit(tx)
                return _text(str(tx.txid()))
            case ["address", address, "txs"]:
                pool, chain = self._history(Address(address, NETWORK).script)
                return _json([_entry(self, txid) for txid in pool[:50] + chain[: self.page]])
            case ["address", address, "txs", "chain", last]:
                _, chain = self._history(Address(address, NETWORK).script)
                start = chain.index(Txid(last)) + 1
                return _json([_entry(self, txid) for txid in chain[start : start + self.page]])
            case ["v1", "server_recipient"]:
                return _text(str(self.identity.to_public()))
            case ["v2", "waterfalls"]:
                return self._waterfalls(parse_qs(parts.query))
        return _error(404, "Not found")

    def _spent(self) -> set[OutPoint]:
        return {txin.prevout for tx in self.transactions.values() for txin in tx.vin}

    def _touching(self, script: bytes) -> list[Txid]:
        made = {
            OutPoint(txid, vout)
            for txid, tx in self.transactions.items()
            for vout, txout in enumerate(tx.vout)
            if txout.script == script
        }
        return [
            txid
            for txid, tx in self.transactions.items()
            if any(txout.script == script for txout in tx.vout) or any(txin.prevout in made for txin in tx.vin)
        ]

    def _history(self, script: bytes) -> tuple[list[Txid], list[Txid]]:
        touching = self._touching(script)
        pool = [txid for txid in self.mempool if txid in touching]
        chain = sorted((t for t in touching if t in self.in_block), key=lambda t: -self.in_block[t])
        return pool, chain

    def _waterfalls(self, query: dict[str, list[str]]) -> Response:
        text = query["descriptor"][0]
        padded = base64.b64decode(text + "=" * (-len(text) % 4))
        try:
            descriptor = pyrage.decrypt(padded, [self.identity]).decode()
        except pyrage.DecryptError:
            return _error(422, "cannot decrypt")
        wallet = self.descriptors[descriptor]
        to_index, page = int(query["to_index"][0]), int(query["page"][0])
        seen = {}
        for chain in range(max(1, len(wallet.keys()[0].branches))):
            rows: list[list[dict[str, object]]] = []
            while True:
                batch = [
                    [_seen(self, t) for t in self._touching(wallet.script_bytes(i, Chain(chain)))]
                    for i in range(len(rows), len(rows) + 20)
                ]
                rows += batch
                # As the public server stops: to_index is a count.
                if not any(batch) and len(rows) >= to_index:
                    break
            name = descriptor.replace("<0;1>", str(chain))
            seen[name] = rows[page * 1000 : (page + 1) * 1000]
        return _json({"txs_seen": seen, "page": page, "tip": str(self.blocks[-1].block_hash())})


def _entry(explorer: FakeExplorer, txid: Txid) -> object:
    height = explorer.in_block.get(txid)
    if height is None:
        return {"txid": str(txid), "status": {"confirmed": False}}
    header = explorer.blocks[height]
    status = {"confirmed": True, "block_height": height, "block_hash": str(header.block_hash())}
    if explorer.block_times:
        status["block_time"] = header.time()
    return {"txid": str(txid), "status": status, "vin": [], "vout": []}


def _seen(explorer: FakeExplorer, txid: Txid) -> dict[str, object]:
    height = explorer.in_block.get(txid)
    if height is None:
        return {"txid": str(txid), "height": 0}
    header = explorer.blocks[height]
    return {
        "txid": str(txid),
        "height": height,
        "block_hash": str(header.block_hash()),
        "block_timestamp": header.time(),
    }


def _text(text: str) -> Response:
    return Response(200, {}, text.encode())


def _json(value: object) -> Response:
    return Response(200, {}, json.dumps(value).encode())


def _error(status: int, text: str) -> Response:
    return Response(status, {}, text.encode())
