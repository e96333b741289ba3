"""The reporter's notebook of the demo: which step it is at, who was asked what, and how long the answer took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the day begins."""

    number: int
    title: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """Somebody was asked for something, and answered after ``seconds``."""

    step: int
    whom: str
    asked: str
    answered: str
    seconds: float


Report = Callable[[Step | Exchange], None]


class Day:
    """Where we are, and the time each exchange took; ``report`` hears of all of it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._step = 0
        self._started = time.perf_counter()

    def step(self, title: str) -> None:
        """The next step begins."""
        self._step += 1
        self._report(Step(self._step, title))

    def ask(self, whom: str, asked: str, action: Callable[[], T], answered: Callable[[T], str] = str) -> T:
        """Do ``action``, and tell who was asked what and what came back."""
        started = time.perf_counter()
        value = action()
        seconds = time.perf_counter() - started
        self._report(Exchange(self._step, whom, asked, answered(value), seconds))
        return value

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._started
