"""No look-up of a decision reads a whole table, however large it is: each goes by an index, and the plan says so."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from amp0.server.policy import book, limits, lookups
from amp0.server.store.composed import Query, _compose
from amp0.server.store.engine import Store

QUERIES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": query
    for module in (book, limits, lookups)
    for name, query in vars(module).items()
    if isinstance(query, Query)
}
VALUES = {
    "ids": [b"a", b"b"], "rows": [1, 2], "asset": 1, "issuer": 1, "scripts": [b"a", b"b"], "accounts": [1, 2],
    "users": [1, 2], "txids": [b"a", b"b"], "outpoints": [(b"a", 1), (b"b", 2)], "rivals": [b"a"], "since": 5,
    "look_back": 4, "most": 10,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_by_an_index(store: Store, name: str) -> None:
    statement = QUERIES[name]._statement
    with store.snapshot() as db:
        wanted = statement.compile(dialect=db.dialect).params.keys() & VALUES.keys()
        text = _compose(statement, db, {key: VALUES[key] for key in wanted})
        arguments = text.arguments({key: VALUES[key] for key in wanted})
        rows = db.exec_driver_sql("EXPLAIN QUERY PLAN " + text.sql, arguments).all()
    tables = set(sa.inspect(store.engine).get_table_names())
    scanned = [row.detail for row in rows if (found := re.match(r"SCAN (\w+)", row.detail)) and found[1] in tables]
    assert scanned == []


def test_there_are_ten_look_ups_and_a_few_more() -> None:
    assert 10 <= len(QUERIES) <= 16
