"""Outpoints that are not cosigned because an asset's issuer said so. Owns the table ``blacklisted_outputs``.

An outpoint is listed by itself, whatever the chain makes of it: it stays listed while its transaction is promised, in
the mempool, in a block or reorganised away, so spending it early or in another order evades nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.ledger.sums import Asset, held, total
from amp0.server.store import outpoints
from amp0.server.store.asset_schema import asset_outputs, blacklisted_outputs

_outs, _listed = asset_outputs, blacklisted_outputs
_AT = sa.select(_listed.c.prev_txid, _listed.c.prev_vout, _listed.c.asset).where(
    outpoints.is_one_of(_listed.c.prev_txid, _listed.c.prev_vout)
)


def add(db: Connection, asset: int, outpoint: OutPoint, now: float) -> bool:
    """List an outpoint for an asset (by row number); whether it was not listed before."""
    if listed(db, asset, [outpoint]):
        return False
    db.execute(
        _listed.insert().values(
            prev_txid=bytes(outpoint.txid()), prev_vout=outpoint.vout(), asset=asset, since=int(now)
        )
    )
    return True


def remove(db: Connection, asset: int, outpoint: OutPoint) -> bool:
    """Take an outpoint off an asset's list; whether it was on it."""
    here = (_listed.c.prev_txid == bytes(outpoint.txid())) & (_listed.c.prev_vout == outpoint.vout())
    return db.execute(_listed.delete().where(here, _listed.c.asset == asset)).rowcount > 0


def listed(db: Connection, asset: int, among: Sequence[OutPoint]) -> set[OutPoint]:
    """Which of the outpoints an asset's issuer listed."""
    if not among:
        return set()
    rows = db.execute(_AT, outpoints.these(among))
    return {OutPoint(Txid(row.prev_txid), row.prev_vout) for row in rows if row.asset == asset}


def satoshi(db: Connection, asset: Asset) -> int:
    """How much of an asset is in listed outputs, in blocks."""
    is_listed = sa.exists().where(
        _listed.c.prev_txid == _outs.c.txid, _listed.c.prev_vout == _outs.c.vout, _listed.c.asset == _outs.c.asset
    )
    return total(db, sa.and_(held(asset.id), is_listed))
