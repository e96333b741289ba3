"""Issuers of a local stack: ``POST /dev/issuer {username, password}`` makes one, as ``amp0 issuer create`` does.

The wallet of the server that pays for issuances is filled from the faucet then, and a block made for it, so that the
new issuer can issue at once.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from amp0.errors import BackendUnavailable, InvalidInput

if TYPE_CHECKING:
    from amp0.local.dev_client import DevClient
    from amp0.server.app import Server

FEES = 10_000_000
"""Satoshi of L-BTC for the server's wallet: for thousands of issuances."""
SEEN_SECONDS = 20.0


def create_issuer(server: Server, dev: DevClient, now: float, body: dict[str, Any]) -> dict[str, Any]:
    """Make an issuer, and see that the server can pay for what they issue; answers ``{id, username}``."""
    from amp0.server.issuer.principals import create_issuer
    from amp0.server.issuer.refusals import WrongFields

    username, password = body.get("username"), body.get("password")
    if body.keys() != {"username", "password"} or not isinstance(username, str) or not isinstance(password, str):
        raise InvalidInput("send {username, password} of the new issuer")
    try:
        with server.services.store.transaction() as db:
            made = create_issuer(db, os.urandom, username, password, int(now))
    except WrongFields as refused:
        raise InvalidInput(str(refused)) from None
    _fill(server, dev, now)
    return {"id": made, "username": username}


def _fill(server: Server, dev: DevClient, now: float) -> None:
    from amp0.server.issuer import fee_coins

    store, wallet = server.services.store, server.side.desk.wallet
    with store.transaction() as db:
        if fee_coins.funds(db).spendable >= FEES // 2:
            return
        address = fee_coins.deposit_address(db, wallet, int(now))
    dev.faucet(str(address), FEES)
    dev.mine()
    deadline = time.monotonic() + SEEN_SECONDS
    while time.monotonic() < deadline:
        with store.snapshot() as db:
            if fee_coins.funds(db).confirmed:
                return
        time.sleep(0.05)
    raise BackendUnavailable("the server has not seen the coins that pay for issuances yet; look at its log")
