"""Categories: what registered users have in common, and what assets require of their holders.

A holder of an asset is in every category that the asset requires. Which categories those are is part of the asset's
policy, and changes as that does (:mod:`amp0.server.policy.changes`); who is in a category is a fact about users, and
changes at once. Owns the tables ``categories`` and ``category_users``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, events, holders
from amp0.server.issuer.desk import Call, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.parsing import plain_text, row_id
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.policy import changes
from amp0.server.store import asset_schema

_categories, _members = asset_schema.categories, asset_schema.category_users
_requirements, _assets, _outputs = asset_schema.category_assets, asset_schema.assets, asset_schema.asset_outputs

_GONE = 2
"""State of an output whose transaction is in neither chain nor mempool."""


def _find(call: Call) -> sa.Row[Any]:
    query = sa.select(_categories).where(
        _categories.c.id == row_id(call.path["id"]), _categories.c.issuer_id == call.who.issuer_id
    )
    row = call.db.execute(query).one_or_none()
    if row is None:
        raise NothingHere("there is no such category")
    return row


def _to_wire(db: Connection, rows: Sequence[sa.Row[Any]], issuer_id: int) -> list[wire.Category]:
    mine = _categories.c.issuer_id == issuer_id
    if len(rows) == 1:
        mine = _categories.c.id == rows[0].id
    members: dict[int, list[int]] = {}
    query = sa.select(_members.c.category_id, _members.c.user_id).order_by(_members.c.user_id)
    for category, user in db.execute(query.join(_categories, _categories.c.id == _members.c.category_id).where(mine)):
        members.setdefault(category, []).append(user)
    required_by: dict[int, list[str]] = {}
    query_assets = (
        sa.select(_requirements.c.category_id, _assets.c.uuid)
        .join(_categories, _categories.c.id == _requirements.c.category_id)
        .join(_assets, _assets.c.id == _requirements.c.asset)
        .where(mine, _assets.c.deleted_at.is_(None))
        .order_by(_assets.c.id)
    )
    for category, uuid in db.execute(query_assets):
        required_by.setdefault(category, []).append(uuid)
    return [
        wire.Category(
            id=row.id,
            name=row.name,
            description=row.description,
            registered_users=members.get(row.id, []),
            assets=required_by.get(row.id, []),
            investors=members.get(row.id, []),
        )
        for row in rows
    ]


def _shown(call: Call, category_id: int) -> wire.Category:
    row = call.db.execute(sa.select(_categories).where(_categories.c.id == category_id)).one()
    return _to_wire(call.db, [row], call.who.issuer_id)[0]


def _refuse_taken(call: Call, name: str, but: int | None = None) -> None:
    query = sa.select(_categories.c.id).where(_categories.c.issuer_id == call.who.issuer_id, _categories.c.name == name)
    if call.db.execute(query).scalar_one_or_none() not in (None, but):
        raise WrongFields.of("name", "A category with this name already exists.")


# --- categories ----------------------------------------------------------------------------------------------------


def list_categories(call: Call, _body: None) -> list[wire.Category]:
    """All categories of the issuer."""
    issuer = call.who.issuer_id
    query = sa.select(_categories).where(_categories.c.issuer_id == issuer).order_by(_categories.c.id)
    return _to_wire(call.db, call.db.execute(query).all(), issuer)


def add_category(call: Call, body: wire.CategoryAdd) -> wire.Category:
    """Make a category. No two of an issuer have the same name."""
    name = plain_text(body.name, "name")
    _refuse_taken(call, name)
    row = {
        "issuer_id": call.who.issuer_id,
        "name": name,
        "description": body.description,
        "created_at": call.desk.now(),
    }
    category_id = int(call.db.execute(_categories.insert().values(row).returning(_categories.c.id)).scalar_one())
    events.note(call, "add_category", category=category_id)
    return _shown(call, category_id)


def get_category(call: Call, _body: None) -> wire.Category:
    """One category, with its registered users and the assets that require it."""
    return _shown(call, _find(call).id)


def edit_category(call: Call, body: wire.CategoryEdit) -> wire.Category:
    """Rename or describe a category; what is absent or null stays."""
    category = _find(call)
    values: dict[str, str] = {}
    if body.name is not None:
        values["name"] = plain_text(body.name, "name")
        _refuse_taken(call, body.name, category.id)
    if body.description is not None:
        values["description"] = body.description
    if values:
        call.db.execute(sa.update(_categories).where(_categories.c.id == category.id).values(values))
        events.note(call, "edit_category", category=category.id)
    return _shown(call, category.id)


def delete_category(call: Call, _body: None) -> None:
    """Delete a category. Refused while an asset requires it that somebody holds, or whose policy takes time or other
    persons to loosen: remove the requirement first."""
    category = _find(call)
    requiring = call.db.execute(
        sa.select(_requirements.c.asset).where(_requirements.c.category_id == category.id)
    ).scalars()
    for asset in [assets.load(call.db, number) for number in requiring]:
        if _is_held(call.db, asset.id):
            raise OperationRefused("An asset that is held requires this category; remove the requirement first")
        change = changes.request(call, asset, "remove_requirement", {"category_id": category.id})
        if change.state != changes.EFFECTIVE:
            raise OperationRefused(
                "An asset requires this category, and its policy is loosened only with time or with others; "
                "remove the requirement first"
            )
    call.db.execute(sa.delete(_members).where(_members.c.category_id == category.id))
    call.db.execute(sa.delete(_categories).where(_categories.c.id == category.id))
    events.note(call, "delete_category", category=category.id, name=category.name)


def _is_held(db: Connection, asset: int) -> bool:
    """Whether an account has some of an asset, or is about to."""
    query = sa.select(_outputs.c.vout).where(
        _outputs.c.asset == asset,
        _outputs.c.account_id.is_not(None),
        _outputs.c.is_token == 0,
        _outputs.c.state != _GONE,
        _outputs.c.spent_by.is_(None),
    )
    return db.execute(query.limit(1)).one_or_none() is not None


# --- who is in one, and what requires it ---------------------------------------------------------------------------


def _refuse_beyond_own_assets(call: Call, category_id: int) -> None:
    """A manager's word about users counts for the assets that were given to them, and no others."""
    if call.who.role is Role.ISSUER:
        return
    requiring = call.db.execute(sa.select(_requirements.c.asset).where(_requirements.c.category_id == category_id))
    if not call.who.assets.issuperset(requiring.scalars()):
        raise Detail(403, "An asset that this manager was not given requires this category; ask the issuer")


