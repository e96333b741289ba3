"""Bounds on guessing: a bucket of tokens for each name and each peer, in memory.

A wrong guess takes a token, time gives it back, and an empty bucket refuses before any work is done. Correct logins
cost nothing, so nobody is slowed down by his own traffic. Buckets that are full again are forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from amp0.server.refusal import TooManyAttempts

_MOST_BUCKETS = 100_000


class Attempts:
    """Token buckets by key. Thread-safe; ``clock`` is in seconds and monotonic enough."""

    def __init__(self, refill_seconds: float, clock: Callable[[], float]) -> None:
        self._refill_seconds = refill_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # key → (tokens missing, as of when)
        self._missing: dict[str, tuple[float, float]] = {}

    def check(self, key: str, capacity: int, what: str = "wrong logins") -> None:
        """Refuse when the bucket is empty. Raises :class:`TooManyAttempts`."""
        with self._lock:
            missing = self._now_missing(key)
        if missing > capacity - 1:
            wait = int((missing - capacity + 1) * self._refill_seconds) + 1
            raise TooManyAttempts(f"Too many {what}; wait {wait} seconds and try again")

    def failed(self, key: str, cost: float = 1.0) -> None:
        """Take a token for a wrong guess."""
        with self._lock:
            missing = self._now_missing(key) + cost
            if len(self._missing) >= _MOST_BUCKETS:
                self._forget()
            self._missing[key] = (missing, self._clock())

    def _now_missing(self, key: str) -> float:
        missing, since = self._missing.get(key, (0.0, 0.0))
        return max(0.0, missing - max(0.0, self._clock() - since) / self._refill_seconds)

    def _forget(self) -> None:
        now = self._clock()
        self._missing = {
            key: (missing, since)
            for key, (missing, since) in self._missing.items()
            if missing > (now - since) / self._refill_seconds
        }
        if len(self._missing) >= _MOST_BUCKETS:
            # An attack with this many names and peers: keep those who guessed most.
            keep = sorted(self._missing.items(), key=lambda item: item[1][0], reverse=True)
            self._missing = dict(keep[: _MOST_BUCKETS // 2])
