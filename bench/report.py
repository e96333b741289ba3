"""The machine, the table, and ``bench.json``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.floors import ORIGIN, Floors
from bench.rows import Row

PACKAGES = ("amp0", "lwk", "wallycore", "cryptography", "msgspec", "httptools", "uvloop", "sqlalchemy")

BUSY = 0.05
"""From which share on other programs are worth a warning."""


def machine() -> dict[str, Any]:
    """What the numbers were made on."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit, with a plus sign when the tree differs from it."""
    root = Path(__file__).parent.parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def show_machine(console: Console, before: dict[str, Any]) -> None:
    """One paragraph about the machine."""
    load = ", ".join(f"{value:.2f}" for value in before["load"] or ())
    console.print(f"{before['cpu']}, {before['cores']} cores, load {load}")
    console.print(f"{before['system']}, Python {before['python']}, commit {before['commit']}")


def show(console: Console, rows: Sequence[Row], floors: Floors, no_lwk: str) -> None:
    """The table, and what to know when reading it."""
    table = Table(title="best sample, median in brackets; milliseconds unless said otherwise")
    for column in ("", "ours", "lwk", "× lwk", "floor here", "published", "× floor", "others", "target", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in rows:
        faster = "" if row.faster_floor is None else f"{row.faster_floor:.2f} ({row.faster_median:.2f})"
        published = f"{row.floors.published(row.task):,.1f}" if row.floors and row.task else ""
        unit = "" if row.unit == "ms" else f" {row.unit}"
        table.add_row(
            row.name,
            f"{row.best:,.1f} ({row.ours.median:,.1f}){unit}",
            f"{row.lwk.fastest:,.1f} ({row.lwk.median:,.1f})" if row.lwk and row.lwk.values else "",
            faster,
            f"{row.floor_here:,.1f}" if row.floor_here else "",
            published,
            f"{row.over_floor:.2f}" if row.over_floor else "",
            "" if row.others is None else f"{row.others:.0%}",
            str(row.target),
            {True: "[green]reached[/green]", False: "[red]missed[/red]", None: ""}[row.reached],
        )
    console.print(table)
    console.print(
        f"Floors are for one thread: sums of what the primitives cost here, in this run; published: {ORIGIN}. "
        f"A range proof takes {floors.pace():.2f} times as long here as there."
    )
    if any((row.others or 0.0) > BUSY for row in rows):
        console.print(
            "[yellow]Others: the share of all cores that other programs used meanwhile. What runs on two cores cannot "
            "reach its target while somebody else uses one of them; measure again on an idle machine.[/yellow]"
        )
    if no_lwk:
        console.print(f"[red]LWK IS NOT MEASURED: {no_lwk}. Rows beside LWK have no verdict.[/red]")


def write(path: Path, rows: Sequence[Row], floors: Floors, before: dict[str, Any], no_lwk: str) -> None:
    """Everything, raw samples included."""
    report = {
        "machine": before | {"load_at_the_end": list(os.getloadavg()) if hasattr(os, "getloadavg") else None},
        "no_lwk": no_lwk or None,
        "floors": floors.to_json(),
        "rows": [row.to_json() for row in rows],
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
