"""Rows by outpoint, asked so that every database takes the index.

SQLite has no index for a list of pairs: ``(txid, vout) IN (…)`` alone reads a whole table, with every proof in it.
Naming the txids by themselves as well costs nothing and lets it look them up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from amp0.elements.transaction import OutPoint


def is_one_of(txid: sa.ColumnElement[bytes], vout: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether a row is at one of the outpoints that :func:`these` binds."""
    return txid.in_(sa.bindparam("txids", expanding=True)) & sa.tuple_(txid, vout).in_(
        sa.bindparam("outpoints", expanding=True)
    )


def these(outpoints: Iterable[OutPoint]) -> dict[str, list[Any]]:
    """The parameters of a statement with :func:`is_one_of` in it."""
    pairs = [(bytes(outpoint.txid()), outpoint.vout()) for outpoint in outpoints]
    return {"txids": sorted({txid for txid, _ in pairs}), "outpoints": pairs}
