"""Lost factors: a reset, its delay, and who may stop it. Owns the table ``two_factor_resets``.

Who has the mnemonic and no factor may ask for a reset, naming an e-mail address. For a long delay nothing leaves the
wallet, and its user hears of it on every channel. Whoever has a factor ends it at once. Whoever has only the
mnemonic as well may dispute it, with another e-mail address; then it takes effect no more by itself, and after a
delay of its own the dispute is resolved by the wallet's login key, in either direction. Nobody is locked out for
ever, and nobody is reset without notice.

The states, and every event in each. ``same`` is the e-mail address the reset was asked for with, ``disputer`` that of
the dispute, ``other`` any other::

    event                    none             active                      disputed
    ----------------------   --------------   -------------------------   ---------------------------------
    confirm reset   same     → active [1]     active (nothing new)        disputed (nothing new)
    confirm reset   other    → active [1]     refused: dispute it         refused
    dispute         same     refused          refused: undo it            refused
    dispute         other    refused          → disputed, delay anew      refused; disputer: nothing new
    undo            same     refused          → none                      → none
    undo            disputer refused          –                           → active, the time left goes on
    undo            other    refused          refused                     refused
    cancel (a factor)        none             → none [2]                  → none [2]
    delay over               –                → none, factors removed     disputed (may be resolved now)
    resolve "reset"          refused          refused                     → none, factors removed [3]
    resolve "keep"           refused          refused                     → none [2] [3]

[1] only with a factor to lose, and not within a week of [2]; [3] only after the delay, signed by the login key.

Whoever has the mnemonic can lock the factors by guessing wrong, and so keep their owner from cancelling. That gains
nothing: factors are removed only when there was no lock for a week.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import twofactor as wire
from amp0.server.refusal import InvalidRequest, ResetInProgress
from amp0.server.store import schema
from amp0.server.twofactor import codes, limits, methods, notices
from amp0.server.twofactor.factors import DAY, Factors

log = logging.getLogger("amp0.server.twofactor")

COOL_DOWN = 7 * DAY
"""After a reset was ended by a factor or a signature, none can be asked for this long: no storm of them."""
QUIET = 7 * DAY
"""Factors are removed only when they could have been used for this long."""
NONCE_SECONDS = 600

_resets = schema.two_factor_resets
# Asked at every login, so made once.
_BY_USER = sa.select(_resets).where(_resets.c.user_id == sa.bindparam("user_id"))


class State(enum.Enum):
    """Where the reset of a wallet stands."""

    NONE = "none"
    ACTIVE = "active"
    DISPUTED = "disputed"


class Event(enum.Enum):
    """What can happen to it."""

    CONFIRM = "confirm"
    DISPUTE = "dispute"
    UNDO = "undo"
    CANCEL = "cancel"
    DELAY_OVER = "delay over"
    RESOLVE_RESET = "resolve: reset"
    RESOLVE_KEEP = "resolve: keep"


class Who(enum.Enum):
    """Whose e-mail address confirmed the event, where one did."""

    SAME = "same"
    DISPUTER = "disputer"
    OTHER = "other"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Step:
    """One cell of the table: the state after, and whether anything changes."""

    state: State
    changes: bool = True


_STAYS_ACTIVE = Step(State.ACTIVE, changes=False)
_STAYS_DISPUTED = Step(State.DISPUTED, changes=False)
_STAYS_NONE = Step(State.NONE, changes=False)
_TO_NONE, _TO_ACTIVE, _TO_DISPUTED = Step(State.NONE), Step(State.ACTIVE), Step(State.DISPUTED)
_NO_RESET = "There is no two-factor reset of this wallet"
_DISPUTED = "The two-factor reset of this wallet is disputed already"
_NOT_DISPUTED = "The two-factor reset of this wallet is not disputed; there is nothing to resolve"

TABLE: dict[tuple[State, Event, Who], Step | str] = {
    (State.NONE, Event.CONFIRM, Who.OTHER): _TO_ACTIVE,
    (State.NONE, Event.DISPUTE, Who.OTHER): _NO_RESET + " that could be disputed",
    (State.NONE, Event.UNDO, Who.OTHER): _NO_RESET,
    (State.NONE, Event.CANCEL, Who.NOBODY): _STAYS_NONE,
    (State.NONE, Event.DELAY_OVER, Who.NOBODY): _STAYS_NONE,
    (State.NONE, Event.RESOLVE_RESET, Who.NOBODY): _NO_RESET,
    (State.NONE, Event.RESOLVE_KEEP, Who.NOBODY): _NO_RESET,
    (State.ACTIVE, Event.CONFIRM, Who.SAME): _STAYS_ACTIVE,
    (State.ACTIVE, Event.CONFIRM, Who.OTHER): "A two-factor reset is active; if it is not yours, dispute it",
    (State.ACTIVE, Event.DISPUTE, Who.SAME): "This address asked for the reset; undo it instead of disputing it",
    (State.ACTIVE, Event.DISPUTE, Who.OTHER): _TO_DISPUTED,
    (State.ACTIVE, Event.UNDO, Who.SAME): _TO_NONE,
    (State.ACTIVE, Event.UNDO, Who.OTHER): "Another address asked for the reset; dispute it, or cancel it with a code",
    (State.ACTIVE, Event.CANCEL, Who.NOBODY): _TO_NONE,
    (State.ACTIVE, Event.DELAY_OVER, Who.NOBODY): _TO_NONE,
    (State.ACTIVE, Event.RESOLVE_RESET, Who.NOBODY): _NOT_DISPUTED,
    (State.ACTIVE, Event.RESOLVE_KEEP, Who.NOBODY): _NOT_DISPUTED,
    (State.DISPUTED, Event.CONFIRM, Who.SAME): _STAYS_DISPUTED,
    (State.DISPUTED, Event.CONFIRM, Who.DISPUTER): _DISPUTED,
    (State.DISPUTED, Event.CONFIRM, Who.OTHER): _DISPUTED,
    (State.DISPUTED, Event.DISPUTE, Who.SAME): _DISPUTED,
    (State.DISPUTED, Event.DISPUTE, Who.DISPUTER): _STAYS_DISPUTED,
    (State.DISPUTED, Event.DISPUTE, Who.OTHER): _DISPUTED,
    (State.DISPUTED, Event.UNDO, Who.SAME): _TO_NONE,
    (State.DISPUTED, Event.UNDO, Who.DISPUTER): _TO_ACTIVE,
    (State.DISPUTED, Event.UNDO, Who.OTHER): "This address neither asked for the reset nor disputed it",
    (State.DISPUTED, Event.CANCEL, Who.NOBODY): _TO_NONE,
    (State.DISPUTED, Event.DELAY_OVER, Who.NOBODY): _STAYS_DISPUTED,
    (State.DISPUTED, Event.RESOLVE_RESET, Who.NOBODY): _TO_NONE,
    (State.DISPUTED, Event.RESOLVE_KEEP, Who.NOBODY): _TO_NONE,
}
"""(state, event, who) → the step, or why it is refused. What is not here cannot happen."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The reset of one wallet. Addresses in the clear; times in trusted seconds.

    ``due_at`` is when an active reset takes effect, or when a disputed one may be resolved; ``remaining`` is what was
    left of the delay when it was disputed.
    """

    state: State = State.NONE
    claimant: str = ""
    disputer: str = ""
    due_at: int = 0
    remaining: int = 0
    not_before: int = 0

    def who(self, email: str) -> Who:
        """Whose address this is."""
        if self.state is not State.NONE and email == self.claimant:
            return Who.SAME
        if self.state is State.DISPUTED and email == self.disputer:
            return Who.DISPUTER
        return Who.OTHER

    def to_wire(self, now: int) -> wire.ResetReply:
        """As clients see it. The days of a dispute are those until it may be resolved."""
        if self.state is State.NONE:
            return wire.ResetReply()
        return wire.ResetReply(
            reset_2fa_active=True,
            reset_2fa_days_remaining=max(0, -(-(self.due_at - now) // DAY)),
            reset_2fa_disputed=self.state is State.DISPUTED,
        )


# --- reading -------------------------------------------------------------------------------------------------------


def load(factors: Factors, db: Connection, user_id: int) -> Reset:
    """The reset of a wallet."""
    row = db.execute(_BY_USER, {"user_id": user_id}).one_or_none()
    if row is None:
        return Reset()
    return Reset(
        state=State(row.state),
        claimant=factors.open(user_id, row.claimant_box),
        disputer=factors.open(user_id, row.disputer_box),
        due_at=row.due_at,
        remaining=row.remaining,
        not_before=row.not_before,
    )


def is_active(db: Connection, user_id: int) -> bool:
    """Whether a reset is active or disputed."""
    state = db.execute(sa.select(_resets.c.state).where(_resets.c.user_id == user_id)).scalar_one_or_none()
    return state is not None and State(state) is not State.NONE


def refuse_while_active(db: Connection, user_id: int) -> None:
    """Refuse what is not done during a reset. Raises :class:`ResetInProgress`."""
    if is_active(db, user_id):
        raise ResetInProgress(
            "A two-factor reset of this wallet is in progress: it reads and receives, and changes or spends nothing. "
            "With one of its second factors the reset can be cancelled at once"
        )


# --- changing ------------------------------------------------------------------------------------------------------


def apply(factors: Factors, db: Connection, user_id: int, event: Event, email: str = "") -> Reset:
    """Let an event happen, whose authority has been checked, and tell the user. Raises :class:`InvalidRequest`."""
    before = load(factors, db, user_id)
    who = before.who(email) if email else Who.NOBODY
    cell = TABLE[before.state, event, who]
    if isinstance(cell, str):
        raise InvalidRequest(cell)
    if not cell.changes:
        return before
    now = factors.now()
    _check_conditions(factors, db, user_id, before, event, now)
    after = _next(factors, before, event, cell.state, email, now)
    log.warning("two-factor reset user=%d event=%s state=%s", user_id, event.value, after.state.value)
    _tell(factors, db, user_id, before, after, event)
    _save(factors, db, user_id, after)
    if event in (Event.DELAY_OVER, Event.RESOLVE_RESET):
        _remove_factors(factors, db, user_id, before.claimant)
    return after


def _check_conditions(factors: Factors, db: Connection, user_id: int, before: Reset, event: Event, now: int) -> None:
    if event is Event.CONFIRM:
        if not methods.enabled(db, user_id):
            raise InvalidRequest("This wallet has no second factor, so there is nothing to reset")
        if now < before.not_before:
            raise InvalidRequest(
                f"A reset of this wallet was ended lately; another can be asked for in {_days(before.not_before - now)}"
            )
    if event in (Event.RESOLVE_RESET, Event.RESOLVE_KEEP) and now < before.due_at:
        raise InvalidRequest(f"The dispute can be resolved in {_days(before.due_at - now)}")
    if event is Event.RESOLVE_RESET and now < _quiet_at(db, user_id):
        raise InvalidRequest(
            "The wallet's factors were locked lately by wrong codes, so whoever has them may not have been heard; they "
            f"can be removed in {_days(_quiet_at(db, user_id) - now)}"
        )


def _quiet_at(db: Connection, user_id: int) -> int:
    """From when on the wallet's factors could have been used for long enough."""
    locked_until = codes.locked_until(db, user_id)
    return locked_until + QUIET if locked_until else 0


