"""What the issuer's side does by itself: issuances that wait are sent again, and somebody is told in time that the
wallet which pays for them runs dry."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from amp0.server.issuer import fee_coins, issuance
from amp0.server.issuer.desk import Desk
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.refusal import ChainUnavailable
from amp0.server.store import asset_schema

log = logging.getLogger("amp0.server.issuer")

SECONDS = 5
"""An issuance has this long to be sent by the request that asked for it."""


class Upkeep:
    """Called every few seconds, in a worker thread that may wait for the chain."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._is_low: bool | None = None
        self._told: set[int] = set()

    @property
    def is_low(self) -> bool:
        """Whether the fee wallet held too little when it was looked at last."""
        return bool(self._is_low)

    def run(self) -> None:
        """Do what is due. Raises what the store raises; nothing is half done."""
        self.send_waiting()
        self.watch_funds()

    def send_waiting(self) -> None:
        """Send the issuances that the chain does not have."""
        with self._desk.store.snapshot() as db:
            waiting = issuance.waiting(db)
        self._told &= {asset.id for asset in waiting}
        for asset in waiting:
            if self._desk.now() - asset.created_at < SECONDS:
                continue
            try:
                issuance.send(self._desk, asset)
            except ChainUnavailable as refusal:
                if asset.id not in self._told:
                    log.warning("an issuance waits for the chain asset=%d error=%s", asset.id, refusal)
                    self._told.add(asset.id)
            except OperationRefused:
                # Said and settled where it was noticed; nobody waits for it here.
                continue

    def watch_funds(self) -> None:
        """Say so when the fee wallet falls below what the operator wants in it, and when it does no more. A server
        without issuers needs nothing in it."""
        with self._desk.store.snapshot() as db:
            funds = fee_coins.funds(db)
            has_issuers = db.execute(sa.select(asset_schema.principals.c.id).limit(1)).first() is not None
        low = self._desk.settings.fee_wallet_low
        is_low = has_issuers and funds.spendable < low
        if is_low == self._is_low:
            return
        if is_low:
            log.warning(
                "the wallet that pays for issuances holds less than it should satoshi=%d low=%d; fill it: "
                "amp0 server wallet address",
                funds.spendable,
                low,
            )
        elif self._is_low is not None:
            log.info("the wallet that pays for issuances is filled again satoshi=%d", funds.spendable)
        self._is_low = is_low
