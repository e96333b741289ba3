"""Assignments: amounts that registered users are to get, until a distribution pays them. Owns ``assignments``.

An assignment moves nothing. It needs units that the treasury has and that no other assignment waits for; it is paid
once it is ready and vested. While it is in a distribution it does not change, and afterwards it is history.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, events, holders
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.parsing import row_id
from amp0.server.issuer.refusals import NothingHere, OperationRefused, WrongFields
from amp0.server.ledger import views
from amp0.server.store import schema
from amp0.server.store.asset_schema import assignments, distributions, user_gaids

_paid = schema.accounts.alias("paid")
_default = schema.accounts.alias("default")
_SHOWN = (
    sa.select(
        assignments,
        distributions.c.uuid.label("distribution_uuid"),
        sa.func.coalesce(_paid.c.receiving_id, _default.c.receiving_id).label("gaid"),
    )
    .select_from(assignments)
    .join(distributions, distributions.c.id == assignments.c.distribution_id, isouter=True)
    .join(_paid, _paid.c.id == assignments.c.account_id, isouter=True)
    .join(
        user_gaids,
        sa.and_(user_gaids.c.user_id == assignments.c.user_id, user_gaids.c.is_default == 1),
        isouter=True,
    )
    .join(_default, _default.c.id == user_gaids.c.account_id, isouter=True)
    .order_by(assignments.c.id)
)


# --- reading -------------------------------------------------------------------------------------------------------


def shown(
    db: Connection, asset: int, now: int, *, user_id: int | None = None, distributed: bool | None = None
) -> list[wire.Assignment]:
    """The assignments of an asset (by row number), oldest first: all, or those of one user, or in one state."""
    query = _SHOWN.where(assignments.c.asset == asset)
    if user_id is not None:
        query = query.where(assignments.c.user_id == user_id)
    if distributed is not None:
        column = assignments.c.distributed_at
        query = query.where(column.is_not(None) if distributed else column.is_(None))
    return [_to_wire(row, now) for row in db.execute(query)]


def _to_wire(row: sa.Row[Any], now: int) -> wire.Assignment:
    return wire.Assignment(
        id=row.id,
        registered_user=row.user_id,
        amount=row.satoshi,
        receiving_address=row.receiving_address,
        distribution_uuid=row.distribution_uuid,
        ready_for_distribution=bool(row.is_ready),
        vesting_datetime=None if row.vesting_at is None else wire.date_text(row.vesting_at),
        vesting_timestamp=row.vesting_at,
        has_vested=row.vesting_at is None or row.vesting_at <= now,
        is_distributed=row.distributed_at is not None,
        creator=row.creator_id,
        gaid=row.gaid,
        investor=row.user_id,
    )


def waiting(db: Connection, asset: int) -> int:
    """Satoshi of an asset that are assigned and not distributed."""
    total = sa.select(sa.func.coalesce(sa.func.sum(assignments.c.satoshi), 0))
    query = total.where(assignments.c.asset == asset, assignments.c.distributed_at.is_(None))
    return int(db.execute(query).scalar_one())


def _find(call: Call, asset: AssetRow) -> sa.Row[Any]:
    """The assignment that the path names, if it is of this asset."""
    number = row_id(call.path["assignment_id"])
    row = call.db.execute(_SHOWN.where(assignments.c.id == number, assignments.c.asset == asset.id)).one_or_none()
    if row is None:
        raise NothingHere("there is no such assignment")
    return row


# --- operations ----------------------------------------------------------------------------------------------------


def list_all(call: Call, body: None) -> list[wire.Assignment]:
    """Assignments of an asset, oldest first: all, or only those that are distributed or are not."""
    asset = assets.find(call)
    wanted = None if call.query is None else call.query.distributed
    return shown(call.db, asset.id, call.desk.now(), distributed=wanted)


def create(call: Call, body: wire.AssignmentsCreate) -> list[wire.Assignment]:
    """Promise an amount to a registered user, out of what the treasury has free."""
    asset = assets.find(call)
    (new,) = body.assignments
    user = holders.find(call, new.registered_user)
    if user.is_frozen:
        raise WrongFields.of("registered_user", f"User {user.id} is frozen, and receives nothing")
    if asset.transfer_restricted and not holders.qualifies(call.db, user.id, asset.id):
        raise WrongFields.of(
            "registered_user", f"User {user.id} is not in every category that a holder of this asset has to be in"
        )
    free = views.treasury(call.db, asset) - waiting(call.db, asset.id)
    if new.amount > free:
        raise OperationRefused(
            f"There is not enough in the treasury balance: {max(free, 0)} satoshi are confirmed and not assigned yet, "
            f"{new.amount} were asked for"
        )
    made = call.db.execute(
        assignments.insert().values(
            asset=asset.id,
            user_id=user.id,
            creator_id=call.who.id,
            satoshi=new.amount,
            is_ready=int(new.ready_for_distribution),
            vesting_at=new.vesting_timestamp,
            created_at=call.desk.now(),
        )
    )
    (number,) = made.inserted_primary_key or (0,)
    events.note(call, "assignment_created", asset.id, assignment=number, registered_user=user.id, amount=new.amount)
    row = call.db.execute(_SHOWN.where(assignments.c.id == number)).one()
    return [_to_wire(row, call.desk.now())]


def get(call: Call, body: None) -> wire.Assignment:
    """One assignment."""
    return _to_wire(_find(call, assets.find(call)), call.desk.now())


def lock(call: Call, body: None) -> wire.Assignment:
    """Keep an assignment out of the next distributions."""
    return _set_ready(call, False)


def unlock(call: Call, body: None) -> wire.Assignment:
    """Let the next distribution pay an assignment, if it has vested."""
    return _set_ready(call, True)


def _set_ready(call: Call, ready: bool) -> wire.Assignment:
    asset = assets.find(call)
    row = _require_outside(_find(call, asset))
    if bool(row.is_ready) is not ready:
        call.db.execute(assignments.update().where(assignments.c.id == row.id).values(is_ready=int(ready)))
        events.note(call, f"assignment_{'unlocked' if ready else 'locked'}", asset.id, assignment=row.id)
    return _to_wire(_find(call, asset), call.desk.now())


def delete(call: Call, body: None) -> None:
    """Take an assignment back that is in no distribution."""
    asset = assets.find(call)
    row = _require_outside(_find(call, asset))
    call.db.execute(assignments.delete().where(assignments.c.id == row.id))
    events.note(
        call, "assignment_deleted", asset.id, assignment=row.id, registered_user=row.user_id, amount=row.satoshi
    )


def _require_outside(row: sa.Row[Any]) -> sa.Row[Any]:
    if row.distribution_id is not None:
        raise OperationRefused(
            f"Assignment {row.id} is in distribution {row.distribution_uuid}; "
            + ("it is distributed" if row.distributed_at is not None else "cancel the distribution first")
        )
    return row


_ONE = "/assets/{asset_uuid}/assignments/{assignment_id}"
ENDPOINTS = [
    Endpoint(
        ("GET",),
        "/assets/{asset_uuid}/assignments",
        list_all,
        list[wire.Assignment],
        query=wire.AssignmentFilter,
    ),
    Endpoint(
        ("POST",),
        "/assets/{asset_uuid}/assignments/create",
        create,
        list[wire.Assignment],
        body=wire.AssignmentsCreate,
        runs=Runs.WRITE,
    ),
    Endpoint(("GET",), _ONE, get, wire.Assignment),
    Endpoint(("PUT",), _ONE + "/lock", lock, wire.Assignment, runs=Runs.WRITE),
    Endpoint(("PUT",), _ONE + "/unlock", unlock, wire.Assignment, runs=Runs.WRITE),
    Endpoint(("DELETE",), _ONE + "/delete", delete, None, status=204, runs=Runs.WRITE),
]
