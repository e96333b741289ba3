"""Samples of one measurement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Samples:
    """Raw samples in milliseconds (or the unit of their row), in the order they were taken."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def fastest(self) -> float:
        return min(self.values)

    @property
    def largest(self) -> float:
        return max(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        return {"fastest": self.fastest, "median": self.median, "samples": self.values}


def timed(work: Callable[[], object]) -> float:
    """Milliseconds one call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def alternate(rounds: int, ours: Callable[[], float], theirs: Callable[[], float] | None) -> tuple[Samples, Samples]:
    """Samples of two sides, taken in turns; which goes first changes every round."""
    mine, other = Samples(), Samples()
    for sides in _turns(rounds, theirs is not None):
        for side in sides:
            if side == "ours":
                mine.add(ours())
            elif theirs is not None:
                other.add(theirs())
    return mine, other


def _turns(rounds: int, both: bool) -> Iterator[tuple[str, ...]]:
    for i in range(rounds):
        if not both:
            yield ("ours",)
        else:
            yield ("ours", "theirs") if i % 2 else ("theirs", "ours")
