"""What time brings: resets take effect, notices go out, codes are forgotten, and the time itself is remembered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.engine import Connection

from amp0.server.refusal import ClockJumped
from amp0.server.store.engine import Store
from amp0.server.twofactor import clock, codes, notices, reset
from amp0.server.twofactor.factors import Factors

log = logging.getLogger("amp0.server.twofactor")

MARK_SECONDS = 60


class Delays(Protocol):
    """Something else that waits for its time, and must not be had sooner by moving the clock. A module may be one."""

    def is_due(self, db: Connection, now: int) -> bool:
        """Whether the time of something has come. Only reads, and quickly."""
        ...

    def apply_due(self, db: Connection, now: int) -> object:
        """Do what is due, inside a transaction."""
        ...

    def prolong(self, db: Connection, seconds: int) -> None:
        """Let all that waits wait so much longer."""
        ...


class Upkeep:
    """Called every few seconds, in a worker thread. ``others`` are what waits besides the resets."""

    def __init__(self, factors: Factors, store: Store, others: Sequence[Delays] = ()) -> None:
        self._factors = factors
        self._store = store
        self._others = tuple(others)
        self._next = 0.0

    def begin(self) -> None:
        """Once at the start: time that passed unseen, beyond what counts, is added to all delays."""
        skipped = int(self._factors.clock.skipped)
        if skipped:
            log.warning("time passed unseen, what waits waits longer seconds=%d", skipped)
            with self._store.transaction() as db:
                reset.prolong(db, skipped)
                for other in self._others:
                    other.prolong(db, skipped)
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
                others = [other for other in self._others if other.is_due(db, now)]
            for other in others:
                with self._store.transaction() as db:
                    other.apply_due(db, now)
            for user_id in due:
                with self._store.transaction() as db:
                    reset.complete(factors, db, user_id)
        while notices.send_due(factors, self._store):
            pass
