"""What the ledger counts, in which states, and how its rows are found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.store import outpoints
from amp0.server.store.asset_schema import asset_outputs, asset_txs, assets

MEMPOOL, CONFIRMED, GONE, PROMISED = 0, 1, 2, 3


class Unit(NamedTuple):
    """What is counted: an asset by its row number, or its reissuance token."""

    asset: int
    is_token: bool

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Unit:
        """The unit of a row of ``asset_outputs``."""
        return cls(row.asset, bool(row.is_token))


class Place(NamedTuple):
    """Where in the chain: height, place within the block and the block's time, where they are known."""

    height: int
    position: int | None = None
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a transaction, and where it is when a block has it."""

    state: int
    place: Place | None = None

    @classmethod
    def at(cls, place: Place | None) -> Standing:
        """In a block, or in the mempool where there is no place."""
        return cls(MEMPOOL if place is None else CONFIRMED, place)

    @property
    def height(self) -> int | None:
        """Height of the block."""
        return None if self.place is None else self.place.height

    def columns(self) -> dict[str, int | None]:
        """The columns of ``asset_txs`` that say it."""
        place = self.place
        return {
            "state": self.state,
            "height": self.height,
            "position": None if place is None else place.position,
            "block_time": None if place is None else place.time,
        }


_MANAGED = sa.select(assets.c.id, assets.c.asset_id, assets.c.token_id).where(
    assets.c.asset_id.in_(sa.bindparam("ids", expanding=True))
    | assets.c.token_id.in_(sa.bindparam("ids", expanding=True)),
    assets.c.state != "failed",
)
_AT = sa.select(asset_outputs).where(outpoints.is_one_of(asset_outputs.c.txid, asset_outputs.c.vout))
_STATES = sa.select(asset_txs.c.asset, asset_txs.c.state).where(asset_txs.c.txid == sa.bindparam("wanted"))
_SPENDERS = (
    sa.select(asset_outputs.c.spent_by)
    .distinct()
    .where(asset_outputs.c.txid == sa.bindparam("wanted"), asset_outputs.c.spent_by.is_not(None))
)


def managed(db: Connection, ids: Iterable[bytes]) -> dict[bytes, Unit]:
    """Which of the asset ids (32 bytes, internal order) are managed here, deleted assets included."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    found: dict[bytes, Unit] = {}
    for row in db.execute(_MANAGED, {"ids": wanted}):
        found[bytes(row.asset_id)] = Unit(row.id, False)
        if row.token_id is not None:
            found[bytes(row.token_id)] = Unit(row.id, True)
    return {asset_id: found[asset_id] for asset_id in wanted if asset_id in found}


def outputs_at(db: Connection, prevouts: Sequence[OutPoint]) -> list[sa.Row[Any]]:
    """The rows of outpoints, sealed ones included; several where a sealed output may hold several things."""
    if not prevouts:
        return []
    return list(db.execute(_AT, outpoints.these(prevouts)).all())


def states(db: Connection, txid: Txid) -> dict[int, int]:
    """Asset → state of a transaction, by the assets that it moves; empty when it moves none."""
    return {row.asset: row.state for row in db.execute(_STATES, {"wanted": bytes(txid)})}


def spenders(db: Connection, txid: Txid) -> set[Txid]:
    """Transactions that spend rows of this one."""
    return {Txid(spender) for spender in db.execute(_SPENDERS, {"wanted": bytes(txid)}).scalars()}


def followed(txids: Collection[bytes]) -> sa.Select[tuple[bytes]]:
    """Those of the txids that the ledger has, as a query that whoever reads the chain joins with their own."""
    return sa.select(asset_txs.c.txid).where(asset_txs.c.txid.in_(txids))
