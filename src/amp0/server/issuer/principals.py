"""Logins of the issuer API: passwords, and the one live token of each.

A password is stretched with scrypt, and only that is kept. The token follows from the login's salt and generation and a
secret of the service key, so that asking for it again gives the same one without its being kept anywhere; the database
has its SHA-256. A new generation replaces it, and the ones before it are dead at once: after a new password, and when
somebody asks for a fresh token. Where tokens expire (``api_token_seconds``), one that has lived for half of its time
is followed by another, and lives on beside it until its end: logging in never ends what another program uses.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.protocol import issuer as wire
from amp0.server.attempts import place_of
from amp0.server.issuer import events
from amp0.server.issuer.desk import Call, Desk, Principal, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.parsing import plain_text
from amp0.server.issuer.refusals import Detail, WrongFields
from amp0.server.store import asset_schema

_SCRYPT_N = 1 << 15
_SCRYPT_MEMORY = 64 * 1024 * 1024
_TOKEN = re.compile(r"[0-9a-f]{40}")
_NO_SALT, _NO_HASH = bytes(16), bytes(32)

_principals, _tokens, _manager_assets = (
    asset_schema.principals,
    asset_schema.api_tokens,
    asset_schema.manager_assets,
)
_BY_NAME = sa.select(_principals).where(_principals.c.username == sa.bindparam("username"))
_BY_ID = sa.select(_principals).where(_principals.c.id == sa.bindparam("id"))
_BY_TOKEN = (
    sa.select(_principals, _tokens.c.expires_at)
    .join_from(_tokens, _principals, _principals.c.id == _tokens.c.principal_id)
    .where(_tokens.c.token_hash == sa.bindparam("hash"))
)
_ASSETS_OF = sa.select(_manager_assets.c.asset).where(_manager_assets.c.manager_id == sa.bindparam("id"))


# --- who it is -----------------------------------------------------------------------------------------------------


def authenticate(db: Connection, token: str, now: int) -> Principal:
    """Whose live token it is. Raises 401 for any other, and 403 for a locked login."""
    row = None
    if _TOKEN.fullmatch(token):
        row = db.execute(_BY_TOKEN, {"hash": _hash(token)}).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        raise Detail(401, "Invalid token.")
    return _principal(db, row)


def still(db: Connection, call: Call) -> None:
    """For operations that waited for somebody: the caller's token is live in this transaction as well.

    Raises what :func:`authenticate` does.
    """
    call.principal = authenticate(db, call.token, call.desk.now())


def _principal(db: Connection, row: Row[Any]) -> Principal:
    _refuse_locked(db, row)
    if row.issuer_id is None:
        return Principal(row.id, row.id, Role.ISSUER, row.username, row.person)
    assets = frozenset(db.execute(_ASSETS_OF, {"id": row.id}).scalars())
    return Principal(row.id, row.issuer_id, Role.MANAGER, row.username, row.person, assets)


def _refuse_locked(db: Connection, row: Row[Any]) -> None:
    if row.is_locked or (row.issuer_id is not None and db.execute(_BY_ID, {"id": row.issuer_id}).one().is_locked):
        raise Detail(403, "This login is locked; the issuer can unlock it")


# --- making and changing logins ------------------------------------------------------------------------------------


def create_issuer(
    db: Connection, random: Callable[[int], bytes], username: str, password: str, now: int, *, person: str | None = None
) -> int:
    """Make an issuer; returns its id. ``person`` is who is behind the login, by default its name.

    Raises :class:`WrongFields` for a name that is taken and a password that is too short.
    """
    return create(db, None, username, Stretched.of(password, random), person or username, now)


class Stretched:
    """A password as it is kept. Making one takes a tenth of a second: outside of transactions, please."""

    __slots__ = ("hash", "salt")

    def __init__(self, salt: bytes, password_hash: bytes) -> None:
        self.salt = salt
        self.hash = password_hash

    @classmethod
    def of(cls, password: str, random: Callable[[int], bytes]) -> Stretched:
        """From a new password. Raises :class:`WrongFields` when it is too short."""
        if len(password) < 8:
            raise WrongFields.of("password", "A password has at least 8 characters")
        salt = random(16)
        return cls(salt, _stretch(password, salt))


def create(db: Connection, issuer_id: int | None, username: str, password: Stretched, person: str, now: int) -> int:
    """Make an issuer (of None), or a locked manager of an issuer; returns its id. Raises :class:`WrongFields`."""
    if not 1 <= len(username) <= 150 or username != username.strip():
        raise WrongFields.of("username", "A name has 1 to 150 characters, and no space around them")
    plain_text(username, "username")
    plain_text(person, "person")
    if db.execute(_BY_NAME, {"username": username}).one_or_none() is not None:
        raise WrongFields.of("username", "A user with that username already exists.")
    row = {
        "issuer_id": issuer_id,
        "username": username,
        "person": person,
        "salt": password.salt,
        "password_hash": password.hash,
        "token_generation": 1,
        "is_locked": int(issuer_id is not None),
        "created_at": now,
    }
    return int(db.execute(_principals.insert().values(row).returning(_principals.c.id)).scalar_one())


def set_password(db: Connection, principal_id: int, password: Stretched) -> None:
    """Replace a password; every token of the login dies."""
    db.execute(
        sa.update(_principals)
        .where(_principals.c.id == principal_id)
        .values(
            salt=password.salt,
            password_hash=password.hash,
            token_generation=_principals.c.token_generation + 1,
        )
    )
    db.execute(sa.delete(_tokens).where(_tokens.c.principal_id == principal_id))


def _stretch(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_SCRYPT_N, r=8, p=1, maxmem=_SCRYPT_MEMORY, dklen=32)


# --- tokens --------------------------------------------------------------------------------------------------------


def live_token(db: Connection, desk: Desk, principal_id: int) -> str:
    """The token of a login, in a writing transaction: the live one, or a new one where there is none."""
    now, row = desk.now(), db.execute(_BY_ID, {"id": principal_id}).one()
    token = _token(desk, row)
    life, of_login = desk.settings.api_token_seconds, _tokens.c.principal_id == principal_id
    if life is not None:
        # Made when tokens did not expire: their time begins now.
        db.execute(sa.update(_tokens).where(of_login, _tokens.c.expires_at.is_(None)).values(expires_at=now + life))
    live = db.execute(sa.select(_tokens.c.expires_at).where(_tokens.c.token_hash == _hash(token))).one_or_none()
    if live is not None and (live.expires_at is None or life is None or live.expires_at - now > life // 2):
        return token
    db.execute(sa.delete(_tokens).where(of_login, _tokens.c.expires_at <= now))
    return _new_token(db, desk, row) if live is not None else _keep_token(db, desk, row)


def fresh_token(db: Connection, desk: Desk, principal_id: int) -> str:
    """A new token in place of all of the login's."""
    db.execute(sa.delete(_tokens).where(_tokens.c.principal_id == principal_id))
    return _new_token(db, desk, db.execute(_BY_ID, {"id": principal_id}).one())


