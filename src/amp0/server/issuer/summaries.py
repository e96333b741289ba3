"""What one registered user has to do with each asset: assigned, paid, held."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from amp0.elements.hashes import asset_id_to_str
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, assignments, distributions, holders
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint
from amp0.server.ledger import views
from amp0.server.store import asset_schema

_assignments, _user_gaids = asset_schema.assignments, asset_schema.user_gaids


def summary(call: Call, _body: None) -> wire.UserSummary | list[wire.UserSummary]:
    """What a registered user was assigned, was paid and holds in blocks, of each asset that concerns them.

    A bare object when that is exactly one asset, because one client reads it so; a list otherwise.
    """
    user = holders.find(call)
    mine = assets.visible_to(call.db, call.who)
    accounts = call.db.execute(sa.select(_user_gaids.c.account_id).where(_user_gaids.c.user_id == user.id)).scalars()
    balances = dict.fromkeys((asset.id for asset in mine), 0)
    for account in accounts.all():
        for asset, satoshi in views.gaid_balance(call.db, account, list(balances)).items():
            balances[asset] += satoshi
    found = [_of_asset(call, user.id, asset, balances[asset.id]) for asset in mine]
    concerning = [one for one in found if one.assignments or one.balance]
    return concerning[0] if len(concerning) == 1 else concerning


def _of_asset(call: Call, user_id: int, asset: AssetRow, balance: int) -> wire.UserSummary:
    assigned = assignments.shown(call.db, asset.id, call.desk.now(), user_id=user_id)
    query = sa.select(_assignments.c.distribution_id).where(
        _assignments.c.user_id == user_id,
        _assignments.c.asset == asset.id,
        _assignments.c.distribution_id.is_not(None),
    )
    ids = set(call.db.execute(query).scalars())
    return wire.UserSummary(
        asset_uuid=asset.uuid,
        asset_id=asset_id_to_str(asset.asset_id),
        assignments=assigned,
        assignments_sum=sum(one.amount for one in assigned),
        distributions=[_only(one, user_id) for one in distributions.shown(call.db, asset.id, ids=ids)] if ids else [],
        distributions_sum=sum(one.amount for one in assigned if one.is_distributed),
        balance=balance,
    )


def _only(distribution: wire.Distribution, user_id: int) -> wire.Distribution:
    """A distribution with what it paid to this user."""
    return msgspec.structs.replace(
        distribution,
        transactions=[
            msgspec.structs.replace(tx, assignments=[one for one in tx.assignments if one.registered_user == user_id])
            for tx in distribution.transactions
        ],
    )


ENDPOINTS = (
    Endpoint(
        ("GET",),
        "/registered_users/{id}/summary",
        summary,
        wire.UserSummary | list[wire.UserSummary],
        tag="registered_users",
    ),
)
