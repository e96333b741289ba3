"""The cosigner's question: may this leave? One decision behind every door.

It is asked inside the transaction that records the spend, for transactions that are not on record yet. A code is used
up, or a limit debited, together with that record or not at all.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from amp0.server.cosign_checks import Spend
from amp0.server.cosigner import Door, Request
from amp0.server.refusal import FrozenInput, TwoFactorRequired
from amp0.server.twofactor import codes, frozen, limits, methods, reset
from amp0.server.twofactor.factors import Factors


class SpendGate:
    """Frozen outputs, resets, limits and codes, in this order. A :class:`~amp0.server.cosigner.Gate`."""

    def __init__(self, factors: Factors) -> None:
        self._factors = factors

    def prepare(self, spend: Spend, request: Request) -> None:
        """Nobody has to be asked beforehand: a code is looked at where it is used up."""

    def decide(self, db: Connection, spend: Spend, request: Request, prepared: object | None) -> None:
        """Let the spend pass, or raise a refusal."""
        factors = self._factors
        held = frozen.among(db, [spend.tx.vin[item.index].prevout for item in spend.own])
        if held:
            raise FrozenInput(f"The output {held[0].txid()}:{held[0].vout()} is frozen; unfreeze it first")
        wallets = {item.user_id for item in spend.own}
        for user_id in sorted(wallets):
            reset.refuse_while_active(db, user_id)
        guarded = methods.protected(db, wallets)
        if not guarded:
            return
        if request.door is Door.DELAYED_SIGNATURE:
            raise TwoFactorRequired(
                "Two factor authentication required: this wallet asks for a code, and a delayed signature can carry "
                "none; spend in a session (send_raw_tx or sign_raw_tx) with a code"
            )
        if guarded != {request.user_id}:
            raise TwoFactorRequired(
                "Two factor authentication required: an input belongs to another wallet with a second factor, and "
                "one session cannot answer for both; spend them in transactions of their own"
            )
        user_id, txid = guarded.pop(), spend.tx.txid()
        if not codes.has_code(request.authorisation):
            satoshi = limits.leaving(factors, db, spend, user_id)
            if satoshi is not None and limits.debit(factors, db, user_id, txid, satoshi):
                return
        codes.require(
            factors,
            db,
            user_id,
            request.authorisation,
            request.door.value,
            {"txid": str(txid)},
            used_for=str(txid),
        )
