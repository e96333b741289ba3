"""Scanning again without asking for every address again.

While the newest block stays the same, nothing can happen to a wallet but in the mempool. So a client
remembers, per wollet, at which tip it last read the whole history and what the mempool held, and a
refresh at the same tip takes two requests: the mempool's ids and the tip. Only transactions that
are new in the mempool are fetched. When a few blocks have come since, those are fetched whole and
checked against their headers, as long as that costs less than asking for every address.

Either way transactions are matched against the wollet's scripts here, which tells the explorer
nothing about them, and lets it hide nothing that is in a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amp0.chain.backend import UNCONFIRMED, TxStatus
from amp0.chain.explorer import Explorer
from amp0.chain.findings import Findings, scan_end
from amp0.elements.block import BlockHeader
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import ExplorerRefused, InvalidInput

MAX_MEMPOOL = 20_000
"""A larger mempool is not compared: asking for the addresses is cheaper."""
MAX_NEW = 200
"""More new transactions than this are not fetched one by one."""
ADDRESSES_PER_BLOCK = 10
"""Fetching one block is taken to cost as much as asking for this many addresses."""
_MAX_MARKS = 32


@dataclass(frozen=True, slots=True)
class _Mark:
    """A whole history read at ``tip``: what was confirmed, what was not, and how far it went."""

    tip: BlockHash
    height: int
    mempool: frozenset[str]
    confirmed: Mapping[Txid, TxStatus]
    unconfirmed: frozenset[Txid]
    ends: tuple[int, ...]


class Refresher:
    """Remembers scans of one explorer and continues them."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._offered = True
        self._blocks_offered = True
        self._mempool: frozenset[str] | None = None
        self._marks: dict[str, _Mark] = {}

    async def look(self) -> None:
        """Take the list of the mempool, if the explorer offers it."""
        self._mempool = None
        if not self._offered:
            return
        try:
            txids = await self._explorer.mempool_txids()
        except ExplorerRefused:
            self._offered = False
            return
        if len(txids) <= MAX_MEMPOOL:
            self._mempool = frozenset(txids)

    async def resume(self, findings: Findings, tip: BlockHash) -> tuple[int, ...]:
        """Fill ``findings`` with all that follows from an earlier scan and from what came since.

        Returns, per chain, the index from which addresses still have to be read: 0 when the scan
        has to begin anew.
        """
        request, mempool = findings.request, self._mempool
        anew = (0,) * request.chains
        mark = self._marks.get(request.descriptor)
        if mark is None or mempool is None:
            return anew
        confirmed = {txid: status for txid, status in request.known.items() if status.confirmed}
        if confirmed != mark.confirmed:
            return anew  # the wollet did not take the last update, or another one since
        mined = await self._mined_since(mark, tip)
        news = self._news(mark, mempool) - request.known.keys()
        if mined is None or len(news) > MAX_NEW:
            return anew
        waiting: list[tuple[Transaction, TxStatus]] = []
        for txid in news - {tx.txid() for tx, _ in mined}:
            raw = await self._explorer.raw_transaction(txid)
            if raw is not None:
                waiting.append((findings.check(txid, raw), UNCONFIRMED))
        findings.seen.update(confirmed)
        for txid in request.known:
            if txid not in confirmed and str(txid) in mempool:
                findings.seen[txid] = UNCONFIRMED
        _match(findings, mined + waiting)
        return mark.ends

    def _news(self, mark: _Mark, mempool: frozenset[str]) -> set[Txid]:
        """What is in the mempool and was not, and what the wollet should know of already."""
        try:
            news = {Txid(text) for text in mempool - mark.mempool}
        except InvalidInput as error:
            raise self._explorer.nonsense("/mempool/txids", error) from None
        return news | {txid for txid in mark.unconfirmed if str(txid) in mempool}

    async def _mined_since(self, mark: _Mark, tip: BlockHash) -> list[tuple[Transaction, TxStatus]] | None:
        """Everything in the blocks after the mark's, or ``None`` when it is too much or no continuation."""
        limit = sum(mark.ends) // ADDRESSES_PER_BLOCK
        blocks: list[tuple[BlockHeader, tuple[Transaction, ...]]] = []
        while tip != mark.tip:
            if len(blocks) >= limit or not self._blocks_offered:
                return None
            try:
                block = await self._explorer.block(tip)
            except ExplorerRefused:
                self._blocks_offered = False
                return None
            blocks.append(block)
            if block[0].height() <= mark.height:
                return None  # another branch
            tip = block[0].prev_blockhash()
        mined: list[tuple[Transaction, TxStatus]] = []
        for header, transactions in reversed(blocks):
            status = TxStatus(header.height(), header.block_hash(), header.time())
            mined += [(tx, status) for tx in transactions]
        return mined

    def remember(self, findings: Findings, tip: BlockHeader) -> None:
        """Note a finished scan."""
        request = findings.request
        if self._mempool is None or findings.keep:
            return
        if len(self._marks) >= _MAX_MARKS and request.descriptor not in self._marks:
            del self._marks[next(iter(self._marks))]
        self._marks[request.descriptor] = _Mark(
            tip.block_hash(),
            tip.height(),
            self._mempool,
            {txid: status for txid, status in findings.seen.items() if status.confirmed},
            frozenset(txid for txid, status in findings.seen.items() if not status.confirmed),
            tuple(scan_end(request, last) for last in findings.last_used),
        )


def _match(findings: Findings, candidates: list[tuple[Transaction, TxStatus]]) -> None:
    """Keep the transactions that pay to the wollet, spend from it, or are known to it."""
    request = findings.request
    paid: set[OutPoint] = set()
    pending = candidates
    found = True
    while found:  # again, for mempool transactions that spend what a later one in the list pays
        found, rest = False, []
        for tx, status in pending:
            txid = tx.txid()
            places = [(vout, request.find(txout.script)) for vout, txout in enumerate(tx.vout) if txout.script]
            ours = [(vout, place) for vout, place in places if place is not None]
            known = txid in request.known
            if not (ours or known or any(txin.prevout in paid or request.owns(txin.prevout) for txin in tx.vin)):
                rest.append((tx, status))
                continue
            found = True
            findings.seen[txid] = status
            for vout, (chain, index) in ours:
                paid.add(OutPoint(txid, vout))
                findings.add(chain, index, txid, status)
            if not known:
                findings.raw[txid] = tx
                request.observer.on_transaction(tx)
        pending = rest
