"""The ledger as one of the cosigner's books: what is signed is entered with the decision to sign it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.server.cosign_checks import Spend
from amp0.server.ledger import book


class LedgerRecorder:
    """A :class:`~amp0.server.cosigner.Recorder`. ``clock`` counts seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def record(self, db: Connection, spend: Spend) -> None:
        """Promise the outputs of managed assets, with the openings that the cosigner has proven."""
        book.record_cosigned(db, spend.tx, spend.openings, self._clock())

    def replaced(self, db: Connection, txids: Sequence[Txid]) -> None:
        """What these had promised is promised no more."""
        for txid in txids:
            book.forget_promise(db, txid)
