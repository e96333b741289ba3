"""Changes of what an asset's policy allows: asked for, judged, waiting, done; each kept with who and when.

Everything that changes what the policy of an asset says goes through :func:`request`, whichever endpoint it came by.
A change that only tightens takes effect at once. One that loosens waits where the asset says so:

* for the asset's ``loosening_delay``, so that whoever holds a stolen login cannot use what they loosened before
  somebody has seen it waiting and cancelled it;
* for ``required_approvals`` of other *persons* than the one who asked. A person is who a login belongs to
  (``principals.person``), however many logins that is: a second account or token of the same person counts for
  nothing. Logins that are locked, or are no longer of the asset, do not count either, nor do those that the person who
  asked has handed out since, or within one delay before.

An approval agrees to the hash of asset, action and content, and a change is never edited: asking for something else
about the same rule, address or switch is a new change, which cancels the one that waits and begins without approvals.
So does a tightening about the same: locking an asset cancels the unlocking that waits. Lowering the delay or the number
of approvals is itself a loosening, and what a change has to wait for is settled when it is asked for.

**Time.** ``now`` is the trusted time (:mod:`amp0.server.twofactor.clock`): it goes forward at the speed of time
whatever is done to the wall clock, and time in which the server did not run counts at most a day (:func:`prolong`).
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.elements.hashes import sha256
from amp0.server.issuer import events
from amp0.server.issuer.desk import Call
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused
from amp0.server.policy import loosening
from amp0.server.policy.apply import Action, Content, NoLongerPossible, Order, apply, subjects
from amp0.server.store import asset_schema

log = logging.getLogger("amp0.server.policy")

State = Literal["pending", "effective", "cancelled"]
PENDING: Final = "pending"
EFFECTIVE: Final = "effective"
CANCELLED: Final = "cancelled"
MAX_PENDING = 100
"""Changes of one asset that may wait."""

_changes = asset_schema.rule_changes
_approvals = asset_schema.change_approvals
_assets = asset_schema.assets
_principals = asset_schema.principals
_manager_assets = asset_schema.manager_assets
_events = asset_schema.issuer_events


class AssetRow(Protocol):
    """What is needed of an asset here."""

    @property
    def id(self) -> int:
        """Its row number."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """Who agreed, with which login (principal), and when."""

    principal: int
    person: str
    at: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it is on record. Times in seconds since 1970; ``settled_by`` is None where time settled it."""

    id: int
    asset: int
    action: Action
    content: Content
    content_hash: bytes
    loosens: bool
    state: State
    requested_by: int
    requested_at: int
    not_before: int
    required_approvals: int
    approvals: tuple[Approval, ...]
    """Of one that waits, those that count now, one for each person; of another, those on record."""
    settled_at: int | None
    settled_by: int | None


def request(
    call: Call, asset_row: AssetRow, action: Action | str, content: Content, loosens: bool | None = None
) -> Change:
    """Ask for a change on behalf of the caller, in the caller's transaction; see the state of what is returned.

    ``content`` is what :mod:`~amp0.server.policy.apply` says for the action, already checked. Whether it loosens is
    judged here; ``loosens=True`` makes it a loosening whatever the judgement is. Asking again for what waits already
    gives back that, still waiting. Raises :class:`NoLongerPossible` and :class:`OperationRefused`.
    """
    db, who, now, asset = call.db, call.who, call.desk.now(), asset_row.id
    action = Action(action)
    text, digest = canonical(content), content_hash(db, asset, action, content)
    loosening_now = bool(loosens) or loosening.loosens(db, asset, action, content)
    delay, approvals = _conditions(db, asset) if loosening_now else (0, 0)
    waits = bool(delay or approvals)
    for earlier in _waiting(db, asset):
        if waits and earlier.content_hash == digest:
            return _load(db, earlier.id)
        if subjects(earlier.action, earlier.content) & subjects(action, content):
            _settle(db, earlier.id, CANCELLED, now, who.id)
    if waits and len(_waiting(db, asset)) >= MAX_PENDING:
        raise OperationRefused(f"{MAX_PENDING} changes of this asset wait already; cancel some first")
    if not waits:
        apply(db, action, Order(asset, content, who.id, now))
    row = {
        "asset": asset,
        "action": action.value,
        "content": text,
        "content_hash": digest,
        "loosens": int(loosening_now),
        "state": PENDING if waits else EFFECTIVE,
        "requested_by": who.id,
        "requested_at": now,
        "not_before": now + delay,
        "required_approvals": approvals,
        "settled_at": None if waits else now,
        "settled_by": None if waits else who.id,
    }
    change_id = int(db.execute(_changes.insert().values(row).returning(_changes.c.id)).scalar_one())
    events.note(call, action.value, asset, change=change_id, state=row["state"])
    log.warning(
        "policy change asset=%d change=%d action=%s loosens=%d state=%s principal=%d",
        *(asset, change_id, action.value, loosening_now, row["state"], who.id),
    )
    return _load(db, change_id)


