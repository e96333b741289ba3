"""Where every unit of a managed asset is: the half of the ledger that reads the present, and any height before it.

Issuers are shown what is in blocks. An output counts from the block that has it to the block that has its spender, so
the same question about a height gives the same answer for ever, as long as the chain to there is the same. For each
asset, and for its token::

    what accounts hold + the treasury + known outputs of somebody unknown + unaccounted = issued + reissued − burned

where *unaccounted* is what sits in outputs that nobody has opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.ledger.lost import lost_outputs
from amp0.server.ledger.sums import (
    Asset,
    Supply,
    burned,
    circulating,
    held,
    is_treasury,
    issued,
    reissued,
    supply,
    tokens,
    total,
    unaccounted,
)
from amp0.server.ledger.units import CONFIRMED, MEMPOOL, PROMISED
from amp0.server.store import outpoints, schema
from amp0.server.store.asset_schema import (
    asset_outputs,
    blacklisted_outputs,
    registered_users,
    user_gaids,
)
from amp0.server.store.composed import plain_rows

_outs, _accounts = asset_outputs, schema.accounts


class Ownership(NamedTuple):
    """How much (satoshi) one account holds, and who that is to the issuer; the treasury has none of the three."""

    account_id: int | None
    gaid: str | None
    user_id: int | None
    satoshi: int


class Coin(NamedTuple):
    """One output. ``satoshi`` is None while it is sealed."""

    outpoint: OutPoint
    satoshi: int | None
    gaid: str | None
    user_id: int | None
    is_blacklisted: bool


# --- parts of queries ------------------------------------------------------------------------------------------------


def user_of(account_id: sa.ColumnElement[Any], issuer_id: int) -> sa.ScalarSelect[int]:
    """The registered user whose account it is to an issuer; NULL when nobody's, or when the user was deleted."""
    return (
        sa.select(user_gaids.c.user_id)
        .join(registered_users, registered_users.c.id == user_gaids.c.user_id)
        .where(
            user_gaids.c.issuer_id == issuer_id,
            user_gaids.c.account_id == account_id,
            registered_users.c.deleted_at.is_(None),
        )
        .scalar_subquery()
    )


# --- who holds what --------------------------------------------------------------------------------------------------


def ownerships(db: Connection, asset: Asset, height: int | None = None) -> list[Ownership]:
    """Who holds how much in blocks, now or at a height: the treasury first, then accounts, oldest first."""
    there = held(asset.id, height=height)
    # Sums come in the order of their index, and each is looked up as it comes, in joins that nothing can turn around:
    # one of the outputs themselves makes a table of them first, and a query for each value costs a fifth more.
    # Deleted users are few, and taken out afterwards: to ask of every user costs as much as the sums.
    sums = (
        sa.select(_outs.c.account_id, sa.cast(sa.func.sum(_outs.c.satoshi), sa.BigInteger).label("satoshi"))
        .where(there, _outs.c.account_id.is_not(None))
        .group_by(_outs.c.account_id)
        .subquery()
    )
    registered = (user_gaids.c.issuer_id == asset.issuer_id) & (user_gaids.c.account_id == sums.c.account_id)
    query = (
        sa.select(sums.c.account_id, _accounts.c.receiving_id, user_gaids.c.user_id, sums.c.satoshi)
        .select_from(sums)
        .join(_accounts, _accounts.c.id == sums.c.account_id, isouter=True)
        .join(user_gaids, registered, isouter=True)
        .order_by(sums.c.account_id)
    )
    users = registered_users
    gone = sa.select(users.c.id).where(users.c.issuer_id == asset.issuer_id, users.c.deleted_at.is_not(None))
    deleted = set(db.execute(gone).scalars())
    treasury_holds = total(db, sa.and_(there, _outs.c.account_id.is_(None), is_treasury()))
    # With 100,000 rows, naming their columns or calling the class costs more than the conversion to JSON.
    rows: list[Ownership] = list(map(partial(tuple.__new__, Ownership), plain_rows(db, query)))
    if deleted:
        rows = [row._replace(user_id=None) if row.user_id in deleted else row for row in rows]
    return [Ownership(None, None, None, treasury_holds), *rows]


