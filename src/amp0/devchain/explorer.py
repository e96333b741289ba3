"""What an Esplora shows of a chain: transactions, blocks, histories as JSON.

The shapes are those of Blockstream's esplora with Liquid's fields (``API.md`` there). A
transaction's JSON is made once and kept beside it; a script's pages are kept until something
happens to the script.
"""

from __future__ import annotations

from typing import Any

import msgspec

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import BlockEntry, Chain
from amp0.devchain.index import ScriptEntry, TxEntry
from amp0.devchain.validation import MIN_RELAY_RATE, script_kind
from amp0.elements.address import Address
from amp0.elements.confidential import issued_asset
from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.script import Script
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut, value_of_field
from amp0.errors import InvalidAddress
from amp0.network import Network

CHAIN_PAGE = 25
MEMPOOL_PAGE = 50
RECENT = 10
_MAX_PAGES = 512
"""Pages of one script that are kept."""
Json = dict[str, Any]


class Explorer:
    """Reads a chain for people and wallets; every method gives JSON-ready values or bytes."""

    def __init__(self, chain: Chain, network: Network) -> None:
        self.chain = chain
        self.network = network

    # -- transactions ------------------------------------------------------------------------

    def status(self, entry: TxEntry) -> Json:
        """Where a transaction is: ``confirmed`` and, if so, in which block."""
        return self._status_at(entry.height)

    def _status_at(self, height: int | None) -> Json:
        block = None if height is None else self.chain.block_at(height)
        if block is None:
            return {"confirmed": False}
        return {
            "confirmed": True,
            "block_height": block.height,
            "block_hash": str(block.hash),
            "block_time": block.time,
        }

    def transaction(self, entry: TxEntry) -> bytes:
        """A transaction as Esplora shows it."""
        body = entry.cache.get("body")
        if body is None:
            body = entry.cache["body"] = msgspec.json.encode(self._transaction(entry))
        return body[:-1] + b',"status":' + msgspec.json.encode(self.status(entry)) + b"}"

    def _transaction(self, entry: TxEntry) -> Json:
        tx = entry.tx
        return {
            "txid": str(entry.txid),
            "version": tx.version,
            "locktime": tx.locktime,
            "vin": [self._input(txin) for txin in tx.vin],
            "vout": [self._output(txout) for txout in tx.vout],
            "size": len(tx.to_bytes()),
            "weight": tx.weight(),
            "discount_vsize": entry.discount_vsize,
            "discount_weight": tx.discount_weight(),
            "fee": entry.fee,
        }

    def _input(self, txin: TxIn) -> Json:
        parent = None if txin.is_coinbase else self.chain.entry(txin.prevout.hash)
        shown: Json = {
            "txid": str(txin.prevout.hash),
            "vout": txin.prevout.vout(),
            "prevout": None if parent is None else self._output(parent.tx.vout[txin.prevout.vout()]),
            "scriptsig": txin.script_sig.hex(),
            "scriptsig_asm": Script.from_bytes(txin.script_sig).to_asm(),
            "is_coinbase": txin.is_coinbase,
            "sequence": txin.sequence_number,
            "is_pegin": txin.is_pegin,
        }
        if txin.witness:
            shown["witness"] = [item.hex() for item in txin.witness]
        if txin.issuance is not None:
            shown["issuance"] = _issuance(txin)
        return shown

    def _output(self, txout: TxOut) -> Json:
        shown: Json = {
            "scriptpubkey": txout.script.hex(),
            "scriptpubkey_asm": Script.from_bytes(txout.script).to_asm(),
            "scriptpubkey_type": "fee" if not txout.script else script_kind(txout.script) or "unknown",
        }
        address = self.address_of(txout.script)
        if address is not None:
            shown["scriptpubkey_address"] = address
        shown.update(_amount(txout))
        return shown

    def address_of(self, script: bytes) -> str | None:
        """The plain address of a script, ``None`` when it has none."""
        try:
            return str(Address.from_script(self.network, script))
        except InvalidAddress:
            return None

    def outspend(self, outpoint: OutPoint) -> Json:
        """Who spent an output."""
        spender = self.chain.spender(outpoint)
        entry = None if spender is None else self.chain.entry(spender[0])
        if spender is None or entry is None:
            return {"spent": False}
        return {"spent": True, "txid": str(spender[0]), "vin": spender[1], "status": self.status(entry)}

    def outspends(self, entry: TxEntry) -> list[Json]:
        """Who spent each output of a transaction."""
        return [self.outspend(OutPoint(entry.txid, vout)) for vout in range(len(entry.tx.vout))]

    # -- scripts -----------------------------------------------------------------------------

    def history(self, script: bytes, part: str, last: Txid | None = None) -> bytes:
        """A page of a script's transactions, newest first, as a JSON array.

        ``part`` is ``"mempool"`` (at most 50), ``"chain"`` (25 after ``last``) or ``"all"`` (the
        mempool's and the first 25).
        """
        with self.chain.lock:
            record = self.chain.script(script)
            if record is None:
                return b"[]"
            key = f"{part}:{last}"
            page = record.cache.get(key)
            if page is None:
                entries = [self.chain.entry(txid) for txid in _page(record, part, last)]
                page = b"[" + b",".join([self.transaction(e) for e in entries if e is not None]) + b"]"
                if len(record.cache) < _MAX_PAGES:
                    record.cache[key] = page
            return page

    def script_stats(self, script: bytes) -> Json:
        """Counts for a script, on the chain and in the mempool."""
        chain_stats = {"funded_txo_count": 0, "spent_txo_count": 0, "tx_count": 0}
        mempool_stats = dict(chain_stats)
        with self.chain.lock:
            record = self.chain.script(script)
            if record is not None:
                chain_stats["tx_count"] = len(record.confirmed)
                mempool_stats["tx_count"] = len(record.mempool)
                for outpoint in record.funded:
                    funder = self.chain.entry(outpoint.hash)
                    confirmed = funder is not None and funder.height is not None
                    (chain_stats if confirmed else mempool_stats)["funded_txo_count"] += 1
                    spender = self.chain.spender(outpoint)
                    if spender is not None:
                        by = self.chain.entry(spender[0])
                        confirmed = by is not None and by.height is not None
                        (chain_stats if confirmed else mempool_stats)["spent_txo_count"] += 1
        return {"chain_stats": chain_stats, "mempool_stats": mempool_stats}

    def utxos(self, script: bytes) -> list[Json]:
        """Unspent outputs of a script, mempool included."""
        found: list[Json] = []
        with self.chain.lock:
            record = self.chain.script(script)
            for outpoint in () if record is None else record.funded:
                entry = self.chain.entry(outpoint.hash)
                if entry is None or self.chain.spender(outpoint) is not None:
                    continue
                txout = entry.tx.vout[outpoint.vout()]
                shown = {"txid": str(outpoint.hash), "vout": outpoint.vout(), "status": self.status(entry)}
                shown.update(_amount(txout))
                if txout.nonce_field:
                    shown["noncecommitment"] = txout.nonce_field.hex()
                if txout.surjection_proof:
                    shown["surjection_proof"] = txout.surjection_proof.hex()
                if txout.range_proof:
                    shown["range_proof"] = txout.range_proof.hex()
                found.append(shown)
        return found

    # -- blocks ------------------------------------------------------------------------------

    def block(self, block: BlockEntry) -> Json:
        """A block as Esplora shows it."""
        header = block.header
        shown: Json = {
            "id": str(block.hash),
            "height": block.height,
            "version": header.header_version | (0x80000000 if header.dynafed else 0),
            "timestamp": block.time,
            "tx_count": len(block.txids),
            "size": len(block.block.serialize()),
            "weight": block.block.weight(),
            "merkle_root": header.merkle_root(),
            "previousblockhash": str(header.previous) if block.height else None,
            "mediantime": block.median_time,
        }
        if header.dynafed:
            shown["ext"] = {
                "current": _params(header.current.signblock_script, header.current.signblock_witness_limit),
                "proposed": {},
                "signblock_witness": [item.hex() for item in header.signblock_witness],
            }
        else:
            shown["ext"] = {"challenge": header.challenge.hex(), "solution": header.solution.hex()}
        return shown

    def block_status(self, block: BlockEntry) -> Json:
        """Whether a block is part of the present chain, and what follows it."""
        connected = self.chain.is_connected(block.hash)
        following = self.chain.block_at(block.height + 1) if connected else None
        return {
            "in_best_chain": connected,
            "height": block.height if connected else None,
            "next_best": None if following is None else str(following.hash),
        }

    def recent_blocks(self, start: int | None) -> list[Json]:
        """The newest ten blocks from height ``start`` (or the tip) down."""
        top = self.chain.height if start is None else min(start, self.chain.height)
        blocks = [self.chain.block_at(height) for height in range(top, max(-1, top - RECENT), -1)]
        return [self.block(block) for block in blocks if block is not None]

    def block_transactions(self, block: BlockEntry, start: int) -> bytes:
        """25 transactions of a connected block from position ``start``, as a JSON array."""
        entries = [self.chain.entry(txid) for txid in block.txids[start : start + CHAIN_PAGE]]
        return b"[" + b",".join([self.transaction(e) for e in entries if e is not None]) + b"]"

    # -- mempool -----------------------------------------------------------------------------

    def mempool(self) -> Json:
        """Size and fees of the mempool."""
        with self.chain.lock:
            entries = list(self.chain.mempool)
        rates = sorted(((e.fee / max(1, e.discount_vsize), e.discount_vsize) for e in entries), reverse=True)
        return {
            "count": len(entries),
            "vsize": sum(entry.discount_vsize for entry in entries),
            "total_fee": sum(entry.fee for entry in entries),
            "fee_histogram": [[round(rate, 4), vsize] for rate, vsize in rates],
        }

    def mempool_txids(self) -> list[str]:
        """Ids of all unconfirmed transactions, parents before children."""
        with self.chain.lock:
            return [str(entry.txid) for entry in self.chain.mempool]

    def mempool_recent(self) -> list[Json]:
        """The ten newest unconfirmed transactions."""
        with self.chain.lock:
            entries = list(self.chain.mempool)[-RECENT:]
        return [{"txid": str(e.txid), "fee": e.fee, "vsize": e.discount_vsize} for e in reversed(entries)]

    @staticmethod
    def fee_estimates() -> Json:
        """Satoshi per virtual byte by target: always the relay minimum, blocks are never full."""
        targets = [*range(1, 26), 144, 504, 1008]
        return {str(target): MIN_RELAY_RATE / 1000 for target in targets}

    # -- assets ------------------------------------------------------------------------------

    def asset(self, asset: bytes) -> Json | None:
        """Issuance and supply of an asset (32 bytes, internal order); ``None`` when unknown."""
        with self.chain.lock:
            entries = [self.chain.entry(txid) for txid in self.chain.index.assets.get(asset, ())]
            known = [entry for entry in entries if entry is not None]
            stats = {True: _AssetStats(), False: _AssetStats()}
            first: tuple[TxEntry, int, TxIn] | None = None
            for entry in known:
                for vin, txin in enumerate(entry.tx.vin):
                    if txin.issuance is None or asset not in issued_asset(txin):
                        continue
                    stats[entry.height is not None].issued(txin, asset)
                    if not txin.issuance.is_reissuance and issued_asset(txin)[0] == asset:
                        first = (entry, vin, txin)
                stats[entry.height is not None].burnt += _burned(entry.tx, asset)
            token = None if first is None else issued_asset(first[2])[1]
            for txid in self.chain.index.assets.get(token or b"", ()):
                holder = self.chain.entry(txid)
                if holder is not None and token is not None:
                    stats[holder.height is not None].tokens_burnt += _burned(holder.tx, token)
            shown: Json = {"asset_id": asset_id_to_str(asset)}
            if asset != POLICY_ASSET:
                if first is None:
                    return None
                shown.update(self._issuance(*first))
        shown["chain_stats"] = stats[True].shown()
        shown["mempool_stats"] = stats[False].shown()
        return shown

    def _issuance(self, entry: TxEntry, vin: int, txin: TxIn) -> Json:
        assert txin.issuance is not None
        return {
            "issuance_txin": {"txid": str(entry.txid), "vin": vin},
            "issuance_prevout": {"txid": str(txin.prevout.hash), "vout": txin.prevout.vout()},
            "reissuance_token": asset_id_to_str(issued_asset(txin)[1]),
            "contract_hash": txin.issuance.entropy[::-1].hex(),
            "status": self.status(entry),
        }