def canonical(content: Content) -> str:
    """JSON text of a content: sorted keys, no spaces, ASCII."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def content_hash(db: Connection, asset: int, action: Action, content: Content) -> bytes:
    """What an approval agrees to: SHA-256 of the asset id (32 bytes), the action and the content, a zero in between."""
    asset_id = db.execute(sa.select(_assets.c.asset_id).where(_assets.c.id == asset)).scalar_one()
    return sha256(b"\0".join((bytes(asset_id), action.value.encode(), canonical(content).encode())))


def _conditions(db: Connection, asset: int) -> tuple[int, int]:
    row = db.execute(
        sa.select(_assets.c.loosening_delay, _assets.c.required_approvals).where(_assets.c.id == asset)
    ).one()
    return int(row.loosening_delay), int(row.required_approvals)


# --- reading -------------------------------------------------------------------------------------------------------


def find(db: Connection, asset: int, change_id: int) -> Change:
    """A change of an asset. Raises :class:`NothingHere`."""
    row = db.execute(sa.select(_changes).where(_changes.c.id == change_id, _changes.c.asset == asset)).one_or_none()
    if row is None:
        raise NothingHere("no such change")
    return _from_row(db, row)


def listed(
    db: Connection, asset: int, *, state: str | None = None, before: int | None = None, count: int = 100
) -> list[Change]:
    """Changes of an asset, newest first: at most ``count`` with ids below ``before``."""
    statement = sa.select(_changes).where(_changes.c.asset == asset).order_by(_changes.c.id.desc()).limit(count)
    if state is not None:
        statement = statement.where(_changes.c.state == state)
    if before is not None:
        statement = statement.where(_changes.c.id < before)
    return [_from_row(db, row) for row in db.execute(statement).all()]


def _load(db: Connection, change_id: int) -> Change:
    return _from_row(db, db.execute(sa.select(_changes).where(_changes.c.id == change_id)).one())


def _waiting(db: Connection, asset: int) -> list[Change]:
    here = (_changes.c.asset == asset) & (_changes.c.state == PENDING)
    return [_from_row(db, row) for row in db.execute(sa.select(_changes).where(here).order_by(_changes.c.id)).all()]


def _from_row(db: Connection, row: Row[Any]) -> Change:
    return Change(
        id=row.id,
        asset=row.asset,
        action=Action(row.action),
        content=json.loads(row.content),
        content_hash=bytes(row.content_hash),
        loosens=bool(row.loosens),
        state=row.state,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        not_before=row.not_before,
        required_approvals=row.required_approvals,
        approvals=_approvals_of(db, row) if row.required_approvals else (),
        settled_at=row.settled_at,
        settled_by=row.settled_by,
    )


# --- approving and cancelling --------------------------------------------------------------------------------------


def approve(call: Call, asset_row: AssetRow, change_id: int, agreed: bytes) -> Change:
    """The caller agrees to a change whose hash they have seen; the last approval of one whose time has come settles it.

    Agreeing twice is agreeing once. Raises :class:`NothingHere`, :class:`OperationRefused`, and 403
    :class:`Detail` for whoever asked for it.
    """
    db, who, now = call.db, call.who, call.desk.now()
    change = find(db, asset_row.id, change_id)
    if change.state != PENDING:
        raise OperationRefused(f"This change is {change.state} already")
    if not change.required_approvals:
        raise OperationRefused("This change needs no approval; it waits for its time only")
    if agreed != change.content_hash:
        raise OperationRefused("This is not what was agreed to: read the change again and approve its content_hash")
    person = _person(who.person)
    if who.id == change.requested_by or person == _person_of(db, change.requested_by):
        raise Detail(403, "Nobody approves what they asked for themselves, with any of their logins")
    if who.id in _made_by_who_asked(db, change):
        raise Detail(403, "Whoever asked for this has made this login, or changed it, too lately for it to approve it")
    here = (_approvals.c.change_id == change_id) & (_approvals.c.person == person)
    if all(who.id != approval.principal for approval in change.approvals):
        # One row for a person: that of an earlier login, which may be locked by now, makes room.
        db.execute(sa.delete(_approvals).where(here))
        db.execute(
            _approvals.insert().values(
                change_id=change_id, person=person, principal_id=who.id, content_hash=agreed, at=now
            )
        )
        events.note(call, "approve_change", asset_row.id, change=change_id)
        log.warning("policy change approved change=%d principal=%d", change_id, who.id)
    _try_to_settle(db, find(db, asset_row.id, change_id), now, who.id)
    return find(db, asset_row.id, change_id)


def cancel(call: Call, asset_row: AssetRow, change_id: int) -> Change:
    """Take back a change that waits: whoever works on the asset may. Raises :class:`OperationRefused`."""
    change = find(call.db, asset_row.id, change_id)
    if change.state == EFFECTIVE:
        raise OperationRefused("This change is effective already")
    if change.state == PENDING:
        _settle(call.db, change_id, CANCELLED, call.desk.now(), call.who.id)
        events.note(call, "cancel_change", asset_row.id, change=change_id)
        log.warning("policy change cancelled change=%d principal=%d", change_id, call.who.id)
    return find(call.db, asset_row.id, change_id)


def _person(name: str) -> str:
    # Somebody who writes it with a capital, a space more or letters of another width is nobody else.
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _person_of(db: Connection, principal: int) -> str:
    return _person(db.execute(sa.select(_principals.c.person).where(_principals.c.id == principal)).scalar_one())


def _approvals_of(db: Connection, row: Row[Any]) -> tuple[Approval, ...]:
    """As things are now: a login that was locked, removed from the asset, or given to the person who asked is out.
    What is settled keeps those it was settled with."""
    p = _principals
    given = (
        sa.select(p.c.id, p.c.person, _approvals.c.person.label("then"), _approvals.c.at)
        .join(_approvals, _approvals.c.principal_id == p.c.id)
        .where(_approvals.c.change_id == row.id, _approvals.c.content_hash == row.content_hash)
        .order_by(_approvals.c.at, p.c.id)
    )
    if row.state != PENDING:
        return tuple(Approval(one.id, one.person, one.at) for one in db.execute(given))
    rows = db.execute(given.where(_works_on(row.asset))).all()
    asked_by = _person_of(db, row.requested_by)
    by_person: dict[str, Approval] = {}
    own = _made_by_who_asked(db, row) if rows else frozenset()
    for approval in rows:
        now, then = _person(approval.person), approval.then
        if asked_by not in (now, then) and approval.id not in own:
            by_person.setdefault(now, Approval(approval.id, approval.person, approval.at))
    return tuple(by_person.values())


_HANDING_OUT = frozenset({"create_manager", "unlock_manager", "change_manager_password", "add_manager_asset"})
"""Events (of :mod:`amp0.server.issuer.managers`) after which whoever caused them may hold the login."""


def _made_by_who_asked(db: Connection, row: Row[Any] | Change) -> frozenset[int]:
    """Managers whose logins count as those of the person who asked: handed out by them since they asked, or in a delay
    before that. Otherwise whoever has an issuer's password would make an approver when one is needed."""
    since = row.requested_at - (row.not_before - row.requested_at)
    issuer = sa.select(_assets.c.issuer_id).where(_assets.c.id == row.asset).scalar_subquery()
    asked_by, own, asked = _person_of(db, row.requested_by), set(), False
    for event in db.execute(
        sa.select(_events.c.at, _events.c.action, _events.c.detail, _principals.c.person)
        .join(_principals, _principals.c.id == _events.c.principal_id)
        .where(
            _events.c.issuer_id == issuer,
            _events.c.at >= since,
            _events.c.action.in_((row.action, *_HANDING_OUT)),
        )
        .order_by(_events.c.id)
    ):
        detail = json.loads(event.detail)
        asked = asked or detail.get("change") == row.id
        # Within one second the order of events tells what came before the request.
        after = asked or event.at > since
        if after and event.action in _HANDING_OUT and _person(event.person) == asked_by:
            own.add(int(detail["manager"]))
    return frozenset(own)


