from __future__ import annotations

import logging

import pytest

from amp0.server import attempts
from amp0.server.attempts import Alarm, Attempts, place_of
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
    with pytest.raises(TooManyAttempts, match="wait 61 seconds") as refused:
        buckets.check("a", 1)
    assert refused.value.seconds == 61
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
    assert len(buckets._buckets) <= 10
    with pytest.raises(TooManyAttempts):
        buckets.check("worst", 5)
    clock.now += 60
    for n in range(20):
        buckets.failed(f"later{n}")
    assert not any(key.startswith("name") for key in buckets._buckets)


def waits(buckets: Attempts, clock: Clock, capacity: int, count: int) -> list[int]:
    """How long somebody has to wait for each next guess, who guesses wrong as soon as he may."""
    found = []
    for _ in range(count):
        waited = 0
        while True:
            try:
                buckets.check("a", capacity)
                break
            except TooManyAttempts:
                clock.now += 1
                waited += 1
        buckets.failed("a", capacity=capacity)
        found.append(waited)
    return found


def test_b04_guessing_on_makes_each_next_wait_twice_as_long() -> None:
    clock = Clock()
    buckets = Attempts(30.0, clock)
    assert waits(buckets, clock, 3, 14) == [0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3840, 3840, 3840, 3840]
    # Whoever leaves it alone begins anew: three tokens of 3,840 seconds later.
    clock.now += 3 * 3840
    assert waits(buckets, clock, 3, 4) == [0, 0, 0, 30]


def test_a_budget_without_a_capacity_refills_evenly() -> None:
    clock = Clock()
    buckets = Attempts(10.0, clock)
    for _ in range(5):
        buckets.failed("a")
    clock.now += 50.1
    buckets.check("a", 1)


@pytest.mark.parametrize(("failures", "alarms"), [(4, 0), (5, 1), (6, 1), (50, 1)])
def test_b04_the_alarm_at_its_limit(caplog: pytest.LogCaptureFixture, failures: int, alarms: int) -> None:
    clock = Clock()
    alarm = Alarm(5, clock)
    with caplog.at_level(logging.CRITICAL):
        assert sum(alarm.count() for _ in range(failures)) == alarms
    assert len([record for record in caplog.records if "alarm" in record.message]) == alarms


def test_b04_the_alarm_is_raised_again_in_the_next_minute_and_not_by_a_trickle() -> None:
    clock = Clock()
    alarm = Alarm(5, clock)
    assert [alarm.count() for _ in range(5)].count(True) == 1
    clock.now += 60
    assert [alarm.count() for _ in range(5)].count(True) == 1
    for _ in range(30):
        clock.now += 16
        assert not alarm.count()


@pytest.mark.parametrize(
    ("peer", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("a proxy's word", "a proxy's word"),
        ("", ""),
    ],
)
def test_what_an_address_counts_as(peer: str, place: str) -> None:
    assert place_of(peer) == place
