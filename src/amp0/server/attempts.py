"""Bounds on guessing: a bucket of tokens for each name and each peer, in memory, and an alarm over all of them.

A wrong guess takes a token, time gives it back, and an empty bucket refuses before any work is done. Whoever goes on
guessing as soon as a token is there waits twice as long for each next one. Correct logins cost nothing, so nobody is
slowed down by his own traffic, and nobody waits for what somebody else did to another name from another place. Buckets
that are full again are forgotten.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from amp0.server.refusal import TooManyAttempts

log = logging.getLogger("amp0.server.attempts")

_MOST_BUCKETS = 100_000
_MOST_DOUBLINGS = 8
"""With half a minute for the first token, the longest wait for one is an hour."""
_ALARM_SECONDS = 60.0


def place_of(peer: str) -> str:
    """What an address counts as: all of an IPv6 network of 64 bits as one, because whoever has one of its addresses
    usually has the 2⁶⁴ others."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


@dataclass(slots=True)
class _Bucket:
    missing: float = 0.0
    since: float = 0.0
    doublings: int = 0


class Attempts:
    """Token buckets by key. Thread-safe; ``clock`` is in seconds and monotonic enough."""

    def __init__(self, refill_seconds: float, clock: Callable[[], float]) -> None:
        self._refill_seconds = refill_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def check(self, key: str, capacity: int, what: str = "wrong logins") -> None:
        """Refuse when the bucket is empty. Raises :class:`TooManyAttempts`."""
        with self._lock:
            bucket = self._now(key)
        if bucket.missing > capacity - 1:
            wait = int((bucket.missing - capacity + 1) * self._seconds(bucket)) + 1
            refusal = TooManyAttempts(f"Too many {what}; wait {wait} seconds and try again")
            refusal.seconds = wait
            raise refusal

    def failed(self, key: str, cost: float = 1.0, *, capacity: int | None = None) -> None:
        """Take a token for a wrong guess. With ``capacity``, taking the last one doubles the time to the next."""
        with self._lock:
            bucket = self._now(key)
            bucket.missing += cost
            if capacity is not None and bucket.missing > capacity - 1:
                bucket.doublings = min(bucket.doublings + 1, _MOST_DOUBLINGS)
            if key not in self._buckets and len(self._buckets) >= _MOST_BUCKETS:
                self._forget()
            self._buckets[key] = bucket

    def _now(self, key: str) -> _Bucket:
        """The bucket as it is at this moment; one that has been full is as good as new."""
        known, now = self._buckets.get(key), self._clock()
        if known is None:
            return _Bucket(since=now)
        missing = known.missing - max(0.0, now - known.since) / self._seconds(known)
        return _Bucket(missing, now, known.doublings) if missing > 0 else _Bucket(since=now)

    def _seconds(self, bucket: _Bucket) -> float:
        return self._refill_seconds * float(1 << max(0, bucket.doublings - 1))

    def _forget(self) -> None:
        self._buckets = {key: self._now(key) for key in self._buckets}
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.missing > 0}
        if len(self._buckets) >= _MOST_BUCKETS:
            # An attack with this many names and peers: keep those who guessed most.
            keep = sorted(self._buckets.items(), key=lambda item: item[1].missing, reverse=True)
            self._buckets = dict(keep[: _MOST_BUCKETS // 2])


class Alarm:
    """Counts what goes wrong anywhere, and says when it is too much in a minute: buckets see one name at a time."""

    def __init__(self, threshold: int, clock: Callable[[], float], what: str = "wrong logins") -> None:
        self._threshold = threshold
        self._clock = clock
        self._what = what
        self._lock = threading.Lock()
        self._count = 0
        self._began = 0.0

    def count(self) -> bool:
        """One more. True when the alarm was raised by it."""
        with self._lock:
            now = self._clock()
            if not 0 <= now - self._began < _ALARM_SECONDS:
                self._began, self._count = now, 0
            self._count += 1
            raised = self._count == self._threshold
        if raised:
            log.critical(
                "alarm: %d %s within a minute, from all peers for all names together; somebody may be guessing",
                self._threshold,
                self._what,
            )
        return raised
