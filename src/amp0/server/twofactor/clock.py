"""Time that decides about money: the wall clock, watched by the monotonic one.

Codes expire, locks end and resets take effect by the clock. Who moves it, by accident or not, must gain nothing.
So the wall clock is believed only as long as it goes as fast as the monotonic clock of this process, give or take
``tolerance`` an hour. After a jump, time goes on as the monotonic clock says, and whatever loosens two-factor is
refused until the wall clock agrees again or the server is started anew.

Over a restart there is no monotonic clock. The newest time ever seen is kept in the store: time never falls back
behind it, and of the time in which nobody looked at most ``max_gap`` counts towards the delays of resets
(:attr:`TrustedClock.skipped` is the rest, by which they are prolonged).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.refusal import ClockJumped
from amp0.server.store import schema

log = logging.getLogger("amp0.server.twofactor")

_ANCHOR_SECONDS = 3600.0
_MARK = "trusted_time"
_service = schema.service


class TrustedClock:
    """Seconds since 1970 that go forward only at the speed of time. Thread-safe.

    ``mark`` is the newest time seen before this process, None for a new store.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        tolerance: float,
        max_gap: float,
        mark: float | None = None,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._tolerance = tolerance
        self._lock = threading.Lock()
        self._jumped = False
        now = wall()
        start = now if mark is None else max(now, mark)
        self.skipped = 0.0 if mark is None else max(0.0, now - mark - max_gap)
        """Seconds that passed unseen before this process, beyond what counts."""
        self._anchor = start, monotonic()

    def now(self) -> float:
        """The time that can be relied on."""
        with self._lock:
            return self._look()

    def require_steady(self) -> None:
        """Refuse while the wall clock is away from the time that passed. Raises :class:`ClockJumped`."""
        with self._lock:
            self._look()
            jumped = self._jumped
        if jumped:
            raise ClockJumped(
                "The server's clock was moved, so nothing that loosens two-factor is done until its operator has "
                "looked at it; try again later"
            )

    def _look(self) -> float:
        started, since = self._anchor
        passed = max(0.0, self._monotonic() - since)
        expected, wall = started + passed, self._wall()
        jumped = abs(wall - expected) > self._tolerance
        if jumped is not self._jumped:
            self._jumped = jumped
            log.critical("clock %s wall=%.0f expected=%.0f", "jumped" if jumped else "is back", wall, expected)
        if jumped:
            return expected
        if passed >= _ANCHOR_SECONDS:
            # A clock that is set a little each time may not wander further than this an hour.
            self._anchor = wall, since + passed
        return wall


def load_mark(db: Connection) -> float | None:
    """The newest time that was seen, or None in a new store."""
    value = db.execute(sa.select(_service.c.value).where(_service.c.name == _MARK)).scalar_one_or_none()
    return None if value is None else float(int.from_bytes(value, "big"))


def save_mark(db: Connection, now: float) -> None:
    """Remember that it was ``now``; an earlier time changes nothing."""
    mark = load_mark(db)
    value = int(now).to_bytes(8, "big")
    if mark is None:
        db.execute(_service.insert().values(name=_MARK, value=value))
    elif now > mark:
        db.execute(_service.update().where(_service.c.name == _MARK).values(value=value))