def _member(call: Call) -> tuple[int, int, sa.ColumnElement[bool]]:
    category, user = _find(call).id, holders.find(call, row_id(call.path["uid"])).id
    return category, user, (_members.c.category_id == category) & (_members.c.user_id == user)


def add_user(call: Call, _body: None) -> wire.Category:
    """Put a registered user into a category. One who is in it stays in it."""
    category, user, here = _member(call)
    _refuse_beyond_own_assets(call, category)
    if call.db.execute(sa.select(_members).where(here)).one_or_none() is None:
        call.db.execute(_members.insert().values(category_id=category, user_id=user))
        holders.verdicts_change(call.db, call.who.issuer_id)
        events.note(call, "add_category_user", category=category, user=user)
    return _shown(call, category)


def remove_user(call: Call, _body: None) -> wire.Category:
    """Take a registered user out of a category. One who is not in it stays out of it."""
    category, user, here = _member(call)
    if call.db.execute(sa.delete(_members).where(here)).rowcount:
        holders.verdicts_change(call.db, call.who.issuer_id)
        events.note(call, "remove_category_user", category=category, user=user)
    return _shown(call, category)


def add_asset(call: Call, _body: None) -> wire.Category:
    """Let an asset require a category of its holders."""
    return _require(call, "add_requirement")


def remove_asset(call: Call, _body: None) -> wire.Category:
    """Let an asset require a category no longer: at once, or when its policy says that it may be loosened."""
    return _require(call, "remove_requirement")


def _require(call: Call, action: str) -> wire.Category:
    category, asset = _find(call), assets.find(call)
    changes.request(call, asset, action, {"category_id": category.id})
    return _shown(call, category.id)


def _put(path: str, function: Any, who: Who = Who.ISSUER) -> Endpoint:
    return Endpoint(("PUT",), "/categories/{id}" + path, function, wire.Category, who=who, runs=Runs.WRITE)


ENDPOINTS = (
    Endpoint(("GET",), "/categories", list_categories, list[wire.Category]),
    Endpoint(("POST",), "/categories/add", add_category, wire.Category, wire.CategoryAdd, status=201, runs=Runs.WRITE),
    Endpoint(("GET",), "/categories/{id}", get_category, wire.Category),
    Endpoint(
        ("PUT",),
        "/categories/{id}/edit",
        edit_category,
        wire.Category,
        wire.CategoryEdit,
        who=Who.ISSUER,
        runs=Runs.WRITE,
    ),
    Endpoint(
        ("DELETE",), "/categories/{id}/delete", delete_category, None, status=204, who=Who.ISSUER, runs=Runs.WRITE
    ),
    _put("/registered_users/{uid}/add", add_user, Who.TEAM),
    _put("/registered_users/{uid}/remove", remove_user),
    _put("/assets/{asset_uuid}/add", add_asset),
    _put("/assets/{asset_uuid}/remove", remove_asset),
)
