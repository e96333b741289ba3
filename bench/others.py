"""How much of the machine somebody else used meanwhile: a row on two cores cannot be judged while another has one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Processor seconds at one moment: of the whole machine, and of ourselves with our processes."""

    at: float
    machine: float | None
    own: float

    @classmethod
    def now(cls, processes: Sequence[int]) -> Usage:
        """Read it; ``processes`` are those that run for us (children that have ended count by themselves)."""
        mine = os.times()
        running = sum(cpu_seconds(pid) or 0.0 for pid in processes)
        own = mine.user + mine.system + mine.children_user + mine.children_system + running
        return cls(time.perf_counter(), _machine_seconds(), own)

    def others_until(self, later: Usage) -> float | None:
        """The share of all cores (0…1) that was used by somebody else; ``None`` where /proc does not tell."""
        if self.machine is None or later.machine is None:
            return None
        used = (later.machine - self.machine) - (later.own - self.own)
        return max(0.0, used / ((later.at - self.at) * (os.cpu_count() or 1)))


def watched(processes: Sequence[int], work: Callable[[], None]) -> float | None:
    """Do something; the share of all cores that somebody else used meanwhile."""
    before = Usage.now(processes)
    work()
    return before.others_until(Usage.now(processes))


def cpu_seconds(pid: int) -> float | None:
    """Processor time a process has used, all threads; ``None`` where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def _machine_seconds() -> float | None:
    try:
        numbers = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, soft, steal = (int(number) for number in numbers[:8])
    return (user + nice + system + irq + soft + steal) / float(os.sysconf("SC_CLK_TCK"))
