"""GAIDs: which AMP account one names, and addresses at which that account can be paid confidentially.

Only the account's own wallet can make a confidential address, so the server hands out those that it uploaded: each
to one issuer, once, and none that was paid before. When few are left, clients are asked for more at their next login
(``required_ca``).

An account is known to many issuers, and until its wallet logs in there is no more than was uploaded. So whoever was
told half of it by asking, and has paid nobody there, is told the oldest of these again: an issuer who asks a hundred
times takes nothing from the others. Owns the table ``given_addresses``.
"""

from __future__ import annotations

from typing import Any

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
_principals, _outputs, _assignments = asset_schema.principals, schema.outputs, asset_schema.assignments
_UNPAID = (
    sa.select(_addresses.c.pointer, _addresses.c.script_pubkey, _addresses.c.blinding_pubkey)
    .select_from(_given)
    .join(_addresses, (_addresses.c.account_id == _given.c.account_id) & (_addresses.c.pointer == _given.c.pointer))
    .join(_principals, _principals.c.id == _given.c.principal_id)
    .join(_accounts, _accounts.c.id == _given.c.account_id)
    .join(schema.users, schema.users.c.id == _accounts.c.user_id)
    .where(
        _given.c.account_id == sa.bindparam("id"),
        sa.func.coalesce(_principals.c.issuer_id, _principals.c.id) == sa.bindparam("issuer"),
        schema.users.c.removed_at.is_(None),
        ~sa.exists().where(_outputs.c.account_id == _given.c.account_id, _outputs.c.pointer == _given.c.pointer),
        # A distribution knows its payments by their addresses.
        ~sa.exists().where(_assignments.c.receiving_script == _addresses.c.script_pubkey),
    )
    .order_by(_given.c.given_at, _given.c.pointer)
    .limit(sa.bindparam("most"))
)
"""What an issuer and their managers were told of an account, and nobody paid: the oldest first."""


def account_of(db: Connection, gaid: str) -> int | None:
    """The AMP account (its row number) that a GAID names; None where it names none of this server."""
    found: int | None = db.execute(_ACCOUNT, {"gaid": gaid}).scalar_one_or_none()
    return found


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
    return _address(call, row)


def _told_again(call: Call, account_id: int) -> Address | None:
    """The oldest of the addresses that the caller's issuer was told by asking, once these are half of what a wallet
    uploads."""
    most = max(1, call.desk.settings.required_addresses // 2)
    values = {"id": account_id, "issuer": call.who.issuer_id, "most": most}
    unpaid = call.db.execute(_UNPAID, values).all()
    if len(unpaid) < most:
        return None
    here = (_given.c.account_id == account_id) & (_given.c.pointer == unpaid[0].pointer)
    call.db.execute(sa.update(_given).where(here).values(given_at=call.desk.now()))
    return _address(call, unpaid[0])


def _address(call: Call, row: Any) -> Address:
    return Address.from_script(call.desk.network, bytes(row.script_pubkey), bytes(row.blinding_pubkey))


# --- operations ----------------------------------------------------------------------------------------------------

_UNKNOWN = "This is no GAID of an AMP account here"


def validate(call: Call, _body: None) -> wire.Validity:
    """Whether a GAID names an AMP account of this server."""
    is_valid = account_of(call.db, call.path["gaid"]) is not None
    return wire.Validity(is_valid=is_valid, error="" if is_valid else _UNKNOWN)


def address(call: Call, _body: None) -> wire.GaidAddress:
    """A fresh confidential address of a GAID's account. Where there is none, ``address`` is empty and ``error`` says
    why. An issuer who was told many that nobody has paid is told the oldest of these again."""
    account_id = account_of(call.db, call.path["gaid"])
    if account_id is None:
        return wire.GaidAddress(address="", error=_UNKNOWN)
    try:
        found = _told_again(call, account_id) or fresh_address(call, account_id)
        return wire.GaidAddress(address=str(found), error="")
    except OperationRefused as refusal:
        return wire.GaidAddress(address="", error=str(refusal))


ENDPOINTS = (
    Endpoint(("GET",), "/gaids/{gaid}/validate", validate, wire.Validity),
    Endpoint(("GET",), "/gaids/{gaid}/address", address, wire.GaidAddress, runs=Runs.WRITE),
)
