"""No look-up of a decision reads a whole table, however large it is: each goes by an index, and the plan says so."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from amp0.server.policy import book, headcount, limits, lookups, outlook
from amp0.server.store.composed import Query, _compose
from amp0.server.store.engine import Store

QUERIES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": query
    for module in (book, headcount, limits, lookups, outlook)
    for name, query in vars(module).items()
    if isinstance(query, Query)
}
VALUES = {
    "ids": [b"a", b"b"], "rows": [1, 2], "asset": 1, "issuer": 1, "scripts": [b"a", b"b"], "accounts": [1, 2],
    "users": [1, 2], "txids": [b"a", b"b"], "outpoints": [(b"a", 1), (b"b", 2)], "rivals": [b"a"], "since": 5,
    "look_back": 4, "most": 10,
}  # fmt: skip


def plan(store: Store, name: str) -> list[str]:
    """What SQLite would do for a query."""
    statement = QUERIES[name]._statement
    with store.snapshot() as db:
        wanted = statement.compile(dialect=db.dialect).params.keys() & VALUES.keys()
        text = _compose(statement, db, {key: VALUES[key] for key in wanted})
        arguments = text.arguments({key: VALUES[key] for key in wanted})
        return [row.detail for row in db.exec_driver_sql("EXPLAIN QUERY PLAN " + text.sql, arguments)]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_by_an_index(store: Store, name: str) -> None:
    tables = set(sa.inspect(store.engine).get_table_names())
    scanned = [step for step in plan(store, name) if (found := re.match(r"SCAN (\w+)", step)) and found[1] in tables]
    assert scanned == []


def test_what_an_account_sent_long_ago_is_not_read_again(store: Store) -> None:
    """An exchange has a hundred thousand moves; those that are under way, or were sent late, are few."""
    used = [
        found.groups()
        for step in plan(store, "limits._SENT")
        if (found := re.match(r"SEARCH.* (ix\w+) (\(.*\))", step))
    ]
    assert used == [
        ("ix_asset_moves_account", "(asset=? AND account_id=? AND decided_at>?)"),
        ("ix_asset_txs_asset", "(asset=? AND state=?)"),
        ("ix_asset_txs_late", "(asset=? AND block_time>?)"),
    ]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_the_outputs_of_an_asset_are_not_read_one_by_one(store: Store, name: str) -> None:
    """There is an index by asset, and SQLite took it for each transaction that had ever been replaced."""
    steps = [step for step in plan(store, name) if "ix_asset_outputs_asset" in step]
    assert [step for step in steps if "account_id=?" not in step] == []


@pytest.mark.parametrize("name", ["lookups._BALANCES", "outlook._UNSETTLED"])
def test_what_an_account_had_once_is_not_read_again(store: Store, name: str) -> None:
    """An exchange has been paid a hundred thousand times, and has a few dozen coins."""
    here = "ix_asset_outputs_present (asset=? AND is_token=? AND account_id=?)"
    assert [step.partition("INDEX ")[2] for step in plan(store, name) if "asset_outputs" in step] == [here]


def test_the_look_ups_are_found() -> None:
    assert {"book._IN_FORCE", "limits._SENT", "lookups._BALANCES"} <= QUERIES.keys()
