"""Codes: what was sent, what is right, and who guesses. Owns ``two_factor_codes``, ``_totp`` and ``_guesses``.

A sent code is good for one action with one set of data, once, for a few minutes. Of stock clients' data some actions
have none (a spend is asked for with ``{}`` before the transaction is shown): such a code is bound when it is used, to
the one transaction it is used for. A client of ours names the txid already when it asks.

An authenticator's code is good for its time step, and a step is accepted once: the newest one is kept, and nothing
at or below it passes again.

Wrong guesses are counted in one place for each wallet, whatever the method, session or door. A count and the look
at the code are one transaction, and the store has one writer, so nobody guesses beside the counter. Only a right
code of an enabled method sets it back: not a login, and not a code that went to an address the guesser chose.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pyotp
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import twofactor as wire
from amp0.server.refusal import (
    InvalidRequest,
    TwoFactorLocked,
    TwoFactorRequired,
    WrongTwoFactorCode,
)
from amp0.server.store import schema
from amp0.server.twofactor import methods, notices
from amp0.server.twofactor.factors import DAY, Factors

log = logging.getLogger("amp0.server.twofactor")

DIGITS = 6
STEP_SECONDS = 30
WINDOW = 1
"""Steps before and after the present one whose codes are accepted."""
LONGEST_LOCK = 7 * DAY
KEPT_SECONDS = 90 * DAY
"""How long uses of codes stay on record."""
_PROXY_BYTES = 16
_MOST_DATA = 16_384

_codes, _totp, _guesses = schema.two_factor_codes, schema.two_factor_totp, schema.two_factor_guesses

Data = Mapping[str, Any]


# --- actions and their data ----------------------------------------------------------------------------------------


def checked_data(action: str, data: Data | None) -> dict[str, Any]:
    """The data of an action in its one form. Raises :class:`InvalidRequest`."""
    if action not in wire.ACTIONS:
        raise InvalidRequest(f"No code is sent for {action!r}; choose one of {', '.join(wire.ACTIONS)}")
    needed, allowed = wire.ACTIONS[action]
    given = {key: value for key, value in (data or {}).items() if value is not None}
    missing = [key for key in needed if key not in given]
    unknown = given.keys() - set(needed) - set(allowed)
    if missing or unknown:
        raise InvalidRequest(
            f"The data of {action} is a map of {', '.join((*needed, *allowed)) or 'nothing'}; "
            f"{', '.join(missing) or ', '.join(sorted(unknown))} {'is missing' if missing else 'does not belong there'}"
        )
    return given


def data_hash(data: Data) -> bytes:
    """SHA-256 of data as canonical JSON. Raises :class:`InvalidRequest` for data that has none."""
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest("The data of an action is plain text, numbers, lists and maps") from None
    if len(text) > _MOST_DATA:
        raise InvalidRequest("The data of this action is too long")
    return hashlib.sha256(text.encode()).digest()


def bindings(action: str, facts: Data) -> list[dict[str, Any]]:
    """Every data that a code for ``action`` may have been asked for with, given what the call really does."""
    needed, allowed = wire.ACTIONS[action]
    found = [{key: facts[key] for key in needed}]
    for key in allowed:
        if key in facts:
            found += [{**one, key: facts[key]} for one in found]
    return found


# --- sending -------------------------------------------------------------------------------------------------------


def issue(
    factors: Factors, db: Connection, user_id: int, method: str, action: str, data: Data, *, address: str = ""
) -> str:
    """A new code for one action and its data; ``address`` is kept with it where it is a new one."""
    if method == wire.PROXY:
        code = factors.random(_PROXY_BYTES).hex()
    else:
        code = str(int.from_bytes(factors.random(8), "big") % 10**DIGITS).zfill(DIGITS)
    now = factors.now()
    db.execute(
        _codes.insert().values(
            user_id=user_id,
            method=method,
            action=action,
            data_hash=data_hash(data),
            address_box=factors.seal(user_id, address) if address else b"",
            code_hash=_code_hash(factors, user_id, code),
            created_at=now,
            expires_at=now + factors.settings.code_seconds,
            used_at=None,
            used_for=None,
        )
    )
    return code


def _code_hash(factors: Factors, user_id: int, code: str) -> bytes:
    return factors.digest(b"codes", f"{user_id}:{code}".encode())


# --- using ---------------------------------------------------------------------------------------------------------


def has_code(tfd: Data | None) -> bool:
    """Whether two-factor data carries a code at all."""
    return bool(tfd) and bool(tfd.get("code")) and bool(tfd.get("method"))  # type: ignore[union-attr]


def require(
    factors: Factors,
    db: Connection,
    user_id: int,
    tfd: Data | None,
    action: str,
    facts: Data,
    *,
    used_for: str | None = None,
    proxy: bool = False,
) -> None:
    """Let ``action`` pass if the wallet has no second factor, or if ``tfd`` holds a right code for it, used up here.

    ``facts`` is what the call does; the code may have been asked for with any of :func:`bindings`. ``used_for`` is
    recorded (the txid of a spend). ``proxy`` accepts a token of ``request_proxy`` too.

    Raises :class:`TwoFactorRequired`, :class:`TwoFactorLocked`, :class:`WrongTwoFactorCode`.
    """
    enabled = methods.enabled(db, user_id)
    accepted = [*enabled, wire.PROXY] if proxy else enabled
    if not accepted or (not enabled and not has_code(tfd)):
        return
    if not has_code(tfd):
        names = ", ".join(methods.NAMES[method] for method in enabled)
        raise TwoFactorRequired(
            f"Two factor authentication required: this wallet asks for a code ({names}) before this is done"
        )
    assert tfd is not None
    method, code = tfd["method"], tfd["code"]
    if method not in accepted:
        raise TwoFactorRequired(
            f"This wallet has no second factor {str(method)[:16]!r}; use {', '.join(enabled) or 'none'}"
        )
    refuse_if_locked(factors, db, user_id)
    text = code.strip() if isinstance(code, str) else ""
    if method == wire.GAUTH:
        right = _use_totp(factors, db, user_id, text, used_for or action)
    else:
        hashes = [data_hash(data) for data in bindings(action, facts)]
        right = _use(factors, db, user_id, method, action, hashes, text, used_for or action) is not None
    if not right:
        raise wrong(factors, user_id)
    if method != wire.PROXY:
        forgive(db, user_id)


def use_new(factors: Factors, db: Connection, user_id: int, method: str, action: str, data: Data, code: str) -> str:
    """Use a code that went to an address not yet the wallet's; the address. A wrong one counts as any other.

    Raises :class:`TwoFactorLocked`, :class:`WrongTwoFactorCode`.
    """
    refuse_if_locked(factors, db, user_id)
    box = _use(factors, db, user_id, method, action, [data_hash(data)], code.strip(), action)
    if not box:
        raise wrong(factors, user_id)
    return factors.open(user_id, box)


def _use(
    factors: Factors,
    db: Connection,
    user_id: int,
    method: str,
    action: str,
    hashes: Sequence[bytes],
    code: str,
    used_for: str,
) -> bytes | None:
    """Mark the outstanding code that ``code`` is as used; the address box kept with it, or None for no match."""
    given = _code_hash(factors, user_id, code)
    rows = db.execute(
        sa.select(_codes.c.id, _codes.c.code_hash, _codes.c.address_box)
        .where(
            _codes.c.user_id == user_id,
            _codes.c.method == method,
            _codes.c.action == action,
            _codes.c.data_hash.in_(hashes),
            _codes.c.used_at.is_(None),
            _codes.c.expires_at > factors.now(),
        )
        .order_by(_codes.c.id)
    ).all()
    # All are compared, so that time does not tell which.
    found = [row for row in rows if hmac.compare_digest(given, row.code_hash)]
    if not found:
        return None
    db.execute(_codes.update().where(_codes.c.id == found[0].id).values(used_at=factors.now(), used_for=used_for))
    return bytes(found[0].address_box)


def forget_outstanding(factors: Factors, db: Connection, user_id: int) -> None:
    """No code that was sent so far is good any more."""
    db.execute(_codes.delete().where(_codes.c.user_id == user_id, _codes.c.used_at.is_(None)))


def prune(factors: Factors, db: Connection) -> None:
    """Forget what expired unused, and uses of long ago."""
    now = factors.now()
    db.execute(_codes.delete().where(_codes.c.used_at.is_(None), _codes.c.expires_at <= now))
    db.execute(_codes.delete().where(_codes.c.used_at <= now - KEPT_SECONDS))


# --- authenticators ------------------------------------------------------------------------------------------------


def totp_secret(factors: Factors, db: Connection, user_id: int) -> str:
    """The secret of the wallet's authenticator, enabled or offered, in base32. It is not in the store."""
    salt = db.execute(sa.select(_totp.c.salt).where(_totp.c.user_id == user_id)).scalar_one_or_none() or b""
    pubkey = db.execute(sa.select(schema.users.c.master_pubkey).where(schema.users.c.id == user_id)).scalar_one()
    return base64.b32encode(factors.digest(b"authenticators", bytes(pubkey) + bytes(salt))[:20]).decode()