def _next(factors: Factors, before: Reset, event: Event, state: State, email: str, now: int) -> Reset:
    if event is Event.CONFIRM:
        return replace(before, state=state, claimant=email, disputer="", due_at=now + factors.reset_seconds)
    if event is Event.DISPUTE:
        # The delay of the dispute begins once: the table lets nobody dispute it again to begin it anew.
        left = max(0, before.due_at - now)
        return replace(before, state=state, disputer=email, due_at=now + factors.reset_seconds, remaining=left)
    if state is State.ACTIVE:
        # At least a day, so that the notice of it comes first.
        return replace(before, state=state, disputer="", due_at=now + max(before.remaining, DAY), remaining=0)
    if event in (Event.CANCEL, Event.RESOLVE_KEEP):
        return Reset(not_before=now + COOL_DOWN)
    return Reset(not_before=before.not_before)


def _save(factors: Factors, db: Connection, user_id: int, reset: Reset) -> None:
    db.execute(_resets.delete().where(_resets.c.user_id == user_id))
    db.execute(
        _resets.insert().values(
            user_id=user_id,
            state=reset.state.value,
            claimant_box=factors.seal(user_id, reset.claimant) if reset.claimant else b"",
            disputer_box=factors.seal(user_id, reset.disputer) if reset.disputer else b"",
            due_at=reset.due_at,
            remaining=reset.remaining,
            not_before=reset.not_before,
            nonce_hash=b"",
            nonce_expires_at=0,
        )
    )


