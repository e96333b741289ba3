"""What a wallet's user is told without asking: on every channel, and not forgotten when a relay is down.

A notice is written in the transaction that it tells of, one row for each of the wallet's addresses, and sent
afterwards until the channel takes it. Owns the table ``two_factor_notices``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import twofactor as wire
from amp0.server.refusal import DeliveryFailed
from amp0.server.store import schema
from amp0.server.store.engine import Store
from amp0.server.twofactor import methods
from amp0.server.twofactor.delivery import Message
from amp0.server.twofactor.factors import Factors

log = logging.getLogger("amp0.server.twofactor")

MOST_TRIES = 10
"""Tries until a notice is given up: the last one about 17 hours after the first."""
_FIRST_WAIT = 120
_AT_ONCE = 50

_notices = schema.two_factor_notices


def tell(
    factors: Factors,
    db: Connection,
    user_id: int,
    subject: str,
    text: str,
    *,
    also: Iterable[str] = (),
) -> None:
    """Tell the user, on every channel of the wallet and at further e-mail addresses."""
    targets = set(methods.addresses(factors, db, user_id).items())
    targets |= {(wire.EMAIL, email) for email in also if email}
    now = factors.now()
    rows = [
        {
            "user_id": user_id,
            "method": method,
            "address_box": factors.seal(user_id, address),
            "subject": subject,
            "text": text,
            "created_at": now,
            "tries": 0,
            "next_try_at": now,
        }
        for method, address in sorted(targets)
        # Nobody is telephoned about this, least of all at night, who is reached otherwise.
        if factors.offers(method) and (method != wire.PHONE or len(targets) == 1)
    ]
    log.warning("notice user=%d subject=%r channels=%d", user_id, subject, len(rows))
    if rows:
        db.execute(_notices.insert(), rows)


def send_due(factors: Factors, store: Store) -> int:
    """Send what is due; how many were. Blocks while channels answer, and holds no transaction meanwhile."""
    now = factors.now()
    with store.snapshot() as db:
        due = db.execute(
            sa.select(_notices).where(_notices.c.next_try_at <= now).order_by(_notices.c.id).limit(_AT_ONCE)
        ).all()
    for row in due:
        message = Message(
            id=f"notice-{row.id}",
            method=row.method,
            address=factors.open(row.user_id, row.address_box),
            subject=row.subject,
            text=row.text,
        )
        here = _notices.c.id == row.id
        try:
            factors.send(message)
        except DeliveryFailed:
            tries = row.tries + 1
            with store.transaction() as db:
                if tries >= MOST_TRIES:
                    log.error("notice given up user=%d method=%s subject=%r", row.user_id, row.method, row.subject)
                    db.execute(_notices.delete().where(here))
                else:
                    wait = _FIRST_WAIT * 2**row.tries
                    db.execute(_notices.update().where(here).values(tries=tries, next_try_at=now + wait))
        else:
            with store.transaction() as db:
                db.execute(_notices.delete().where(here))
    return len(due)
