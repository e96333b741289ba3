"""What a scan has found so far, and the update that follows from it; pure.

Both kinds of client fill a :class:`Findings` with history entries as they arrive, ask it which
transactions are still to be fetched, and let it make the :class:`~amp0.chain.backend.Update`.
"""

from __future__ import annotations

from dataclasses import replace

from amp0.chain.backend import ScanRequest, TxStatus, Update
from amp0.elements.block import BlockHeader
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Transaction
from amp0.errors import ChainError, InvalidTransaction

GAP = 20
"""How far beyond the last used or issued index every scan looks; LWK and GDK do the same."""
LOCAL_POINTERS = 20
"""Pointers of an AMP0 account that stock wallets use for change without asking the server."""

MAX_BEYOND = 1000
"""How far beyond the last issued pointer of an AMP0 account an explorer may show use."""
MAX_SCAN = 1_000_000
"""Highest index an ordinary wallet is followed to; an explorer could lead on for ever."""


def scan_end(request: ScanRequest, last_used: int | None) -> int:
    """How many indexes of one chain have to be looked at: ``0 … scan_end - 1``.

    An AMP0 account is read through every issued pointer and through 1…20, where stock wallets
    put change, and a gap beyond; other wallets through the last used index and a gap beyond.
    """
    end = request.to_index
    if request.is_amp0:
        end = max(end, LOCAL_POINTERS)
    if last_used is not None:
        end = max(end, last_used)
    elif not request.is_amp0 and request.to_index == 0:
        return GAP
    return end + GAP + 1


class Findings:
    """Histories, raw transactions and headers of one scan."""

    def __init__(self, request: ScanRequest) -> None:
        self.request = request
        self.seen: dict[Txid, TxStatus] = {}
        self.raw: dict[Txid, Transaction] = {}
        self.last_used: list[int | None] = list(request.last_used)
        self.keep: set[Txid] = set()
        """Known unconfirmed transactions that a truncated answer may have left out."""

        self.vanished: set[Txid] = set()
        """Listed, but gone when they were fetched."""

    def restart(self) -> None:
        """Forget the histories (the chain moved while they were read) but not the transactions."""
        self.seen.clear()
        self.keep.clear()
        self.vanished.clear()
        self.last_used = list(self.request.last_used)

    def add(self, chain: int, index: int, txid: Txid, status: TxStatus) -> bool:
        """Note that a transaction touches an address; whether its bytes have to be fetched."""
        last = self.last_used[chain]
        if last is None or index > last:
            self._believe(index)
            self.last_used[chain] = index
        before = self.seen.get(txid)
        if before is None:
            self.seen[txid] = status
            return self.is_new(txid)
        if not before.agrees(status):
            # Two addresses were asked at two moments. The block, if any, is the later one.
            self.seen[txid] = status if status.confirmed else before
        elif before.timestamp is None or before.block_hash is None:
            self.seen[txid] = status
        return False

    def _believe(self, index: int) -> None:
        request = self.request
        limit = request.to_index + MAX_BEYOND if request.is_amp0 else request.to_index + MAX_SCAN
        if index > limit:
            raise ChainError(
                f"the explorer shows use of address {index}, far beyond the last index {request.to_index}; "
                "read Amp0.last_index() again, and if it is right use another explorer"
            )

    def is_new(self, txid: Txid) -> bool:
        """Whether the bytes of a transaction have to be fetched."""
        return txid not in self.request.known and txid not in self.raw

    def take(self, txid: Txid, raw: bytes) -> Transaction:
        """Keep a fetched transaction; raises :class:`ChainError` when it is another one."""
        tx = self.raw[txid] = self.check(txid, raw)
        return tx

    @staticmethod
    def check(txid: Txid, raw: bytes) -> Transaction:
        """Parse what an explorer answered; raises :class:`ChainError` when it is not what was asked."""
        try:
            tx = Transaction.from_bytes(raw)
        except InvalidTransaction as error:
            raise ChainError(
                f"the explorer's bytes for transaction {txid} are none: {error}; try again, or another explorer"
            ) from None
        if tx.txid() != txid:
            raise ChainError(
                f"the explorer was asked for transaction {txid} and answered with {tx.txid()}; "
                "nothing of this scan was used. Try again, or another explorer"
            )
        return tx

    def missing_timestamps(self) -> set[BlockHash]:
        """Blocks whose time no answer told."""
        known = self.request.known
        blocks = set()
        for txid, status in self.seen.items():
            if status.confirmed and status.timestamp is None and status.block_hash is not None:
                before = known.get(txid)
                if before is None or not before.agrees(status) or before.timestamp is None:
                    blocks.add(status.block_hash)
        return blocks

    def add_headers(self, headers: dict[BlockHash, BlockHeader]) -> None:
        """Fill in block times from headers."""
        for txid, status in self.seen.items():
            header = headers.get(status.block_hash) if status.block_hash is not None else None
            if header is not None and status.timestamp is None:
                if header.height() != status.height:
                    raise ChainError(
                        f"the explorer says that transaction {txid} is at height {status.height}, and "
                        f"that its block is at {header.height()}; try again, or another explorer"
                    )
                self.seen[txid] = replace(status, timestamp=header.time())

    def update(self, tip: BlockHeader) -> Update | None:
        """The update, or ``None`` when nothing differs from what the request knew."""
        known = self.request.known
        statuses: dict[Txid, TxStatus] = {}
        fresh: list[Transaction] = []
        for txid, status in self.seen.items():
            if status.height is not None and status.height > tip.height():
                raise ChainError(
                    f"the explorer shows transaction {txid} at height {status.height}, above its own "
                    f"newest block {tip.height()}; try again, or another explorer"
                )
            before = known.get(txid)
            if before is None:
                fresh.append(self.raw[txid])
            elif before.agrees(status) and (before.timestamp is not None or status.timestamp is None):
                continue
            statuses[txid] = status
        removed = [txid for txid in known if txid not in self.seen and txid not in self.keep]
        request = self.request
        if (
            not statuses
            and not removed
            and request.tip is not None
            and request.tip.block_hash() == tip.block_hash()
            and tuple(self.last_used) == request.last_used
        ):
            return None
        return Update.of(
            base=request.state,
            tip=tip,
            transactions=fresh,
            statuses=statuses,
            removed=removed,
            last_used=self.last_used,
            to_index=request.to_index,
        )
