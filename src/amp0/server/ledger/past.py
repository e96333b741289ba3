"""What happened to an asset: its transactions in blocks, and each output that moved some of it.

Both lists are pages of one order: by block and place within it, oldest first, unless somebody asks otherwise. Columns
to sort by are a closed list; a name from outside never reaches a statement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.server.ledger.sums import Asset, is_treasury
from amp0.server.ledger.units import CONFIRMED, MEMPOOL
from amp0.server.ledger.views import user_of
from amp0.server.store import schema
from amp0.server.store.asset_schema import asset_outputs, asset_txs

_outs, _txs, _accounts = asset_outputs, asset_txs, schema.accounts
_CHUNK = 400
_TIME = sa.func.coalesce(_txs.c.block_time, _txs.c.seen_at)
_POSITION = sa.func.coalesce(_txs.c.position, -1)
_CHAIN_ORDER: tuple[sa.ColumnElement[Any], ...] = (_txs.c.height, _POSITION, _txs.c.txid)
_TX_COLUMNS: Mapping[str, tuple[sa.ColumnElement[Any], ...]] = {
    "blockheight": _CHAIN_ORDER,
    "datetime": (_TIME, *_CHAIN_ORDER),
    "txid": (_txs.c.txid,),
}
_ACTIVITY_COLUMNS: Mapping[str, tuple[sa.ColumnElement[Any], ...]] = {
    **{name: (*columns, _outs.c.vout) for name, columns in _TX_COLUMNS.items()},
    "type": (_txs.c.kind, *_CHAIN_ORDER, _outs.c.vout),
    "amount": (_outs.c.satoshi, *_CHAIN_ORDER, _outs.c.vout),
    "vout": (_outs.c.vout, *_CHAIN_ORDER),
}


class UnknownColumn(ValueError):
    """There is no such column to sort this list by; ``columns`` are those that there are."""

    def __init__(self, name: str, columns: Collection[str]) -> None:
        super().__init__(f"cannot be sorted by {name!r}; choose one of {', '.join(sorted(columns))}")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order. ``count`` None is no limit; heights are inclusive."""

    start: int = 0
    count: int | None = None
    column: str = "blockheight"
    descending: bool = False
    height_start: int | None = None
    height_stop: int | None = None

    def of(self, query: sa.Select[Any], columns: Mapping[str, tuple[sa.ColumnElement[Any], ...]]) -> sa.Select[Any]:
        """The query in this order, cut to this part. Raises :class:`UnknownColumn`."""
        if self.column not in columns:
            raise UnknownColumn(self.column, columns)
        if self.height_start is not None:
            query = query.where(_txs.c.height >= self.height_start)
        if self.height_stop is not None:
            query = query.where(_txs.c.height <= self.height_stop)
        order = columns[self.column]
        query = query.order_by(*((column.desc() for column in order) if self.descending else order))
        # SQLite knows no OFFSET without a LIMIT; SQLAlchemy writes one for it.
        return query.offset(self.start).limit(self.count)


class Movement(NamedTuple):
    """An output that holds some of the asset, in the transaction that made it. ``kind`` is what it was part of."""

    kind: str
    time: int
    txid: Txid
    vout: int
    height: int
    satoshi: int
    gaid: str | None
    user_id: int | None
    is_treasury: bool
    abf: bytes
    vbf: bytes


class End(NamedTuple):
    """An input or output of the asset or its token: ``number`` is its vin or vout, ``satoshi`` None while sealed.

    ``txid`` and ``vout`` are the output, spent where this is an input. Factors are in internal order, zeros where
    unknown or explicit.
    """

    number: int
    txid: Txid
    vout: int
    is_token: bool
    satoshi: int | None
    gaid: str | None
    user_id: int | None
    is_treasury: bool
    is_spent: bool
    is_burnt: bool
    abf: bytes
    vbf: bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """A transaction in a block, with those of its ends that hold, or may hold, the asset or its token."""

    txid: Txid
    kind: str
    height: int
    time: int
    inputs: list[End] = field(default_factory=list)
    outputs: list[End] = field(default_factory=list)


_ZEROS = bytes(32)


