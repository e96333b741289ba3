"""C08: whoever moves the clock, by a day or a year, forward or back, gains nothing."""

from __future__ import annotations

import pytest

from amp0.server.refusal import ClockJumped
from amp0.server.store.engine import Store
from amp0.server.twofactor.clock import TrustedClock, load_mark, save_mark

START = 1_750_000_000.0
DAY, YEAR = 86_400, 365 * 86_400


class Times:
    """A wall clock and a monotonic one, moved apart from each other."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 5.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def clock(self, mark: float | None = None) -> TrustedClock:
        return TrustedClock(lambda: self.wall, lambda: self.monotonic, tolerance=300, max_gap=DAY, mark=mark)


def test_time_that_passes_is_believed() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(400):
        times.pass_(DAY)
        times.wall += 5
        assert clock.now() == times.wall
        clock.require_steady()


@pytest.mark.parametrize("jump", [-YEAR, -DAY, -301, 301, DAY, YEAR])
def test_c08_a_moved_clock_is_not_followed_and_loosens_nothing(jump: float) -> None:
    times = Times()
    clock = times.clock()
    times.pass_(60)
    times.wall += jump
    times.pass_(60)
    assert clock.now() == START + 120
    with pytest.raises(ClockJumped, match="clock was moved"):
        clock.require_steady()
    # Waiting does not make it right; setting it right does.
    times.pass_(10 * YEAR)
    with pytest.raises(ClockJumped):
        clock.require_steady()
    times.wall -= jump
    clock.require_steady()
    assert clock.now() == times.wall


@pytest.mark.parametrize("jump", [-299, 299])
def test_small_corrections_are_followed(jump: float) -> None:
    times = Times()
    clock = times.clock()
    times.wall += jump
    assert clock.now() == START + jump
    clock.require_steady()


def test_c08_many_small_steps_are_a_jump() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(3):
        times.pass_(1)
        times.wall += 150
        clock.now()
    with pytest.raises(ClockJumped):
        clock.require_steady()


def test_c08_over_a_restart_time_does_not_fall_back(store: Store) -> None:
    times = Times()
    with store.transaction() as db:
        assert load_mark(db) is None
        save_mark(db, START + DAY)
        save_mark(db, START)
        mark = load_mark(db)
    assert mark == START + DAY
    clock = times.clock(mark)
    assert clock.now() == START + DAY
    with pytest.raises(ClockJumped):
        clock.require_steady()


def test_c08_of_the_time_that_nobody_saw_a_day_counts() -> None:
    times = Times()
    assert times.clock(START - DAY).skipped == 0
    assert times.clock(START - YEAR).skipped == YEAR - DAY
    times.clock(START - YEAR).require_steady()