class _AssetStats:
    """Running totals of one asset."""

    def __init__(self) -> None:
        self.transactions = 0
        self.issuances = 0
        self.amount = 0
        self.burnt = 0
        self.tokens_burnt = 0
        self.hidden = False
        self.tokens: int | None = None

    def issued(self, txin: TxIn, asset: bytes) -> None:
        issuance = txin.issuance
        assert issuance is not None
        self.transactions += 1
        self.issuances += 1
        field = issuance.amount_field if issued_asset(txin)[0] == asset else issuance.tokens_field
        amount = value_of_field(field)
        self.hidden = self.hidden or len(field) == 33
        self.amount += amount or 0
        if not issuance.is_reissuance:
            self.tokens = value_of_field(issuance.tokens_field)

    def shown(self) -> Json:
        return {
            "tx_count": self.transactions,
            "issuance_count": self.issuances,
            "issued_amount": self.amount,
            "burned_amount": self.burnt,
            "has_blinded_issuances": self.hidden,
            "reissuance_tokens": self.tokens,
            "burned_reissuance_tokens": self.tokens_burnt,
        }


def _burned(tx: Transaction, asset: bytes) -> int:
    """Satoshi of an asset that a transaction burns in the open."""
    return sum(
        txout.explicit_value or 0 for txout in tx.vout if txout.script[:1] == b"\x6a" and txout.explicit_asset == asset
    )