def activities(db: Connection, asset: Asset, page: Page) -> list[Movement]:
    """The known outputs of an asset in blocks, spent or not. Raises :class:`UnknownColumn`."""
    query = (
        sa.select(
            sa.case((_outs.c.is_burnt == 1, "burn"), (_txs.c.kind == "burn", "transfer"), else_=_txs.c.kind),
            _TIME,
            _outs.c.txid,
            _outs.c.vout,
            _txs.c.height,
            _outs.c.satoshi,
            _accounts.c.receiving_id,
            user_of(_outs.c.account_id, asset.issuer_id),
            is_treasury(),
            _outs.c.abf,
            _outs.c.vbf,
        )
        .select_from(_txs)
        .join(_outs, (_outs.c.txid == _txs.c.txid) & (_outs.c.asset == _txs.c.asset))
        .join(_accounts, _accounts.c.id == _outs.c.account_id, isouter=True)
        .where(
            _txs.c.asset == asset.id,
            _txs.c.state == CONFIRMED,
            _outs.c.is_token == 0,
            _outs.c.satoshi.is_not(None),
        )
    )
    return [
        Movement(kind, time, Txid(txid), vout, height, satoshi, gaid, user_id, bool(ours), abf, vbf)
        for kind, time, txid, vout, height, satoshi, gaid, user_id, ours, abf, vbf in db.execute(
            page.of(query, _ACTIVITY_COLUMNS)
        )
    ]


def transactions(db: Connection, asset: Asset, page: Page) -> list[Moved]:
    """Transactions of an asset or its token in blocks. Raises :class:`UnknownColumn`."""
    return _filled(db, asset, page.of(_moved(asset), _TX_COLUMNS))


def transaction(db: Connection, asset: Asset, txid: Txid) -> Moved | None:
    """One transaction in a block, None when the asset has no such."""
    found = _filled(db, asset, _moved(asset).where(_txs.c.txid == bytes(txid)))
    return found[0] if found else None


def _moved(asset: Asset) -> sa.Select[Any]:
    """Transactions in blocks that issue or burn the asset, or have at least one known end; others of which nothing is
    known may move something else."""
    known = (_outs.c.asset == _txs.c.asset) & _outs.c.satoshi.is_not(None)
    moves = sa.exists().where(_outs.c.txid == _txs.c.txid, known) | sa.exists().where(
        _outs.c.spent_by == _txs.c.txid, known
    )
    return sa.select(_txs.c.txid, _txs.c.kind, _txs.c.height, _TIME).where(
        _txs.c.asset == asset.id, _txs.c.state == CONFIRMED, moves | (_txs.c.kind != "transfer")
    )


def _filled(db: Connection, asset: Asset, query: sa.Select[Any]) -> list[Moved]:
    found = [Moved(Txid(txid), kind, height, time) for txid, kind, height, time in db.execute(query)]
    by_txid = {bytes(moved.txid): moved for moved in found}
    wanted = list(by_txid)
    for i in range(0, len(wanted), _CHUNK):
        chunk = wanted[i : i + _CHUNK]
        for txid, end in _ends(db, asset, _outs.c.txid, _outs.c.vout, chunk):
            by_txid[txid].outputs.append(end)
        for txid, end in _ends(db, asset, _outs.c.spent_by, _outs.c.spent_vin, chunk):
            by_txid[txid].inputs.append(end)
    return found


def _ends(
    db: Connection, asset: Asset, by: sa.Column[Any], index: sa.Column[Any], txids: Sequence[bytes]
) -> list[tuple[bytes, End]]:
    """(txid, end) of outputs, or of inputs, in order; a sealed one that may hold both is listed once."""
    rows = db.execute(
        sa.select(
            by.label("at"),
            index.label("number"),
            _outs.c.txid,
            _outs.c.vout,
            _outs.c.is_token,
            _outs.c.satoshi,
            _outs.c.spent_state,
            _outs.c.is_burnt,
            _outs.c.abf,
            _outs.c.vbf,
            _accounts.c.receiving_id,
            user_of(_outs.c.account_id, asset.issuer_id).label("user_id"),
            is_treasury().label("is_treasury"),
        )
        .select_from(_outs)
        .join(_accounts, _accounts.c.id == _outs.c.account_id, isouter=True)
        .where(_outs.c.asset == asset.id, by.in_(txids))
        .order_by(by, index, _outs.c.is_token)
    )
    ends: list[tuple[bytes, End]] = []
    seen: set[tuple[bytes, int]] = set()
    for row in rows:
        if (row.at, row.number) in seen:
            continue
        seen.add((row.at, row.number))
        end = End(
            number=row.number,
            txid=Txid(row.txid),
            vout=row.vout,
            is_token=bool(row.is_token),
            satoshi=row.satoshi,
            gaid=row.receiving_id,
            user_id=row.user_id,
            is_treasury=bool(row.is_treasury) and row.receiving_id is None,
            is_spent=row.spent_state in (MEMPOOL, CONFIRMED),
            is_burnt=bool(row.is_burnt),
            abf=row.abf or _ZEROS,
            vbf=row.vbf or _ZEROS,
        )
        ends.append((bytes(row.at), end))
    return ends