def _new_token(db: Connection, desk: Desk, row: Row[Any]) -> str:
    db.execute(
        sa.update(_principals).where(_principals.c.id == row.id).values(token_generation=row.token_generation + 1)
    )
    return _keep_token(db, desk, db.execute(_BY_ID, {"id": row.id}).one())


def _keep_token(db: Connection, desk: Desk, row: Row[Any]) -> str:
    token, now, life = _token(desk, row), desk.now(), desk.settings.api_token_seconds
    db.execute(
        _tokens.insert().values(
            token_hash=_hash(token),
            principal_id=row.id,
            generation=row.token_generation,
            created_at=now,
            expires_at=None if life is None else now + life,
        )
    )
    return token


def _token(desk: Desk, row: Row[Any]) -> str:
    secret = desk.keys.derive_secret(b"issuer tokens")
    data = b"%d %d " % (row.id, row.token_generation) + bytes(row.salt)
    return hmac.digest(secret, data, "sha256").hex()[:40]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# --- operations ----------------------------------------------------------------------------------------------------


def obtain_token(call: Call, body: wire.Credentials) -> wire.Token:
    """Log in with name and password. Answers the same live token every time; form-encoded bodies are taken too."""
    desk = call.desk
    name = hashlib.sha256(body.username.encode()).hexdigest()
    buckets = {
        f"issuer name:{name}": desk.settings.login_attempts,
        f"issuer peer:{place_of(call.peer)}": 10 * desk.settings.login_attempts,
    }
    for key, capacity in buckets.items():
        desk.attempts.check(key, capacity)
    with desk.store.snapshot() as db:
        row = db.execute(_BY_NAME, {"username": body.username}).one_or_none()
    # The same work for a name that nobody has.
    salt, expected = (_NO_SALT, _NO_HASH) if row is None else (bytes(row.salt), bytes(row.password_hash))
    matches = hmac.compare_digest(_stretch(body.password, salt), expected)
    if row is None or not matches:
        for key, capacity in buckets.items():
            desk.attempts.failed(key, capacity=capacity)
        raise WrongFields("Unable to log in with provided credentials.")
    with desk.store.transaction() as db:
        now = db.execute(_BY_ID, {"id": row.id}).one()
        if bytes(now.password_hash) != expected:
            raise WrongFields("Unable to log in with provided credentials.")
        _refuse_locked(db, now)
        return wire.Token(token=live_token(db, desk, row.id))


def refresh_token(call: Call, _body: None) -> wire.Token:
    """A new token in place of the one in use, which is dead from then on."""
    token = fresh_token(call.db, call.desk, call.who.id)
    events.note(call, "refresh_token")
    return wire.Token(token=token)


def change_password(call: Call, body: wire.PasswordChange) -> wire.PasswordChanged:
    """Set a new password for the login in use; its tokens are dead from then on, and the answer has a new one."""
    stretched = Stretched.of(body.password, call.desk.random)
    with call.desk.store.transaction() as db:
        still(db, call)
        set_password(db, call.who.id, stretched)
        token = live_token(db, call.desk, call.who.id)
        events.note(call, "change_password", db=db)
    return wire.PasswordChanged(username=call.who.username, password=body.password, token=token)


ENDPOINTS = (
    Endpoint(
        ("POST",),
        "/user/obtain_token",
        obtain_token,
        wire.Token,
        wire.Credentials,
        who=Who.ANYBODY,
        runs=Runs.OUTSIDE,
        tag="user",
    ),
    Endpoint(("GET", "POST"), "/user/refresh-token", refresh_token, wire.Token, runs=Runs.WRITE, tag="user"),
    Endpoint(
        ("POST",),
        "/user/change-password",
        change_password,
        wire.PasswordChanged,
        wire.PasswordChange,
        runs=Runs.OUTSIDE,
        tag="user",
    ),
)
