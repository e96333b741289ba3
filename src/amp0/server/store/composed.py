"""Queries that are asked for every signature: composed once for each database, and then only run.

SQLAlchemy looks a statement up in its cache and expands the lists in it each time, which costs more than SQLite takes
to answer. A :class:`Query` keeps the text instead, one for each length of its lists; lists are filled up to a power of
two by saying a value twice, which means the same to ``IN``, so that there are few.

Values are integers, texts and bytes, as the driver takes and gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.elements.transaction import OutPoint


class Query:
    """A query with bound parameters; those that expand get a list, which must not be empty."""

    def __init__(self, statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> None:
        self._statement = statement
        self._texts: dict[tuple[Any, ...], _Text] = {}

    def __call__(self, db: Connection, **values: Any) -> Sequence[Row[Any]]:
        """The rows."""
        filled = {name: _filled(value) if type(value) is list else value for name, value in values.items()}
        key = (db.dialect.name, *(len(value) if type(value) is list else 0 for value in filled.values()))
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = _compose(self._statement, db, filled)
        return db.exec_driver_sql(text.sql, text.arguments(filled)).all()


def plain_rows(db: Connection, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """All rows as the driver gives them, for lists so long that naming the columns of each row would be felt."""
    with db.execute(query) as result:
        cursor = result.cursor
        assert cursor is not None, "a SELECT has rows"
        return list(cursor.fetchall())


@dataclass(frozen=True, slots=True)
class _Text:
    """The text for one database and these lengths of lists. ``names`` has its parameters in their order, None where
    they go by name; ``places`` says from which value they come, and ``constants`` are in the query itself."""

    sql: str
    names: tuple[str, ...] | None
    places: Mapping[str, tuple[str, int | None]]
    constants: Mapping[str, Any]

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        flat = {name: _flat(value) for name, value in values.items()}
        named = dict(self.constants)
        for name, (parameter, i) in self.places.items():
            named[name] = flat[parameter] if i is None else flat[parameter][i]
        return named if self.names is None else tuple([named[name] for name in self.names])


def _compose(statement: sa.Select[Any] | sa.CompoundSelect[Any], db: Connection, values: Mapping[str, Any]) -> _Text:
    state = statement.compile(dialect=db.dialect).construct_expanded_state(dict(values))
    places: dict[str, tuple[str, int | None]] = {}
    for parameter in values:
        expanded = state.parameter_expansion.get(parameter)
        if expanded is None:
            places[parameter] = parameter, None
        else:
            places |= {name: (parameter, i) for i, name in enumerate(expanded)}
    constants = {name: value for name, value in state.parameters.items() if name not in places}
    return _Text(state.statement, None if state.positiontup is None else tuple(state.positiontup), places, constants)


def _flat(value: Any) -> Any:
    if type(value) is list and type(value[0]) is tuple:
        return [part for pair in value for part in pair]
    return value


def among(name: str) -> sa.BindParameter[Any]:
    """A list, for ``column.in_(among("names"))``."""
    return sa.bindparam(name, expanding=True)


def at(prevouts: Sequence[OutPoint]) -> dict[str, list[Any]]:
    """The parameters of a query with :func:`~amp0.server.store.outpoints.is_one_of` in it."""
    pairs = [(bytes(prevout.txid()), prevout.vout()) for prevout in prevouts]
    return {"txids": list(dict.fromkeys(txid for txid, _ in pairs)), "outpoints": pairs}


def _filled(values: list[Any]) -> list[Any]:
    size = 1 << (len(values) - 1).bit_length()
    return values + values[-1:] * (size - len(values))
