"""What time brings: resets take effect, notices go out, codes are forgotten, and the time itself is remembered."""

from __future__ import annotations

import logging

from amp0.server.refusal import ClockJumped
from amp0.server.store.engine import Store
from amp0.server.twofactor import clock, codes, notices, reset
from amp0.server.twofactor.factors import Factors

log = logging.getLogger("amp0.server.twofactor")

MARK_SECONDS = 60


class Upkeep:
    """Called every few seconds, in a worker thread."""

    def __init__(self, factors: Factors, store: Store) -> None:
        self._factors = factors
        self._store = store
        self._next = 0.0

    def begin(self) -> None:
        """Once at the start: time that passed unseen, beyond what counts, is added to the delays of resets."""
        skipped = int(self._factors.clock.skipped)
        if skipped:
            log.warning("time passed unseen, two-factor resets wait longer seconds=%d", skipped)
            with self._store.transaction() as db:
                reset.prolong(db, skipped)
                # Together, so that a crash adds it once.
                clock.save_mark(db, self._factors.now())

    def run(self) -> None:
        """Do what is due. Raises what the store raises; nothing is half done."""
        factors = self._factors
        now = factors.now()
        if now >= self._next:
            with self._store.transaction() as db:
                clock.save_mark(db, now)
                codes.prune(factors, db)
            self._next = now + MARK_SECONDS
        try:
            factors.clock.require_steady()
        except ClockJumped:
            # Said by the clock itself; delays go on when it is right again.
            pass
        else:
            with self._store.snapshot() as db:
                due = reset.due(factors, db)
            for user_id in due:
                with self._store.transaction() as db:
                    reset.complete(factors, db, user_id)
        while notices.send_due(factors, self._store):
            pass
