"""Registered users: who may hold, as one issuer knows them, with the GAIDs of their AMP accounts.

A GAID belongs to at most one registered user of an issuer, for good: it stays with a user who is deleted, so that it is
never somebody else's. Owns the tables ``registered_users`` and ``user_gaids``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import issuer as wire
from amp0.server.issuer import events, gaids
from amp0.server.issuer.desk import Call, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.parsing import plain_text, row_id
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.store import asset_schema, schema
from amp0.server.store.composed import plain_rows

_users, _user_gaids = asset_schema.registered_users, asset_schema.user_gaids
_categories, _members = asset_schema.categories, asset_schema.category_users
_requirements, _assets = asset_schema.category_assets, asset_schema.assets
_assignments = asset_schema.assignments
_NAMING = ("frozen_holder", "vesting")
"""Rules that hold one user to something. (``issuer_burn`` only allows.)"""
_accounts = schema.accounts


@dataclass(frozen=True, slots=True)
class UserRow:
    """One registered user. ``default_account`` is the row number of the account that distributions pay."""

    id: int
    issuer_id: int
    creator_id: int
    name: str
    is_company: bool
    is_frozen: bool
    default_account: int | None
    default_gaid: str | None


# Literally: the index is of defaults only, and for a number that is bound SQLite would plan anew at every execution.
_IS_DEFAULT = _user_gaids.c.is_default == sa.literal_column("1")
_USERS = (
    sa.select(
        _users.c.id,
        _users.c.issuer_id,
        _users.c.creator_id,
        _users.c.name,
        _users.c.is_company,
        _users.c.is_frozen,
        _user_gaids.c.account_id,
        _accounts.c.receiving_id,
    )
    .select_from(
        _users.outerjoin(_user_gaids, (_user_gaids.c.user_id == _users.c.id) & (_IS_DEFAULT)).outerjoin(
            _accounts, _accounts.c.id == _user_gaids.c.account_id
        )
    )
    .where(_users.c.deleted_at.is_(None))
    .order_by(_users.c.id)
)
_ONE_USER = _USERS.where(_users.c.id == sa.bindparam("id"))
_DEFAULT = sa.select(_user_gaids.c.account_id).where(_user_gaids.c.user_id == sa.bindparam("user"), _IS_DEFAULT)
# Required, and not among the user's.
_MISSING = (
    sa.select(_requirements.c.category_id)
    .outerjoin(
        _members,
        (_members.c.category_id == _requirements.c.category_id) & (_members.c.user_id == sa.bindparam("user")),
    )
    .where(_requirements.c.asset == sa.bindparam("asset"), _members.c.user_id.is_(None))
    .limit(1)
)
_IS_THERE = sa.select(_users.c.id).where(_users.c.id == sa.bindparam("user"), _users.c.deleted_at.is_(None))
_OWNER = (
    sa.select(_users.c.id)
    .join_from(_user_gaids, _users, _users.c.id == _user_gaids.c.user_id)
    .where(
        _user_gaids.c.issuer_id == sa.bindparam("issuer"),
        _user_gaids.c.account_id == sa.bindparam("account"),
        _users.c.deleted_at.is_(None),
    )
)


def _row(row: Any) -> UserRow:
    return UserRow(
        id=row.id,
        issuer_id=row.issuer_id,
        creator_id=row.creator_id,
        name=row.name,
        is_company=bool(row.is_company),
        is_frozen=bool(row.is_frozen),
        default_account=row.account_id,
        default_gaid=row.receiving_id,
    )


# --- for other modules ---------------------------------------------------------------------------------------------


def find(call: Call, id: int | None = None) -> UserRow:  # noqa: A002 (as everywhere else)
    """The registered user of ``id``, or of ``{id}`` in the path, if it is the caller's issuer's.

    Raises :class:`NothingHere`, for somebody else's and for a deleted one as well.
    """
    number = row_id(call.path["id"]) if id is None else id
    row = call.db.execute(_ONE_USER, {"id": number}).one_or_none()
    if row is None or row.issuer_id != call.who.issuer_id:
        raise NothingHere("there is no such registered user")
    return _row(row)


def default_account(db: Connection, user_id: int) -> int | None:
    """The account (row number) that distributions to a user pay; None while there is none."""
    found: int | None = db.execute(_DEFAULT, {"user": user_id}).scalar_one_or_none()
    return found


def default_accounts(db: Connection, user_ids: Iterable[int]) -> list[int]:
    """Those accounts of some users, as far as they have one."""
    ids = _user_gaids.c.user_id.in_(sorted(user_ids))
    return list(db.execute(sa.select(_user_gaids.c.account_id).where(ids, _IS_DEFAULT)).scalars())


def qualifies(db: Connection, user_id: int, asset: int) -> bool:
    """Whether a user is in every category that an asset (row number) requires; a deleted user never is."""
    if db.execute(_IS_THERE, {"user": user_id}).one_or_none() is None:
        return False
    return meets(db, user_id, asset)


def meets(db: Connection, user_id: int, asset: int) -> bool:
    """Whether a user, who is known to be there, is in every category that an asset (row number) requires."""
    return db.execute(_MISSING, {"user": user_id, "asset": asset}).one_or_none() is None


def owner_of(db: Connection, issuer_id: int, account_id: int) -> int | None:
    """The registered user of an issuer that has an account; None for nobody, and for a deleted one."""
    found: int | None = db.execute(_OWNER, {"issuer": issuer_id, "account": account_id}).scalar_one_or_none()
    return found


def shown(db: Connection, user_id: int) -> wire.User:
    """A registered user as the API shows it."""
    return _to_wire(db, [db.execute(_ONE_USER, {"id": user_id}).one()])[0]


def _to_wire(db: Connection, rows: Sequence[Sequence[Any]], *, all_of: int | None = None) -> list[wire.User]:
    """Rows of :data:`_USERS` as the API shows them; ``all_of``: they are all there are of this issuer."""
    query = sa.select(_members.c.user_id, _members.c.category_id).order_by(_members.c.category_id)
    if all_of is not None:
        query = query.join(_categories, _categories.c.id == _members.c.category_id)
        query = query.where(_categories.c.issuer_id == all_of)
    else:
        query = query.where(_members.c.user_id.in_([row[0] for row in rows]))
    memberships: dict[int, list[int]] = {}
    for user_id, category_id in plain_rows(db, query):
        memberships.setdefault(user_id, []).append(category_id)
    # From row to answer in one step: there may be a hundred thousand, and whatever stands in between costs more.
    return [
        wire.User(
            id=user_id,
            gaid=gaid,
            is_company=bool(is_company),
            name=name,
            categories=memberships.get(user_id, []),
            creator=creator_id,
            is_frozen=bool(is_frozen),
        )
        for user_id, _issuer, creator_id, name, is_company, is_frozen, _account, gaid in rows
    ]


def verdicts_change(db: Connection, issuer_id: int) -> None:
    """Note that what is known of an issuer's holders changed: decisions that were prepared before have to be made
    anew."""
    db.execute(
        sa.update(_assets).where(_assets.c.issuer_id == issuer_id).values(policy_version=_assets.c.policy_version + 1)
    )


# --- operations ----------------------------------------------------------------------------------------------------


def list_users(call: Call, _body: None) -> list[wire.User]:
    """All registered users of the issuer."""
    issuer = call.who.issuer_id
    return _to_wire(call.db, plain_rows(call.db, _USERS.where(_users.c.issuer_id == issuer)), all_of=issuer)


def add_user(call: Call, body: wire.UserAdd) -> wire.User:
    """Register a user, with a GAID or without one."""
    row = {
        "issuer_id": call.who.issuer_id,
        "creator_id": call.who.id,
        "name": plain_text(body.name, "name"),
        "is_company": int(body.is_company),
        "is_frozen": 0,
        "created_at": call.desk.now(),
    }
    user_id = int(call.db.execute(_users.insert().values(row).returning(_users.c.id)).scalar_one())
    if body.gaid is not None:
        _attach(call, user_id, body.gaid, "GAID")
    events.note(call, "add_user", user=user_id)
    return shown(call.db, user_id)


def get_user(call: Call, _body: None) -> wire.User:
    """One registered user."""
    return shown(call.db, find(call).id)


def edit_user(call: Call, body: wire.UserEdit) -> wire.User:
    """Rename a registered user; nothing else of one can be edited."""
    user = find(call)
    if body.name is not None:
        name = plain_text(body.name, "name")
        call.db.execute(sa.update(_users).where(_users.c.id == user.id).values(name=name))
        events.note(call, "edit_user", user=user.id)
    return shown(call.db, user.id)


def delete_user(call: Call, _body: None) -> None:
    """Delete a registered user who has no assignments left to distribute. Their GAIDs stay used.

    Not one who is frozen, or whom a rule names: their accounts would be free of it, and ending a rule may take time and
    other persons.
    """
    user = find(call)
    if user.is_frozen:
        raise OperationRefused("This user is frozen, and their accounts would not be any more; unfreeze them first")
    _refuse_named(call.db, user)
    waiting = sa.select(_assignments.c.id).where(
        _assignments.c.user_id == user.id, _assignments.c.distributed_at.is_(None)
    )
    if call.db.execute(waiting.limit(1)).one_or_none() is not None:
        raise OperationRefused("This user has assignments that are not distributed; delete those first")
    call.db.execute(sa.update(_users).where(_users.c.id == user.id).values(deleted_at=call.desk.now()))
    call.db.execute(sa.delete(_members).where(_members.c.user_id == user.id))
    verdicts_change(call.db, user.issuer_id)
    events.note(call, "delete_user", user=user.id)


def _refuse_named(db: Connection, user: UserRow) -> None:
    """Refuse a user whom a rule in force holds to something."""
    rules = asset_schema.asset_rules
    rows = db.execute(
        sa.select(rules.c.id, rules.c.parameters, _assets.c.uuid)
        .join(_assets, _assets.c.id == rules.c.asset)
        .where(_assets.c.issuer_id == user.issuer_id, rules.c.tag.in_(_NAMING), rules.c.ended_at.is_(None))
    )
    for row in rows:
        values = json.loads(row.parameters)
        if user.id == values.get("user_id") or user.id in values.get("users", ()):
            raise OperationRefused(f"Rule {row.id} of asset {row.uuid} is about this user; end it first")


def _set_frozen(call: Call, is_frozen: bool) -> wire.User:
    user = find(call)
    if user.is_frozen != is_frozen:
        call.db.execute(sa.update(_users).where(_users.c.id == user.id).values(is_frozen=int(is_frozen)))
        verdicts_change(call.db, user.issuer_id)
        events.note(call, "freeze_user" if is_frozen else "unfreeze_user", user=user.id)
    return shown(call.db, user.id)


def freeze_user(call: Call, _body: None) -> wire.User:
    """Freeze a registered user, at once: their accounts neither send nor receive any asset of the issuer."""
    return _set_frozen(call, True)


def unfreeze_user(call: Call, _body: None) -> wire.User:
    """Let a frozen user send and receive again."""
    return _set_frozen(call, False)


# --- their GAIDs ---------------------------------------------------------------------------------------------------


def list_gaids(call: Call, _body: None) -> list[wire.Gaid]:
    """The GAIDs of a registered user, in the order in which they were added."""
    user = find(call)
    query = (
        sa.select(_accounts.c.receiving_id)
        .join_from(_user_gaids, _accounts, _accounts.c.id == _user_gaids.c.account_id)
        .where(_user_gaids.c.user_id == user.id)
        .order_by(_user_gaids.c.added_at, _user_gaids.c.account_id)
    )
    return list(call.db.execute(query).scalars())


def add_gaid(call: Call, gaid: wire.Gaid) -> wire.Nothing:
    """Give a registered user one more GAID. The first one is the default."""
    user = find(call)
    _refuse_beyond_own_assets(call, user)
    _attach(call, user.id, gaid, "non_field_errors")
    events.note(call, "add_gaid", user=user.id, gaid=gaid)
    return wire.Nothing()


def set_default_gaid(call: Call, gaid: wire.Gaid) -> wire.Nothing:
    """Let distributions to a registered user pay this one of their GAIDs."""
    user = find(call)
    account = call.db.execute(
        sa.select(_user_gaids.c.account_id)
        .join(_accounts, _accounts.c.id == _user_gaids.c.account_id)
        .where(_user_gaids.c.user_id == user.id, _accounts.c.receiving_id == gaid)
    ).scalar_one_or_none()
    if account is None:
        raise OperationRefused("This user does not have this GAID; add it first")
    mine = _user_gaids.c.user_id == user.id
    call.db.execute(sa.update(_user_gaids).where(mine, _IS_DEFAULT).values(is_default=0))
    call.db.execute(sa.update(_user_gaids).where(mine, _user_gaids.c.account_id == account).values(is_default=1))
    events.note(call, "set_default_gaid", user=user.id, gaid=gaid)
    return wire.Nothing()


def user_of_gaid(call: Call, _body: None) -> wire.User:
    """The registered user that has a GAID."""
    account = gaids.account_of(call.db, call.path["gaid"])
    user_id = None if account is None else owner_of(call.db, call.who.issuer_id, account)
    if user_id is None:
        raise NothingHere("no registered user has this GAID")
    return shown(call.db, user_id)


def _refuse_beyond_own_assets(call: Call, user: UserRow) -> None:
    """A manager gives nobody's account the right to hold an asset that was not given to them."""
    if call.who.role is Role.ISSUER:
        return
    requiring = (
        sa.select(_requirements.c.asset)
        .join(_members, _members.c.category_id == _requirements.c.category_id)
        .where(_members.c.user_id == user.id)
    )
    if not call.who.assets.issuperset(call.db.execute(requiring).scalars()):
        raise Detail(
            403, "This user is in a category that an asset requires which this manager was not given; ask the issuer"
        )