def totp_url(factors: Factors, db: Connection, user_id: int, name: str) -> str:
    """The ``otpauth`` URL of the secret, for authenticators to read."""
    return pyotp.TOTP(totp_secret(factors, db, user_id)).provisioning_uri(name=name, issuer_name="AMP0")


def use_offered_totp(factors: Factors, db: Connection, user_id: int, code: str) -> None:
    """Use a code of the authenticator that is being enabled. Raises as :func:`use_new`."""
    refuse_if_locked(factors, db, user_id)
    if not _use_totp(factors, db, user_id, code.strip(), wire.ENABLE):
        raise wrong(factors, user_id)


def renew_totp(factors: Factors, db: Connection, user_id: int) -> None:
    """Another secret; whoever holds the old one holds nothing."""
    _put_totp_row(db, user_id)
    db.execute(_totp.update().where(_totp.c.user_id == user_id).values(salt=factors.random(16), last_step=None))


def _use_totp(factors: Factors, db: Connection, user_id: int, code: str, used_for: str) -> bool:
    totp = pyotp.TOTP(totp_secret(factors, db, user_id), digits=DIGITS, interval=STEP_SECONDS)
    present = factors.now() // STEP_SECONDS
    matching = [
        step
        for step in range(max(0, present - WINDOW), present + WINDOW + 1)
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
    ]
    if not matching:
        return False
    _put_totp_row(db, user_id)
    newest = max(matching)
    taken = db.execute(
        _totp.update()
        .where(_totp.c.user_id == user_id, sa.or_(_totp.c.last_step.is_(None), _totp.c.last_step < newest))
        .values(last_step=newest)
    )
    if taken.rowcount != 1:
        return False
    now = factors.now()
    db.execute(
        _codes.insert().values(
            user_id=user_id,
            method=wire.GAUTH,
            action=used_for if used_for in wire.ACTIONS else "spend",
            data_hash=data_hash({"step": newest}),
            address_box=b"",
            code_hash=bytes(32),
            created_at=now,
            expires_at=now,
            used_at=now,
            used_for=used_for,
        )
    )
    return True


