"""``python -m bench [--only ROW …] [--rounds N] [--scan N] [--json FILE]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from bench import floors, report
from bench.capacity import capacity
from bench.distribution import distribution
from bench.holders import holders
from bench.others import watched
from bench.policy import policy
from bench.rows import ROWS, SCANNED, Bench, Row
from bench.world import world

EVERYTHING = {**ROWS, "capacity": capacity, "distribution": distribution, "policy": policy, "holders": holders}
"""Name for ``--only`` → the function that measures one or more rows."""


def main() -> int:
    """Measure, print, write. Exit code 1 when a target is missed, so that a script can tell."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure amp0 beside LWK.")
    parser.add_argument("--only", choices=EVERYTHING, action="append", help="measure only this; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="more rounds, more samples (3)")
    parser.add_argument("--scan", type=int, default=SCANNED, help="transactions to scan; the target is for 1,000")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where to write (bench.json)")
    chosen = parser.parse_args()

    console = Console(width=None if sys.stdout.isatty() else 160)
    progress = Console(stderr=True)
    before = report.machine()
    report.show_machine(console, before)
    progress.print("measuring the primitives …")
    primitives = floors.measure(10 * chosen.rounds)
    rows: list[Row] = []
    with world() as here:
        bench = Bench(here, primitives, chosen.rounds, chosen.scan)
        for name in chosen.only or EVERYTHING:
            progress.print(f"measuring: {name} …")
            found: list[Row] = []
            others = watched(here.processes(), lambda name=name, found=found: found.extend(EVERYTHING[name](bench)))  # type: ignore[misc]
            for row in found:
                row.others = others
            rows += found
            primitives.sample(5 * chosen.rounds)
        no_lwk = here.no_lwk
    report.show(console, rows, primitives, no_lwk)
    report.write(chosen.json, rows, primitives, before, no_lwk)
    console.print(f"All samples are in {chosen.json}.")
    return 1 if any(row.reached is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
