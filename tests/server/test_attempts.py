from __future__ import annotations

import pytest

from amp0.server import attempts
from amp0.server.attempts import Attempts
from amp0.server.refusal import TooManyAttempts

from .talking import Clock


def test_an_empty_bucket_refuses_until_time_refills_it() -> None:
    clock = Clock()
    buckets = Attempts(10.0, clock)
    for _ in range(3):
        buckets.check("a", 3)
        buckets.failed("a")
    with pytest.raises(TooManyAttempts, match="wait"):
        buckets.check("a", 3)
    buckets.check("b", 3)
    clock.now += 9.9
    with pytest.raises(TooManyAttempts):
        buckets.check("a", 3)
    clock.now += 0.2
    buckets.check("a", 3)
    buckets.failed("a")
    with pytest.raises(TooManyAttempts):
        buckets.check("a", 3)


def test_the_text_says_how_long_to_wait() -> None:
    clock = Clock()
    buckets = Attempts(30.0, clock)
    buckets.failed("a", cost=2)
    with pytest.raises(TooManyAttempts, match="wait 61 seconds"):
        buckets.check("a", 1)
    clock.now += 61
    buckets.check("a", 1)


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    clock = Clock()
    buckets = Attempts(10.0, clock)
    buckets.failed("a")
    clock.now -= 1000
    with pytest.raises(TooManyAttempts):
        buckets.check("a", 1)


def test_memory_is_bounded_and_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_MOST_BUCKETS", 10)
    clock = Clock()
    buckets = Attempts(10.0, clock)
    buckets.failed("worst", cost=100)
    for n in range(1000):
        buckets.failed(f"name{n}")
    assert len(buckets._missing) <= 10
    with pytest.raises(TooManyAttempts):
        buckets.check("worst", 5)
    clock.now += 60
    for n in range(20):
        buckets.failed(f"later{n}")
    assert not any(key.startswith("name") for key in buckets._missing)