def _attach(call: Call, user_id: int, gaid: str, field: str) -> None:
    account = gaids.account_of(call.db, gaid)
    if account is None:
        raise WrongFields.of(field, "This is no GAID of an AMP account here")
    issuer = call.who.issuer_id
    owner = call.db.execute(
        sa.select(_user_gaids.c.user_id).where(_user_gaids.c.issuer_id == issuer, _user_gaids.c.account_id == account)
    ).scalar_one_or_none()
    if owner == user_id:
        return
    if owner is not None:
        # Clients look for these words.
        raise WrongFields.of(field, "GAID was already created: a registered user has it, or had it")
    call.db.execute(
        _user_gaids.insert().values(
            issuer_id=issuer,
            account_id=account,
            user_id=user_id,
            is_default=int(default_account(call.db, user_id) is None),
            added_at=call.desk.now(),
        )
    )
    verdicts_change(call.db, issuer)


def _at(method: str, path: str, function: Any, answer: Any, who: Who = Who.ISSUER, **more: Any) -> Endpoint:
    runs = Runs.READ if method == "GET" else Runs.WRITE
    path = "/registered_users" + path
    return Endpoint((method,), path, function, answer, who=who, runs=runs, tag="registered_users", **more)


ENDPOINTS = (
    _at("GET", "", list_users, list[wire.User], Who.TEAM),
    _at("POST", "/add", add_user, wire.User, Who.TEAM, body=wire.UserAdd, status=201),
    _at("GET", "/{id}", get_user, wire.User, Who.TEAM),
    _at("PUT", "/{id}/edit", edit_user, wire.User, body=wire.UserEdit),
    _at("DELETE", "/{id}/delete", delete_user, None, status=204),
    _at("PUT", "/{id}/freeze", freeze_user, wire.User),
    _at("PUT", "/{id}/unfreeze", unfreeze_user, wire.User),
    _at("GET", "/{id}/gaids", list_gaids, list[wire.Gaid], Who.TEAM),
    _at("POST", "/{id}/gaids/add", add_gaid, wire.Nothing, Who.TEAM, body=wire.Gaid),
    _at("POST", "/{id}/gaids/set-default", set_default_gaid, wire.Nothing, body=wire.Gaid),
    Endpoint(("GET",), "/gaids/{gaid}/registered_user", user_of_gaid, wire.User, tag="gaids"),
)
