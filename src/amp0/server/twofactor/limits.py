"""What may leave a wallet without a code: a total of L-BTC, counted down.

Stock clients ask for a code with every spend on Liquid, limit or not; the server holds to the limit whatever a
client does. It is debited in the transaction that decides on the spend, so a payment split in a thousand, or two at
once, take no more than one: the database refuses a total that is overspent.

What leaves is the sum of the outputs that are not the wallet's own, the fee among them. Where others add inputs this
is more than what really leaves, never less. Another asset than L-BTC leaves under no limit.

Owns the tables ``spending_limits`` and ``limit_spends``.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import MAX_SATOSHI
from amp0.protocol import rpc
from amp0.server.cosign_checks import Spend
from amp0.server.refusal import InvalidRequest
from amp0.server.store import schema
from amp0.server.twofactor.factors import Factors

_limits, _spends = schema.spending_limits, schema.limit_spends
# Asked at every login, so made once.
_BY_USER = sa.select(_limits.c.total, _limits.c.spent).where(_limits.c.user_id == sa.bindparam("user_id"))


@dataclass(frozen=True, slots=True)
class Limit:
    """``total`` as it was set, and what left under it since. Satoshi."""

    total: int = 0
    spent: int = 0

    @property
    def left(self) -> int:
        """What may still leave without a code."""
        return self.total - self.spent

    def to_wire(self) -> rpc.TxLimits:
        """As clients see it: ``total`` is what is left."""
        return rpc.TxLimits(total=self.left)


def load(db: Connection, user_id: int) -> Limit:
    """The wallet's limit; zero where none was set."""
    row = db.execute(_BY_USER, {"user_id": user_id}).one_or_none()
    return Limit() if row is None else Limit(row.total, row.spent)


def store(db: Connection, user_id: int, total: int) -> None:
    """Set a new limit; what left before does not count against it."""
    db.execute(_limits.delete().where(_limits.c.user_id == user_id))
    if total:
        db.execute(_limits.insert().values(user_id=user_id, total=total, spent=0))


def asked_for(value: dict[str, object]) -> dict[str, object]:
    """The limit in a ``tx_limits`` map in its one form. Raises :class:`InvalidRequest`."""
    total, per_tx, is_fiat = value.get("total", 0), value.get("per_tx", 0), value.get("is_fiat", False)
    if is_fiat is not False:
        raise InvalidRequest("This server knows no prices: set the limit in satoshi, not in a currency")
    if type(per_tx) is not int or per_tx != 0:
        raise InvalidRequest("Limits for single transactions are not offered; set the total, and per_tx to 0")
    if type(total) is not int or not 0 <= total <= MAX_SATOSHI:
        raise InvalidRequest("The total of a limit is an amount in satoshi")
    return {"is_fiat": False, "per_tx": 0, "total": total}


def leaving(factors: Factors, db: Connection, spend: Spend, user_id: int) -> int | None:
    """How much L-BTC leaves the wallet at most; None when another asset does too, or nobody can tell."""
    scripts = {bytes(txout.script) for txout in spend.tx.vout if txout.script}
    addresses, accounts = schema.addresses, schema.accounts
    own = set(
        db.execute(
            sa.select(addresses.c.script_pubkey)
            .join(accounts, accounts.c.id == addresses.c.account_id)
            .where(addresses.c.script_pubkey.in_(scripts), accounts.c.user_id == user_id)
        ).scalars()
    )
    total = 0
    for txout, opening in zip(spend.tx.vout, spend.openings, strict=True):
        if txout.script in own:
            continue
        if opening is None:
            return None
        if opening.asset != factors.policy_asset:
            # An OP_RETURN that holds nothing takes nothing away.
            if opening.satoshi:
                return None
            continue
        total += opening.satoshi
    return total


def debit(factors: Factors, db: Connection, user_id: int, txid: Txid, satoshi: int) -> bool:
    """Take an amount from the limit for one transaction. False, and nothing taken, when not enough is left."""
    taken = db.execute(
        _limits.update()
        .where(_limits.c.user_id == user_id, _limits.c.spent + satoshi <= _limits.c.total)
        .values(spent=_limits.c.spent + satoshi)
    )
    if satoshi <= 0 or taken.rowcount != 1:
        return False
    db.execute(_spends.insert().values(txid=bytes(txid), user_id=user_id, satoshi=satoshi, created_at=factors.now()))
    return True


def debited(db: Connection, user_id: int, txid: Txid) -> int:
    """What a transaction took from the wallet's limit; 0 for none."""
    query = sa.select(_spends.c.satoshi).where(_spends.c.txid == bytes(txid), _spends.c.user_id == user_id)
    return db.execute(query).scalar_one_or_none() or 0
