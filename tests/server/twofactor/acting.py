"""Second factors in tests: what a server has of them, without a server; and what a user does with a client."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import sqlalchemy as sa

from amp0.protocol import twofactor as wire
from amp0.server.attempts import Attempts
from amp0.server.cosigner import Door, Request
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store import schema
from amp0.server.twofactor import codes, methods
from amp0.server.twofactor.clock import TrustedClock
from amp0.server.twofactor.delivery import Delivery, Outbox
from amp0.server.twofactor.factors import Factors
from amp0.server.twofactor.gate import SpendGate
from tests.server.cosigning import LBTC, Account, Payment, World
from tests.server.talking import CallError, Client, Clock

DAY = 86_400
EMAIL, PHONE_NUMBER = "alice@example.com", "+41791234567"
INVALID = wire.INVALID_CODE[1]


def make_factors(
    clock: Callable[[], float], outbox: Delivery, *, monotonic: Callable[[], float] | None = None, **settings: Any
) -> Factors:
    """As the composition root makes it."""
    chosen = Settings(**settings)
    trusted = TrustedClock(clock, monotonic or clock, tolerance=chosen.clock_tolerance_seconds, max_gap=DAY)
    return Factors(
        derive_secret=ServiceKeys.test_key().derive_secret,
        random=secrets.token_bytes,
        clock=trusted,
        channels=dict.fromkeys(wire.SENT_METHODS, outbox),
        requests=Attempts(chosen.code_refill_seconds, clock),
        settings=chosen,
        policy_asset=LBTC,
    )


class Guarded(World):
    """The cosigner's world, with the gate of second factors in it."""

    def __init__(self, url: str = "sqlite://", **settings: Any) -> None:
        self.clock = Clock()
        self.outbox = Outbox(self.clock)
        self.factors = make_factors(self.clock, self.outbox, **settings)
        super().__init__(url, gates=[SpendGate(self.factors)])

    def enable(self, account: Account, *names: str) -> None:
        """Enable methods, without the procedures."""
        addresses = {wire.EMAIL: EMAIL, wire.GAUTH: ""}
        with self.store.transaction() as db:
            for method in names:
                methods.put(self.factors, db, account.user_id, method, addresses.get(method, PHONE_NUMBER))

    def code(
        self, account: Account, action: str = wire.SEND_RAW_TX, *, method: str = wire.EMAIL, **data: Any
    ) -> dict[str, Any]:
        """Two-factor data with a code that was just sent."""
        with self.store.transaction() as db:
            return {"method": method, "code": codes.issue(self.factors, db, account.user_id, method, action, data)}

    def totp(self, account: Account, *, later: int = 0) -> dict[str, Any]:
        """Two-factor data of the wallet's authenticator, ``later`` steps from now."""
        with self.store.snapshot() as db:
            secret = codes.totp_secret(self.factors, db, account.user_id)
        return {"method": wire.GAUTH, "code": pyotp.TOTP(secret).at(int(self.clock()) + later * codes.STEP_SECONDS)}

    def used(self) -> list[tuple[str, str | None]]:
        """(method, what for) of every code that was used."""
        table = schema.two_factor_codes
        with self.store.snapshot() as db:
            rows = db.execute(sa.select(table.c.method, table.c.used_for).where(table.c.used_at.is_not(None)))
            return [(row.method, row.used_for) for row in rows]

    def wrong_guesses(self, account: Account) -> int:
        table = schema.two_factor_guesses
        with self.store.snapshot() as db:
            return db.execute(sa.select(table.c.wrong).where(table.c.user_id == account.user_id)).scalar() or 0


def spend(
    payment: Payment, tfd: Mapping[str, Any] | None = None, *, door: Door = Door.SEND, user_id: int | None = None
) -> Request:
    """A request as a session of the first coin's wallet brings it."""
    owner = payment.coins[0].account.user_id if user_id is None else user_id
    return replace(payment.request(), scripts=None, user_id=owner, door=door, authorisation=tfd or {})


# --- with a client -------------------------------------------------------------------------------------------------


async def config(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = await client.call(wire.GetTwoFactorConfig())
    return found


async def refused(client: Client, call: Any) -> CallError:
    """The error that a call ends in."""
    try:
        answer = await client.call(call)
    except CallError as error:
        return error
    raise AssertionError(f"{call} was answered: {answer}")


def newest_code(outbox: Outbox, address: str | None = None) -> str:
    """The code that came last."""
    found = [m.code for m in outbox.messages() if m.code and address in (None, m.address)]
    assert found, "no code came"
    return str(found[-1])


async def code_for(
    client: Client, outbox: Outbox, action: str, data: dict[str, Any] | None = None, method: str = wire.EMAIL
) -> dict[str, Any]:
    """Ask for a code, as a client does; the two-factor data with it."""
    assert await client.call(wire.REQUEST[method](action, data or {})) is True
    return {"method": method, "code": newest_code(outbox)}


async def enable(
    client: Client, outbox: Outbox, method: str = wire.EMAIL, address: str = EMAIL, tfd: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Enable a method whose codes are sent."""
    await client.call(wire.INIT_ENABLE[method](address, tfd or {}))
    found: dict[str, Any] = await client.call(wire.ENABLE_WITH[method](newest_code(outbox, address)))
    return found


async def enable_gauth(client: Client, clock: Clock, tfd: dict[str, Any] | None = None) -> pyotp.TOTP:
    """Enable an authenticator, as GDK does; the authenticator."""
    url = (await config(client))["gauth_url"]
    totp = pyotp.TOTP(parse_qs(urlsplit(url).query)["secret"][0])
    token = await client.call(wire.RequestProxy(wire.GAUTH, tfd or {}))
    answer = await client.call(wire.EnableGauth(totp.at(int(clock())), {"method": "proxy", "code": token}))
    assert answer["gauth"] is True
    return totp
