"""Who paid to and who spent from each script, confirmed or not, and which assets were issued.

This is all the state an explorer needs besides the blocks. It is told about every transaction
that enters or leaves the mempool or a block, by the chain, under the chain's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from amp0.elements.confidential import issued_asset
from amp0.elements.hashes import Txid, sha256
from amp0.elements.transaction import OutPoint, Transaction


@dataclass(slots=True)
class TxEntry:
    """A transaction the chain knows: in the mempool (``height`` ``None``) or in a block.

    ``fee`` in satoshi of the policy asset, ``vsize`` virtual bytes (BIP141) and what is left of them
    by the discount of hidden amounts, ``scripts`` every script it pays to or spends from, ``received``
    seconds since 1970.
    """

    tx: Transaction
    txid: Txid
    witness_hash: bytes
    fee: int
    vsize: int
    discount_vsize: int
    scripts: tuple[bytes, ...]
    received: float = 0.0
    height: int | None = None
    position: int = 0
    cache: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class ScriptEntry:
    """The history of one script.

    ``confirmed`` is oldest first as ``(height, position in block, txid)``. ``cache`` holds what
    an explorer made of it and is emptied by every change.
    """

    script: bytes
    confirmed: list[tuple[int, int, Txid]] = field(default_factory=list)
    mempool: dict[Txid, None] = field(default_factory=dict)
    funded: dict[OutPoint, None] = field(default_factory=dict)
    cache: dict[str, bytes] = field(default_factory=dict)

    def txids(self) -> list[Txid]:
        """Every transaction, oldest first, the mempool's last."""
        return [txid for _, _, txid in self.confirmed] + list(self.mempool)


class Index:
    """Histories by script, spenders by outpoint, transactions by asset."""

    def __init__(self) -> None:
        self.scripts: dict[bytes, ScriptEntry] = {}
        self.by_hash: dict[bytes, bytes] = {}
        self.spenders: dict[OutPoint, tuple[Txid, int]] = {}
        self.assets: dict[bytes, dict[Txid, None]] = {}

    def add(self, entry: TxEntry) -> None:
        """A transaction the index does not hold yet, in the state its entry tells."""
        txid = entry.txid
        for i, txin in enumerate(entry.tx.vin):
            self.spenders[txin.prevout] = (txid, i)
        for script in entry.scripts:
            record = self.scripts.get(script)
            if record is None:
                record = self.scripts[script] = ScriptEntry(script)
                self.by_hash[sha256(script)] = script
            _insert(record, entry)
        for vout, txout in enumerate(entry.tx.vout):
            if txout.script:
                self.scripts[txout.script].funded[OutPoint(txid, vout)] = None
        for asset in touched_assets(entry.tx):
            self.assets.setdefault(asset, {})[txid] = None

    def remove(self, entry: TxEntry) -> None:
        """A transaction that is in neither block nor mempool any more."""
        txid = entry.txid
        for txin in entry.tx.vin:
            if self.spenders.get(txin.prevout, (None, 0))[0] == txid:
                del self.spenders[txin.prevout]
        for vout, txout in enumerate(entry.tx.vout):
            if txout.script:
                self.scripts[txout.script].funded.pop(OutPoint(txid, vout), None)
        for script in entry.scripts:
            record = self.scripts[script]
            _take(record, entry)
            if not record.confirmed and not record.mempool:
                del self.scripts[script]
                del self.by_hash[sha256(script)]
        for asset in touched_assets(entry.tx):
            holders = self.assets[asset]
            holders.pop(txid, None)
            if not holders:
                del self.assets[asset]

    def move(self, entry: TxEntry, height: int | None, position: int) -> None:
        """A transaction that was confirmed at ``height``, or unconfirmed again (``None``)."""
        for script in entry.scripts:
            _take(self.scripts[script], entry)
        entry.height, entry.position = height, position
        for script in entry.scripts:
            _insert(self.scripts[script], entry)


def _insert(record: ScriptEntry, entry: TxEntry) -> None:
    record.cache.clear()
    if entry.height is None:
        record.mempool[entry.txid] = None
    else:
        record.confirmed.append((entry.height, entry.position, entry.txid))


def _take(record: ScriptEntry, entry: TxEntry) -> None:
    record.cache.clear()
    if entry.height is None:
        record.mempool.pop(entry.txid, None)
        return
    # Blocks are disconnected from the tip down, so it is the last one, or close to it.
    for i in range(len(record.confirmed) - 1, -1, -1):
        if record.confirmed[i][2] == entry.txid:
            del record.confirmed[i]
            return


def touched_assets(tx: Transaction) -> list[bytes]:
    """Assets (internal order) a transaction issues, reissues or burns in the open."""
    assets: dict[bytes, None] = {}
    for txin in tx.vin:
        if txin.issuance is not None:
            for asset in issued_asset(txin):
                assets[asset] = None
    for txout in tx.vout:
        if txout.script[:1] == b"\x6a" and txout.explicit_value and txout.explicit_asset is not None:
            assets[txout.explicit_asset] = None
    return list(assets)
