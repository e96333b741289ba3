"""Scanning again without asking for every address again.

While the newest block stays the same, nothing can happen to a wallet but in the mempool. So a client
remembers, per wollet, at which tip it last read the whole history and what the mempool held, and a
refresh at the same tip takes two requests: the mempool's ids and the tip. Only transactions that
are new in the mempool are fetched and matched against the wollet's scripts here, which also tells
the explorer nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amp0.chain.backend import UNCONFIRMED, TxStatus
from amp0.chain.explorer import Explorer
from amp0.chain.findings import Findings, scan_end
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import ExplorerRefused, InvalidInput

MAX_MEMPOOL = 20_000
"""A larger mempool is not compared: asking for the addresses is cheaper."""
MAX_NEW = 200
"""More new transactions than this are not fetched one by one."""
_MAX_MARKS = 32


@dataclass(frozen=True, slots=True)
class _Mark:
    """A whole history read at ``tip``: what was confirmed, what was not, and how far it went."""

    tip: BlockHash
    mempool: frozenset[str]
    confirmed: Mapping[Txid, TxStatus]
    unconfirmed: frozenset[Txid]
    ends: tuple[int, ...]


class Refresher:
    """Remembers scans of one explorer and continues them."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._offered = True
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
        """Fill ``findings`` with all that is known of an unchanged tip.

        Returns, per chain, the index from which addresses still have to be read: 0 when the scan
        has to begin anew.
        """
        request, mempool = findings.request, self._mempool
        anew = (0,) * request.chains
        mark = self._marks.get(request.descriptor)
        if mark is None or mempool is None or mark.tip != tip:
            return anew
        confirmed = {txid: status for txid, status in request.known.items() if status.confirmed}
        if confirmed != mark.confirmed:
            return anew  # the wollet did not take the last update, or another one since
        try:
            news = {Txid(text) for text in mempool - mark.mempool}
            news |= {txid for txid in mark.unconfirmed if str(txid) in mempool}
        except InvalidInput as error:
            raise self._explorer.nonsense("/mempool/txids", error) from None
        news -= request.known.keys()
        if len(news) > MAX_NEW:
            return anew
        fetched: dict[Txid, Transaction] = {}
        for txid in news:
            raw = await self._explorer.raw_transaction(txid)
            if raw is not None:
                fetched[txid] = findings.check(txid, raw)
        findings.seen.update(confirmed)
        for txid in request.known:
            if txid not in confirmed and str(txid) in mempool:
                findings.seen[txid] = UNCONFIRMED
        self._match(findings, fetched)
        return mark.ends

    def _match(self, findings: Findings, fetched: dict[Txid, Transaction]) -> None:
        """Keep those of the new transactions that pay to the wollet or spend from it."""
        request = findings.request
        paid: set[OutPoint] = set()
        pending = dict(fetched)
        found = True
        while found:
            found = False
            for txid, tx in list(pending.items()):
                places = [(vout, request.find(txout.script)) for vout, txout in enumerate(tx.vout) if txout.script]
                ours = [(vout, place) for vout, place in places if place is not None]
                if not ours and not any(txin.prevout in paid or request.owns(txin.prevout) for txin in tx.vin):
                    continue
                del pending[txid]
                found = True
                findings.seen[txid] = UNCONFIRMED
                findings.raw[txid] = tx
                for vout, (chain, index) in ours:
                    paid.add(OutPoint(txid, vout))
                    findings.add(chain, index, txid, UNCONFIRMED)
                request.observer.on_transaction(tx)

    def remember(self, findings: Findings, tip: BlockHash) -> None:
        """Note a finished scan."""
        request = findings.request
        if self._mempool is None or findings.keep:
            return
        if len(self._marks) >= _MAX_MARKS and request.descriptor not in self._marks:
            del self._marks[next(iter(self._marks))]
        self._marks[request.descriptor] = _Mark(
            tip,
            self._mempool,
            {txid: status for txid, status in findings.seen.items() if status.confirmed},
            frozenset(txid for txid, status in findings.seen.items() if not status.confirmed),
            tuple(scan_end(request, last) for last in findings.last_used),
        )