def _works_on(asset: int) -> sa.ColumnElement[bool]:
    """Whether a principal's login is good, and for this asset."""
    p, issuer = _principals, sa.select(_assets.c.issuer_id).where(_assets.c.id == asset).scalar_subquery()
    given = sa.exists().where(_manager_assets.c.manager_id == p.c.id, _manager_assets.c.asset == asset)
    return sa.and_(p.c.is_locked == 0, sa.or_(p.c.id == issuer, given))


def other_persons(db: Connection, asset: int) -> int:
    """How many persons could approve what one of those who work on the asset asks for."""
    names = db.execute(sa.select(_principals.c.person).where(_works_on(asset))).scalars()
    return max(0, len({_person(name) for name in names}) - 1)


# --- settling ------------------------------------------------------------------------------------------------------


def is_due(db: Connection, now: int) -> bool:
    """Whether there is something to do for :func:`apply_due`."""
    here = (_changes.c.state == PENDING) & (_changes.c.not_before <= now)
    return any(
        len(change.approvals) >= change.required_approvals
        for change in (_from_row(db, row) for row in db.execute(sa.select(_changes).where(here)).all())
    )


def apply_due(db: Connection, now: int) -> list[Change]:
    """Let every change take effect whose time has come and that has its approvals; what settled, in order.

    ``now`` is the trusted time. Called by upkeep every few seconds, inside a transaction.
    """
    due = sa.select(_changes).where(_changes.c.state == PENDING, _changes.c.not_before <= now).order_by(_changes.c.id)
    settled: Sequence[Change] = [
        _load(db, row.id) for row in db.execute(due).all() if _try_to_settle(db, _from_row(db, row), now, None)
    ]
    return list(settled)