def gaid_balance(db: Connection, account_id: int, asset_ids: Sequence[int]) -> dict[int, int]:
    """What an account holds in blocks, by asset (row numbers); zeros included."""
    rows = db.execute(
        sa.select(_outs.c.asset, sa.func.sum(_outs.c.satoshi).label("satoshi"))
        .where(
            _outs.c.asset.in_(asset_ids),
            _outs.c.is_token == 0,
            _outs.c.account_id == account_id,
            _outs.c.height.is_not(None),
            _outs.c.spent_height.is_(None),
        )
        .group_by(_outs.c.asset)
    )
    found = {row.asset: int(row.satoshi or 0) for row in rows}
    return {asset: found.get(asset, 0) for asset in asset_ids}


# --- the treasury ----------------------------------------------------------------------------------------------------


def treasury(db: Connection, asset: Asset, *, minimum_confirmations: int = 1) -> int:
    """Satoshi that the treasury can spend: in blocks, at least so deep, and not spent, signed away or on their way."""
    return sum(coin.satoshi or 0 for coin in treasury_outputs(db, asset, minimum_confirmations=minimum_confirmations))


def treasury_outputs(
    db: Connection, asset: Asset, is_token: bool = False, *, minimum_confirmations: int = 1
) -> list[Coin]:
    """The outputs of :func:`treasury`, of the asset or of its reissuance token, oldest first."""
    tip = db.execute(sa.select(sa.func.max(schema.blocks.c.height))).scalar() or 0
    rows = db.execute(
        sa.select(_outs.c.txid, _outs.c.vout, _outs.c.satoshi)
        .where(
            held(asset.id, is_token=is_token, height=tip - minimum_confirmations + 1),
            _outs.c.account_id.is_(None),
            _outs.c.spent_by.is_(None),
            is_treasury(),
        )
        .order_by(_outs.c.height, _outs.c.txid, _outs.c.vout)
    )
    return [Coin(OutPoint(Txid(row.txid), row.vout), row.satoshi, None, None, False) for row in rows]


# --- coins -----------------------------------------------------------------------------------------------------------


def utxos(db: Connection, asset: Asset, only: Sequence[OutPoint] | None = None) -> list[Coin]:
    """Known outputs of an asset in blocks or mempool that nothing there spends; unconfirmed ones last.

    With ``only``, whatever is known of these outpoints, spent and sealed ones included.
    """
    listed = blacklisted_outputs
    is_blacklisted = sa.exists().where(
        listed.c.prev_txid == _outs.c.txid, listed.c.prev_vout == _outs.c.vout, listed.c.asset == _outs.c.asset
    )
    query = (
        sa.select(
            _outs.c.txid,
            _outs.c.vout,
            _outs.c.satoshi,
            _accounts.c.receiving_id,
            user_of(_outs.c.account_id, asset.issuer_id).label("user_id"),
            is_blacklisted.label("is_blacklisted"),
        )
        .select_from(_outs)
        .join(_accounts, _accounts.c.id == _outs.c.account_id, isouter=True)
        .where(_outs.c.asset == asset.id, _outs.c.is_token == 0, _outs.c.is_burnt == 0)
        .order_by(_outs.c.height.is_(None), _outs.c.height, _outs.c.txid, _outs.c.vout)
    )
    parameters: dict[str, list[Any]] = {}
    if only is None:
        query = query.where(
            _outs.c.satoshi.is_not(None),
            _outs.c.state.in_((MEMPOOL, CONFIRMED)),
            _outs.c.spent_by.is_(None) | (_outs.c.spent_state == PROMISED),
        )
    else:
        query = query.where(outpoints.is_one_of(_outs.c.txid, _outs.c.vout))
        parameters = outpoints.these(only)
    return [
        Coin(OutPoint(Txid(row.txid), row.vout), row.satoshi, row.receiving_id, row.user_id, bool(row.is_blacklisted))
        for row in db.execute(query, parameters)
    ]


__all__ = [
    "Asset",
    "Coin",
    "Ownership",
    "Supply",
    "burned",
    "circulating",
    "gaid_balance",
    "is_treasury",
    "issued",
    "lost_outputs",
    "ownerships",
    "reissued",
    "supply",
    "tokens",
    "treasury",
    "treasury_outputs",
    "unaccounted",
    "user_of",
    "utxos",
]