def _put_totp_row(db: Connection, user_id: int) -> None:
    if db.execute(sa.select(_totp.c.user_id).where(_totp.c.user_id == user_id)).first() is None:
        db.execute(_totp.insert().values(user_id=user_id, salt=b"", last_step=None))


# --- guessing ------------------------------------------------------------------------------------------------------


def locked_until(db: Connection, user_id: int) -> int:
    """When the present or last lock of the wallet's factors ends or ended; 0 if there was none since a right code."""
    query = sa.select(_guesses.c.locked_until).where(_guesses.c.user_id == user_id)
    return db.execute(query).scalar_one_or_none() or 0


def refuse_if_locked(factors: Factors, db: Connection, user_id: int) -> None:
    """Look at no code while the wallet's factors are locked. Raises :class:`TwoFactorLocked`."""
    left = locked_until(db, user_id) - factors.now()
    if left > 0:
        raise TwoFactorLocked(
            f"Too many wrong codes: this wallet's two-factor is locked for another {left // 60 + 1} minutes"
        )


def wrong(factors: Factors, user_id: int) -> WrongTwoFactorCode:
    """The refusal of a wrong code, which counts although everything else is rolled back."""
    refusal = WrongTwoFactorCode()
    refusal.aftermath = lambda db: count_wrong(factors, db, user_id)
    return refusal


def count_wrong(factors: Factors, db: Connection, user_id: int) -> None:
    """One more wrong guess; the last one allowed locks the wallet's factors and tells its user."""
    row = db.execute(sa.select(_guesses).where(_guesses.c.user_id == user_id)).one_or_none()
    if row is None:
        db.execute(_guesses.insert().values(user_id=user_id, wrong=0, locks=0, locked_until=0))
    wrong_now, locks = (row.wrong if row else 0) + 1, row.locks if row else 0
    values: dict[str, int] = {"wrong": wrong_now}
    if wrong_now >= factors.settings.code_guesses:
        seconds = min(factors.settings.code_lock_seconds << min(locks, 32), LONGEST_LOCK)
        values = {"wrong": 0, "locks": locks + 1, "locked_until": factors.now() + seconds}
        log.error("two-factor locked user=%d locks=%d seconds=%d", user_id, locks + 1, seconds)
        notices.tell(
            factors,
            db,
            user_id,
            "Somebody guesses codes for your wallet",
            f"{wrong_now} wrong two-factor codes were entered for your wallet, by somebody who has its mnemonic or a "
            f"transaction signed with it. Codes are not looked at for {seconds // 60} minutes. If this was not you, "
            "move your coins to a new wallet as soon as you can.",
        )
    db.execute(_guesses.update().where(_guesses.c.user_id == user_id).values(**values))


def forgive(db: Connection, user_id: int) -> None:
    """Count from zero again."""
    db.execute(
        _guesses.update()
        .where(_guesses.c.user_id == user_id, sa.or_(_guesses.c.wrong > 0, _guesses.c.locks > 0))
        .values(wrong=0, locks=0, locked_until=0)
    )
