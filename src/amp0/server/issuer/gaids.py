"""GAIDs: which AMP account one names, and addresses at which that account can be paid confidentially.

Only the account's own wallet can make a confidential address, so the server hands out those that it uploaded: each
to one issuer, once, and none that was paid before. When few are left, clients are asked for more at their next login
(``required_ca``). Owns the table ``given_addresses``.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.protocol import issuer as wire
from amp0.protocol import rpc
from amp0.server import accounts
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.store import asset_schema, schema

_accounts, _addresses, _given = schema.accounts, schema.addresses, asset_schema.given_addresses

_ACCOUNT = sa.select(_accounts.c.id).where(
    _accounts.c.receiving_id == sa.bindparam("gaid"), _accounts.c.type == rpc.ACCOUNT_TYPE
)
_IS_REMOVED = (
    sa.select(schema.users.c.removed_at)
    .join_from(schema.users, _accounts, _accounts.c.user_id == schema.users.c.id)
    .where(_accounts.c.id == sa.bindparam("id"))
)
_NEXT = (
    sa.select(_addresses.c.pointer, _addresses.c.script_pubkey, _addresses.c.blinding_pubkey)
    .join(_accounts, _accounts.c.id == _addresses.c.account_id)
    .join(schema.users, schema.users.c.id == _accounts.c.user_id)
    .where(_addresses.c.account_id == sa.bindparam("id"), schema.users.c.removed_at.is_(None), accounts.FRESH)
    .order_by(_addresses.c.pointer)
    .limit(1)
)
_GIVE = _given.insert()


def account_of(db: Connection, gaid: str) -> int | None:
    """The AMP account (its row number) that a GAID names; None where it names none of this server."""
    found: int | None = db.execute(_ACCOUNT, {"gaid": gaid}).scalar_one_or_none()
    return found


def gaid_of(db: Connection, account_id: int) -> str:
    """The GAID of an account."""
    query = sa.select(_accounts.c.receiving_id).where(_accounts.c.id == account_id)
    return str(db.execute(query).scalar_one())


def fresh_address(call: Call, account_id: int) -> Address:
    """A confidential address of an account that nobody was told before, in a writing transaction.

    The account's pointer moves on with it, so that its wallet looks at least that far. Raises
    :class:`OperationRefused`, with a text for the issuer, when the account has none left or was removed.
    """
    db, now = call.db, call.desk.now()
    row = db.execute(_NEXT, {"id": account_id}).one_or_none()
    if row is None:
        if db.execute(_IS_REMOVED, {"id": account_id}).scalar_one() is not None:
            raise OperationRefused("The wallet of this GAID was removed by its owner")
        raise OperationRefused(
            "This account has no confidential address left that could be given: its wallet uploads some when it logs in"
        )
    given = {"account_id": account_id, "pointer": row.pointer, "principal_id": call.who.id, "given_at": now}
    db.execute(_GIVE, given)
    accounts.mark_used(db, [(account_id, row.pointer)], now)
    accounts.advance(db, account_id, row.pointer)
    return Address.from_script(call.desk.network, bytes(row.script_pubkey), bytes(row.blinding_pubkey))


# --- operations ----------------------------------------------------------------------------------------------------

_UNKNOWN = "This is no GAID of an AMP account here"


def validate(call: Call, _body: None) -> wire.Validity:
    """Whether a GAID names an AMP account of this server."""
    is_valid = account_of(call.db, call.path["gaid"]) is not None
    return wire.Validity(is_valid=is_valid, error="" if is_valid else _UNKNOWN)


def address(call: Call, _body: None) -> wire.GaidAddress:
    """A fresh confidential address of a GAID's account: never the same one twice. Where there is none, ``address`` is
    empty and ``error`` says why."""
    account_id = account_of(call.db, call.path["gaid"])
    if account_id is None:
        return wire.GaidAddress(address="", error=_UNKNOWN)
    try:
        return wire.GaidAddress(address=str(fresh_address(call, account_id)), error="")
    except OperationRefused as refusal:
        return wire.GaidAddress(address="", error=str(refusal))


ENDPOINTS = (
    Endpoint(("GET",), "/gaids/{gaid}/validate", validate, wire.Validity),
    Endpoint(("GET",), "/gaids/{gaid}/address", address, wire.GaidAddress, runs=Runs.WRITE),
)