def _remove_factors(factors: Factors, db: Connection, user_id: int, email: str) -> None:
    methods.remove_all(db, user_id)
    methods.put(factors, db, user_id, wire.EMAIL, email, enable=False)
    codes.renew_totp(factors, db, user_id)
    codes.forget_outstanding(factors, db, user_id)
    codes.forgive(db, user_id)
    limits.store(db, user_id, 0)


def forget(db: Connection, user_id: int) -> None:
    """Forget the reset of a wallet that is removed."""
    db.execute(_resets.delete().where(_resets.c.user_id == user_id))


# --- time ----------------------------------------------------------------------------------------------------------


def due(factors: Factors, db: Connection) -> list[int]:
    """Wallets (ids) whose reset is active and its delay over."""
    here = (_resets.c.state == State.ACTIVE.value) & (_resets.c.due_at <= factors.now())
    return list(db.execute(sa.select(_resets.c.user_id).where(here)).scalars())


def complete(factors: Factors, db: Connection, user_id: int) -> None:
    """Let a reset take effect, if its delay is still over, or put it off. Raises :class:`ClockJumped`."""
    factors.clock.require_steady()
    if user_id not in due(factors, db):
        return
    quiet_at = _quiet_at(db, user_id)
    if factors.now() < quiet_at:
        log.warning("two-factor reset waits for the end of a lock user=%d", user_id)
        db.execute(_resets.update().where(_resets.c.user_id == user_id).values(due_at=quiet_at))
        return
    apply(factors, db, user_id, Event.DELAY_OVER)


