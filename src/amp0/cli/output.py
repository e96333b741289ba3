"""What commands say: tables for people or JSON for programs on stdout, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from amp0.network import Network

Command = TypeVar("Command", bound=Callable[..., Any])

LOG_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
"""A line of the log on stderr: time, level, part, sentence with ``name=value`` facts."""


def json_option(command: Command) -> Command:
    """Add ``--json``; the command gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: Any) -> None:
    """One JSON value on one line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def note(text: str) -> None:
    """A remark for the person; never part of the result."""
    click.echo(text, err=True)


@contextmanager
def progress(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show on stderr that something is under way, when somebody is looking."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout. Columns whose name ends in ``satoshi`` or is a number's are aligned right.

    Identifiers are never cut: a table wider than the terminal is printed as wide as it is.
    """
    import shutil
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column in {"satoshi", "index", "height", "fee", "net"}
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    cells = [[_cell(value) for value in row] for row in rows]
    for row in cells:
        table.add_row(*row)
    widths = [max([len(column), *(len(row[place]) for row in cells)]) + 3 for place, column in enumerate(columns)]
    width = max(shutil.get_terminal_size().columns, sum(widths))
    Console(file=sys.stdout, highlight=False, markup=False, width=width).print(table)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Name and value, one per line."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {_cell(value)}")


def asset_name(asset_id: str, network: Network) -> str:
    """``L-BTC`` for the policy asset, the asset id (display hex) for any other."""
    return "L-BTC" if asset_id == network.policy_asset() else asset_id


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
