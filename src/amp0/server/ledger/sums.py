"""How much there is of an asset, how much of it is in known outputs, and so how much nobody can account for."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.store.asset_schema import asset_outputs, asset_txs, assets, treasury_addresses

_outs, _txs = asset_outputs, asset_txs


class Asset(Protocol):
    """What is needed of an asset's row."""

    @property
    def id(self) -> int:
        """Row number."""
        ...

    @property
    def issuer_id(self) -> int:
        """Whose registered users its holders are."""
        ...


class Supply(NamedTuple):
    """Satoshi that blocks have made and destroyed. ``is_whole`` is False while a reissued amount is hidden."""

    issued: int
    reissued: int
    burned: int
    is_whole: bool

    @property
    def circulating(self) -> int:
        """What there is."""
        return self.issued + self.reissued - self.burned


def held(asset: int, *, is_token: bool = False, height: int | None = None) -> sa.ColumnElement[bool]:
    """Known outputs of an asset that blocks have made and not spent, now or up to a height."""
    there = [_outs.c.asset == asset, _outs.c.is_token == int(is_token), _outs.c.satoshi.is_not(None)]
    if height is None:
        there += [_outs.c.height.is_not(None), _outs.c.spent_height.is_(None)]
    else:
        there += [_outs.c.height <= height, _outs.c.spent_height.is_(None) | (_outs.c.spent_height > height)]
    return sa.and_(*there, _outs.c.is_burnt == 0)


def is_treasury() -> sa.ColumnElement[bool]:
    """Whether an output's script is, or once was, one of its asset's treasury: the issuer holds its key."""
    listed = treasury_addresses
    return sa.exists().where(listed.c.asset == _outs.c.asset, listed.c.script_pubkey == _outs.c.script_pubkey)


def total(db: Connection, where: sa.ColumnElement[bool]) -> int:
    """Satoshi of all outputs for which this holds."""
    return int(db.execute(sa.select(sa.func.coalesce(sa.func.sum(_outs.c.satoshi), 0)).where(where)).scalar_one())


def supply(db: Connection, asset: Asset, height: int | None = None) -> Supply:
    """What blocks have issued, reissued and burned of an asset, now or up to a height."""
    there = _txs.c.height.is_not(None) if height is None else _txs.c.height <= height
    rows = db.execute(
        sa.select(
            (_txs.c.kind == "issuance").label("is_first"),
            sa.func.coalesce(sa.func.sum(_txs.c.issued), 0).label("issued"),
            sa.func.sum(_txs.c.burned).label("burned"),
            sa.func.count().label("all"),
            sa.func.count(_txs.c.issued).label("known"),
        )
        .where(_txs.c.asset == asset.id, there)
        .group_by(sa.literal_column("is_first"))
    ).all()
    issued = sum(int(row.issued) for row in rows if row.is_first)
    reissued = sum(int(row.issued) for row in rows if not row.is_first)
    return Supply(issued, reissued, sum(int(row.burned) for row in rows), all(row.all == row.known for row in rows))


def tokens(db: Connection, asset: Asset, height: int | None = None) -> int:
    """Satoshi of the reissuance token that blocks have made and not destroyed."""
    there = _txs.c.height.is_not(None) if height is None else _txs.c.height <= height
    made = db.execute(
        sa.select(assets.c.tokens)
        .join(_txs, (_txs.c.txid == assets.c.issue_txid) & (_txs.c.asset == assets.c.id))
        .where(assets.c.id == asset.id, there)
    ).scalar()
    burnt = sa.and_(
        _outs.c.asset == asset.id,
        _outs.c.is_token == 1,
        _outs.c.is_burnt == 1,
        _outs.c.height.is_not(None) if height is None else _outs.c.height <= height,
    )
    return int(made or 0) - total(db, burnt)


def issued(db: Connection, asset: Asset) -> int:
    """Satoshi of the first issuance, once a block has it."""
    return supply(db, asset).issued


def reissued(db: Connection, asset: Asset) -> int:
    """Satoshi of all reissuances in blocks."""
    return supply(db, asset).reissued


def burned(db: Connection, asset: Asset) -> int:
    """Satoshi burned in blocks."""
    return supply(db, asset).burned


def circulating(db: Connection, asset: Asset) -> int:
    """Issued + reissued − burned."""
    return supply(db, asset).circulating


def unaccounted(db: Connection, asset: Asset, *, is_token: bool = False, height: int | None = None) -> int:
    """Satoshi that exist and are in no known output; 0 when nothing is hidden.

    Negative only while a reissued amount is hidden and outputs of it are known already.
    """
    there = tokens(db, asset, height) if is_token else supply(db, asset, height).circulating
    return there - total(db, held(asset.id, is_token=is_token, height=height))