def prolong(db: Connection, seconds: int) -> None:
    """Add to every delay the time in which nobody could have seen a notice or answered it."""
    db.execute(_resets.update().where(_resets.c.state != State.NONE.value).values(due_at=_resets.c.due_at + seconds))


# --- resolving a dispute -------------------------------------------------------------------------------------------


def new_nonce(factors: Factors, db: Connection, user_id: int, outcome: str) -> wire.DisputeNonce:
    """A nonce for one signature about one outcome; an earlier one is good no more. Raises :class:`InvalidRequest`."""
    _refuse_resolving(factors, db, user_id, outcome)
    nonce, expires = factors.random(32).hex(), factors.now() + NONCE_SECONDS
    db.execute(
        _resets.update()
        .where(_resets.c.user_id == user_id)
        .values(nonce_hash=_nonce_hash(factors, outcome, nonce), nonce_expires_at=expires)
    )
    return wire.DisputeNonce(nonce, expires)


def check_nonce(factors: Factors, db: Connection, user_id: int, outcome: str, nonce: str) -> int:
    """The expiry that was signed with the nonce, which ends with the dispute. Raises :class:`InvalidRequest`."""
    _refuse_resolving(factors, db, user_id, outcome)
    row = db.execute(
        sa.select(_resets.c.nonce_hash, _resets.c.nonce_expires_at).where(_resets.c.user_id == user_id)
    ).one()
    if bytes(row.nonce_hash) != _nonce_hash(factors, outcome, nonce) or row.nonce_expires_at <= factors.now():
        raise InvalidRequest("This nonce is not the newest one, or has expired; ask for another and sign again")
    return int(row.nonce_expires_at)


def _refuse_resolving(factors: Factors, db: Connection, user_id: int, outcome: str) -> None:
    factors.clock.require_steady()
    if outcome not in wire.OUTCOMES:
        raise InvalidRequest(f"A dispute ends in {' or '.join(wire.OUTCOMES)}")
    current = load(factors, db, user_id)
    if current.state is not State.DISPUTED:
        raise InvalidRequest(_NOT_DISPUTED if current.state is State.ACTIVE else _NO_RESET)
    if factors.now() < current.due_at:
        raise InvalidRequest(f"The dispute can be resolved in {_days(current.due_at - factors.now())}")


def _nonce_hash(factors: Factors, outcome: str, nonce: str) -> bytes:
    return factors.digest(b"nonces", f"{outcome}:{nonce}".encode())


# --- words ---------------------------------------------------------------------------------------------------------


def _days(seconds: int) -> str:
    days = max(1, -(-seconds // DAY))
    return f"{days} day{'' if days == 1 else 's'}"


def _tell(factors: Factors, db: Connection, user_id: int, before: Reset, after: Reset, event: Event) -> None:
    delay = _days(after.due_at - factors.now())
    subject, text = {
        Event.CONFIRM: (
            "Two-factor reset requested",
            f"Somebody who has your wallet's mnemonic asked to remove its second factors. This happens in {delay}. If "
            "it was not you, cancel it with one of your factors; without any, dispute it.",
        ),
        Event.DISPUTE: (
            "Two-factor reset disputed",
            f"The reset of your wallet's second factors was disputed. In {delay} whoever has its mnemonic can resolve "
            "the dispute. One of your factors cancels reset and dispute at once.",
        ),
        Event.UNDO: (
            "Two-factor reset or dispute taken back",
            "The reset of your wallet's second factors was taken back."
            if after.state is State.NONE
            else f"The dispute was taken back: your wallet's second factors will be removed in {delay}.",
        ),
        Event.CANCEL: (
            "Two-factor reset cancelled",
            "The reset of your wallet's second factors was cancelled with one of them.",
        ),
        Event.DELAY_OVER: ("Second factors removed", "The delay is over: your wallet has no second factor any more."),
        Event.RESOLVE_RESET: (
            "Second factors removed",
            "The dispute was resolved with your wallet's key: it has no second factor any more.",
        ),
        Event.RESOLVE_KEEP: (
            "Two-factor reset refused",
            "The dispute was resolved with your wallet's key: its second factors stay.",
        ),
    }[event]
    parties = {before.claimant, before.disputer, after.claimant, after.disputer}
    notices.tell(factors, db, user_id, subject, text, also=parties)
