"""What transactions prove about outputs that nobody opened.

A transaction neither makes nor destroys anything but what it issues, so for each unit::

    known inputs + sealed inputs + issued = known outputs + sealed outputs

Where the known parts are equal and only one side has sealed rows, those hold nothing of the unit, and need not be
followed any further: an issuer's node makes blinded L-BTC change in all that it sends, and without this every coin
that ever came near would be a suspect. What is proven is proven for ever, whatever becomes of the transaction. Taking
a row away may settle its spender, or the transaction that made it, and so on. Nothing is concluded while what was
issued is not known, which is also how a transaction is marked whose outputs are not followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import MAX_SATOSHI
from amp0.server.ledger.units import GONE, Unit
from amp0.server.store.asset_schema import asset_outputs, asset_txs, assets

_outs, _txs = asset_outputs, asset_txs
_COLUMNS = (_outs.c.txid, _outs.c.vout, _outs.c.asset, _outs.c.is_token, _outs.c.satoshi, _outs.c.is_burnt)
_MADE = sa.select(*_COLUMNS, _outs.c.spent_by).where(_outs.c.txid == sa.bindparam("wanted"))
_SPENT = sa.select(*_COLUMNS, _outs.c.spent_by).where(_outs.c.spent_by == sa.bindparam("wanted"))
_MOVES = (
    sa.select(_txs.c.asset, _txs.c.state, _txs.c.kind, _txs.c.issued, _txs.c.burned, assets.c.tokens)
    .join(assets, assets.c.id == _txs.c.asset)
    .where(_txs.c.txid == sa.bindparam("wanted"))
)


def settle(db: Connection, txids: Iterable[Txid]) -> None:
    """Draw every conclusion from these transactions: count what they burn, and take away rows that hold nothing."""
    waiting = set(txids)
    while waiting:
        waiting |= _settle(db, waiting.pop())


def _settle(db: Connection, txid: Txid) -> set[Txid]:
    """The transactions that may have something to conclude from what was concluded here."""
    moves = _rows(db, _MOVES, txid)
    if not moves or all(move.state == GONE for move in moves):
        # What is gone has freed its inputs; it is settled when it comes back.
        return set()
    made, spent = _rows(db, _MADE, txid), _rows(db, _SPENT, txid)
    affected: set[Txid] = set()
    for move in moves:
        nothing = _empty(move, made, spent)
        for row in nothing:
            _take_away(db, row)
            neighbour = row.spent_by if row.txid == bytes(txid) else row.txid
            if neighbour is not None:
                affected.add(Txid(neighbour))
        held = [row for row in (*made, *spent) if row.asset == move.asset and row not in nothing]
        here = (_txs.c.txid == bytes(txid)) & (_txs.c.asset == move.asset)
        if not held and move.kind == "transfer":
            db.execute(_txs.delete().where(here))
            continue
        # What is open cannot add up to more (consensus); what was hidden may, and then shows as unaccounted.
        burned = min(
            MAX_SATOSHI,
            sum(row.satoshi or 0 for row in made if row.asset == move.asset and row.is_burnt and not row.is_token),
        )
        if burned != move.burned:
            kind = "burn" if move.kind == "transfer" else move.kind
            db.execute(_txs.update().where(here).values(burned=burned, kind=kind))
    return affected


def _rows(db: Connection, query: sa.Select[Any], txid: Txid) -> Sequence[sa.Row[Any]]:
    return db.execute(query, {"wanted": bytes(txid)}).all()


def _empty(move: sa.Row[Any], made: Iterable[sa.Row[Any]], spent: Iterable[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """The sealed rows of one asset and its token that hold nothing."""
    nothing: list[sa.Row[Any]] = []
    for unit in (Unit(move.asset, False), Unit(move.asset, True)):
        outs = [row for row in made if Unit.of(row) == unit]
        ins = [row for row in spent if Unit.of(row) == unit]
        sealed_in = [row for row in ins if row.satoshi is None]
        sealed_out = [row for row in outs if row.satoshi is None]
        issued = move.issued
        if unit.is_token and (issued is not None or move.kind == "reissuance"):
            issued = move.tokens if move.kind == "issuance" else 0
        if issued is None or (sealed_in and sealed_out):
            continue
        if sum(row.satoshi or 0 for row in ins) + issued == sum(row.satoshi or 0 for row in outs):
            nothing += sealed_in + sealed_out
    return nothing


def _take_away(db: Connection, row: sa.Row[Any]) -> None:
    db.execute(
        _outs.delete().where(
            _outs.c.txid == row.txid,
            _outs.c.vout == row.vout,
            _outs.c.asset == row.asset,
            _outs.c.is_token == row.is_token,
        )
    )
