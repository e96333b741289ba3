"""Which second factors a wallet has, and under which addresses. Owns the table ``two_factor_methods``.

Addresses are kept encrypted: who steals the database learns neither numbers nor mail addresses.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import twofactor as wire
from amp0.server.refusal import InvalidRequest
from amp0.server.store import schema
from amp0.server.twofactor.factors import Factors

NAMES = {
    wire.EMAIL: "e-mail",
    wire.SMS: "SMS",
    wire.PHONE: "telephone",
    wire.TELEGRAM: "Telegram",
    wire.GAUTH: "authenticator",
}
"""Methods in the words of people."""

_methods = schema.two_factor_methods
# Asked at every login and spend, so made once.
_ENABLED = sa.select(_methods.c.method).where(_methods.c.user_id == sa.bindparam("user_id"), _methods.c.enabled == 1)
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,188}[A-Za-z0-9])?")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_TELEGRAM = re.compile(r"@?[A-Za-z0-9_]{5,32}")


def normal_address(method: str, address: str) -> str:
    """An address in the one form it is kept and compared in. Raises :class:`InvalidRequest`."""
    text = address.strip()
    if method == wire.EMAIL:
        local, _, domain = text.rpartition("@")
        text = f"{local}@{domain.lower()}"
        if _EMAIL.fullmatch(text) and ".." not in text:
            return text
        raise InvalidRequest("This is not an e-mail address that codes can be sent to")
    number = re.sub(r"[ ().-]", "", text)
    if _NUMBER.fullmatch(number):
        return number
    if method == wire.TELEGRAM and _TELEGRAM.fullmatch(text):
        return text
    raise InvalidRequest("A telephone number begins with + and its country, for example +41791234567")


def enabled(db: Connection, user_id: int) -> list[str]:
    """The wallet's second factors, in the order of :data:`~amp0.protocol.twofactor.METHODS`."""
    held = set(db.execute(_ENABLED, {"user_id": user_id}).scalars())
    return [method for method in wire.METHODS if method in held]


def protected(db: Connection, user_ids: set[int]) -> set[int]:
    """Those of the wallets that have a second factor."""
    query = sa.select(_methods.c.user_id).where(_methods.c.user_id.in_(user_ids), _methods.c.enabled == 1)
    return set(db.execute(query).scalars())


def addresses(factors: Factors, db: Connection, user_id: int) -> dict[str, str]:
    """Method → address, for methods that can be written to; the e-mail address for notices is among them."""
    rows = db.execute(
        sa.select(_methods.c.method, _methods.c.address_box).where(
            _methods.c.user_id == user_id, _methods.c.method != wire.GAUTH
        )
    )
    return {row.method: factors.open(user_id, row.address_box) for row in rows}


def put(factors: Factors, db: Connection, user_id: int, method: str, address: str = "", *, enable: bool = True) -> None:
    """Enable a method under a confirmed address, or keep an e-mail address for notices only."""
    remove(db, user_id, method)
    db.execute(
        _methods.insert().values(
            user_id=user_id,
            method=method,
            enabled=int(enable),
            address_box=factors.seal(user_id, address) if address else b"",
            created_at=factors.now(),
        )
    )


def disable(db: Connection, user_id: int, method: str) -> None:
    """Disable a method; an e-mail address stays for notices."""
    if method == wire.EMAIL:
        here = (_methods.c.user_id == user_id) & (_methods.c.method == method)
        db.execute(_methods.update().where(here).values(enabled=0))
    else:
        remove(db, user_id, method)


def remove(db: Connection, user_id: int, method: str) -> None:
    """Forget a method and its address."""
    db.execute(_methods.delete().where(_methods.c.user_id == user_id, _methods.c.method == method))


def remove_all(db: Connection, user_id: int) -> None:
    """Forget every method and address of a wallet."""
    db.execute(_methods.delete().where(_methods.c.user_id == user_id))


def masked(method: str, address: str) -> str:
    """Enough of an address to recognise one's own."""
    if method == wire.EMAIL:
        local, _, domain = address.rpartition("@")
        return f"{local[:1]}***@{domain[:1]}***"
    return f"{address[:2]}***{address[-2:]}"