def prolong(db: Connection, seconds: int) -> None:
    """Add to every delay the time in which nobody could have seen what waits, or cancelled it."""
    db.execute(
        sa.update(_changes).where(_changes.c.state == PENDING).values(not_before=_changes.c.not_before + seconds)
    )


def _try_to_settle(db: Connection, change: Change, now: int, principal: int | None) -> bool:
    if now < change.not_before or len(change.approvals) < change.required_approvals:
        return False
    gone = db.execute(sa.select(_assets.c.deleted_at).where(_assets.c.id == change.asset)).scalar_one()
    order = Order(change.asset, change.content, change.requested_by, now)
    state: State = EFFECTIVE
    try:
        if gone is not None:
            raise NoLongerPossible("The asset was deleted")
        apply(db, change.action, order)
    except NoLongerPossible as error:
        log.warning("policy change is no longer possible change=%d error=%s", change.id, error)
        state = CANCELLED
    _settle(db, change.id, state, now, principal)
    log.warning("policy change settled change=%d state=%s", change.id, state)
    return True


def _settle(db: Connection, change_id: int, state: State, now: int, principal: int | None) -> None:
    values: Mapping[str, object] = {"state": state, "settled_at": now, "settled_by": principal}
    db.execute(sa.update(_changes).where(_changes.c.id == change_id).values(values))
