"""Managers: people who work on some of an issuer's assets. They begin locked."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, events, principals
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.parsing import row_id
from amp0.server.issuer.refusals import NothingHere
from amp0.server.store import asset_schema

_principals, _manager_assets, _assets = asset_schema.principals, asset_schema.manager_assets, asset_schema.assets


def _find(db: Connection, call: Call) -> Row[Any]:
    query = sa.select(_principals).where(
        _principals.c.id == row_id(call.path["id"]), _principals.c.issuer_id == call.who.issuer_id
    )
    row = db.execute(query).one_or_none()
    if row is None:
        raise NothingHere("there is no such manager")
    return row


def _to_wire(db: Connection, rows: list[Row[Any]]) -> list[wire.Manager]:
    query = (
        sa.select(_manager_assets.c.manager_id, _assets.c.uuid)
        .join(_assets, _assets.c.id == _manager_assets.c.asset)
        .where(_manager_assets.c.manager_id.in_([row.id for row in rows]), _assets.c.deleted_at.is_(None))
        .order_by(_assets.c.id)
    )
    uuids: dict[int, list[str]] = {}
    for manager, uuid in db.execute(query):
        uuids.setdefault(manager, []).append(uuid)
    return [
        wire.Manager(
            id=row.id,
            username=row.username,
            is_locked=bool(row.is_locked),
            assets=uuids.get(row.id, []),
            person=row.person,
        )
        for row in rows
    ]


def _shown(db: Connection, manager_id: int) -> wire.Manager:
    return _to_wire(db, [db.execute(sa.select(_principals).where(_principals.c.id == manager_id)).one()])[0]


def list_managers(call: Call, _body: None) -> list[wire.Manager]:
    """All managers of the issuer."""
    query = sa.select(_principals).where(_principals.c.issuer_id == call.who.issuer_id).order_by(_principals.c.id)
    return _to_wire(call.db, list(call.db.execute(query)))


def create_manager(call: Call, body: wire.ManagerCreate) -> wire.Manager:
    """Make a manager, who is locked until the issuer unlocks them, and has no assets yet."""
    stretched = principals.Stretched.of(body.password, call.desk.random)
    with call.desk.store.transaction() as db:
        principals.still(db, call)
        manager = principals.create(
            db, call.who.issuer_id, body.username, stretched, body.person or body.username, call.desk.now()
        )
        events.note(call, "create_manager", db=db, manager=manager, username=body.username)
        return _shown(db, manager)


def me(call: Call, _body: None) -> wire.Manager:
    """The manager who asks."""
    return _shown(call.db, call.who.id)


def get_manager(call: Call, _body: None) -> wire.Manager:
    """One manager."""
    return _shown(call.db, _find(call.db, call).id)


def _set_locked(call: Call, is_locked: bool) -> wire.Manager:
    row = _find(call.db, call)
    call.db.execute(sa.update(_principals).where(_principals.c.id == row.id).values(is_locked=int(is_locked)))
    events.note(call, "lock_manager" if is_locked else "unlock_manager", manager=row.id)
    return _shown(call.db, row.id)


def lock_manager(call: Call, _body: None) -> wire.Manager:
    """Lock a manager out, at once."""
    return _set_locked(call, True)


def unlock_manager(call: Call, _body: None) -> wire.Manager:
    """Let a manager in."""
    return _set_locked(call, False)


def change_password(call: Call, body: wire.PasswordChange) -> wire.PasswordChanged:
    """Set a manager's password; the manager's tokens are dead from then on, and the answer has a new one."""
    stretched = principals.Stretched.of(body.password, call.desk.random)
    with call.desk.store.transaction() as db:
        principals.still(db, call)
        row = _find(db, call)
        principals.set_password(db, row.id, stretched)
        token = principals.live_token(db, call.desk, row.id)
        events.note(call, "change_manager_password", db=db, manager=row.id)
    return wire.PasswordChanged(username=row.username, password=body.password, token=token)


def add_asset(call: Call, _body: None) -> wire.Manager:
    """Let a manager work on an asset."""
    manager, asset = _find(call.db, call), assets.find(call)
    here = (_manager_assets.c.manager_id == manager.id) & (_manager_assets.c.asset == asset.id)
    if call.db.execute(sa.select(_manager_assets).where(here)).one_or_none() is None:
        call.db.execute(_manager_assets.insert().values(manager_id=manager.id, asset=asset.id))
        events.note(call, "add_manager_asset", asset.id, manager=manager.id)
    return _shown(call.db, manager.id)


def remove_asset(call: Call, _body: None) -> wire.Manager:
    """Take an asset from a manager, at once."""
    manager, asset = _find(call.db, call), assets.find(call)
    here = (_manager_assets.c.manager_id == manager.id) & (_manager_assets.c.asset == asset.id)
    if call.db.execute(sa.delete(_manager_assets).where(here)).rowcount:
        events.note(call, "remove_manager_asset", asset.id, manager=manager.id)
    return _shown(call.db, manager.id)


def _of_issuer(methods: tuple[str, ...], path: str, function: Any, runs: Runs = Runs.WRITE, **more: Any) -> Endpoint:
    return Endpoint(methods, "/managers" + path, function, wire.Manager, who=Who.ISSUER, runs=runs, **more)


ENDPOINTS = (
    Endpoint(("GET",), "/managers", list_managers, list[wire.Manager], who=Who.ISSUER),
    _of_issuer(("POST",), "/create", create_manager, Runs.OUTSIDE, body=wire.ManagerCreate, status=201),
    Endpoint(("GET",), "/managers/me", me, wire.Manager, who=Who.MANAGER),
    _of_issuer(("GET",), "/{id}", get_manager, Runs.READ),
    _of_issuer(("PUT",), "/{id}/lock", lock_manager),
    _of_issuer(("PUT",), "/{id}/unlock", unlock_manager),
    Endpoint(
        ("POST",),
        "/managers/{id}/change-password",
        change_password,
        wire.PasswordChanged,
        wire.PasswordChange,
        who=Who.ISSUER,
        runs=Runs.OUTSIDE,
    ),
    _of_issuer(("PUT",), "/{id}/assets/{asset_uuid}/add", add_asset),
    _of_issuer(("PUT", "POST"), "/{id}/assets/{asset_uuid}/remove", remove_asset),
)