def _page(record: ScriptEntry, part: str, last: Txid | None) -> list[Txid]:
    waiting = list(reversed(record.mempool))[:MEMPOOL_PAGE]
    if part == "mempool":
        return waiting
    start = 0
    confirmed = [txid for _, _, txid in reversed(record.confirmed)]
    if last is not None:
        start = confirmed.index(last) + 1 if last in confirmed else len(confirmed)
    page = confirmed[start : start + CHAIN_PAGE]
    return page if part == "chain" else waiting + page


def _amount(txout: TxOut) -> Json:
    shown: Json = {}
    satoshi, asset = txout.explicit_value, txout.explicit_asset
    if satoshi is None:
        shown["valuecommitment"] = txout.value_field.hex()
    else:
        shown["value"] = satoshi
    if asset is None:
        shown["assetcommitment"] = txout.asset_field.hex()
    else:
        shown["asset"] = asset_id_to_str(asset)
    return shown


def _issuance(txin: TxIn) -> Json:
    issuance = txin.issuance
    assert issuance is not None
    asset, _ = issued_asset(txin)
    shown: Json = {
        "asset_id": asset_id_to_str(asset),
        "is_reissuance": issuance.is_reissuance,
        "asset_entropy": issuance.entropy[::-1].hex(),
    }
    if issuance.is_reissuance:
        shown["asset_blinding_nonce"] = issuance.nonce[::-1].hex()
    else:
        shown["contract_hash"] = issuance.entropy[::-1].hex()
    for name, field in (("assetamount", issuance.amount_field), ("tokenamount", issuance.tokens_field)):
        amount = value_of_field(field)
        if amount is not None:
            shown[name] = amount
        elif field:
            shown[f"{name}commitment"] = field.hex()
    return shown


def _params(script: bytes, limit: int) -> Json:
    return {"signblockscript": script.hex(), "signblock_witness_limit": limit}
