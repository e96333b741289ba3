"""Addresses of an issuer's treasury: what is there belongs to nobody else, and holders may always pay to them.

Adding one loosens an asset's policy (more can be paid), so additions and removals go through
:mod:`amp0.server.policy.changes`, which keeps the rows. An address that was removed is no place to redeem at any more;
what came to it before stays the treasury's.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.errors import InvalidAddress, NetworkMismatch
from amp0.network import Network
from amp0.protocol.issuer import AddressList
from amp0.server.issuer import assets
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.refusals import OperationRefused, WrongFields
from amp0.server.policy import changes
from amp0.server.policy.apply import Action
from amp0.server.store import asset_schema, schema

MOST_ADDRESSES = 10_000
"""Treasury addresses of one asset."""

_treasury = asset_schema.treasury_addresses


def confidential_address(text: str, network: Network, field: str) -> Address:
    """An address that a treasury may have. Raises :class:`WrongFields`, with words that clients look for."""
    try:
        address = Address(text, network)
    except NetworkMismatch:
        raise WrongFields.of(field, f"Invalid value: this is no address of {network.name}.") from None
    except InvalidAddress:
        raise WrongFields.of(field, "Invalid value: this is no address of Liquid.") from None
    if not address.is_blinded():
        raise WrongFields.of(field, "Invalid value: this address is not confidential.")
    return address


def refuse_own(db: Connection, addresses: Iterable[tuple[str, Address]]) -> None:
    """Refuse, by field, addresses that the server itself gave out: what comes to a holder's address is that holder's.

    Raises :class:`WrongFields`.
    """
    wallet = asset_schema.fee_wallet_scripts
    for field, address in addresses:
        for table in (schema.addresses, wallet):
            query = sa.select(table.c.script_pubkey).where(table.c.script_pubkey == address.script)
            if db.execute(query).first() is not None:
                raise WrongFields.of(
                    field, "Invalid value: this address belongs to an account of this server, and so to no treasury."
                )


def enter(db: Connection, asset: int, addresses: Iterable[Address], now: int) -> None:
    """The first addresses of an asset, with its issuance."""
    for address in addresses:
        row = {"asset": asset, "script_pubkey": address.script, "address": str(address), "added_at": now}
        db.execute(_treasury.insert().values(row))


def addresses(db: Connection, asset: int) -> dict[bytes, str]:
    """Script → address of an asset's treasury as it is now, oldest first."""
    query = (
        sa.select(_treasury.c.script_pubkey, _treasury.c.address)
        .where(_treasury.c.asset == asset, _treasury.c.removed_at.is_(None))
        .order_by(_treasury.c.added_at, _treasury.c.address)
    )
    return {bytes(row.script_pubkey): row.address for row in db.execute(query)}


# --- endpoints -----------------------------------------------------------------------------------------------------


def list_addresses(call: Call, _body: None) -> list[str]:
    """Addresses whose outputs are the treasury's."""
    return list(addresses(call.db, assets.find(call).id).values())


def add(call: Call, body: list[str]) -> list[str]:
    """Add treasury addresses; answers the ones in force, without those that still have to wait or be approved.

    Those that are there already change nothing, and it is an error when all of them are.
    """
    row = assets.find(call)
    asked = _parse(call, body)
    here = addresses(call.db, row.id)
    wanted = [address for address in asked if address.script not in here]
    if asked and not wanted:
        raise OperationRefused("These addresses have already been added")
    if len(here) + len(wanted) > MOST_ADDRESSES:
        raise OperationRefused(f"A treasury has at most {MOST_ADDRESSES} addresses; delete some first")
    refuse_own(call.db, (("non_field_errors", address) for address in wanted))
    for address in wanted:
        content = {"address": str(address), "script_pubkey": address.script.hex()}
        changes.request(call, row, Action.ADD_TREASURY_ADDRESS, content)
    return list(addresses(call.db, row.id).values())


def delete(call: Call, body: list[str]) -> list[str]:
    """Take treasury addresses away: nobody redeems there any more. What came there before stays the treasury's."""
    row = assets.find(call)
    wanted = _parse(call, body)
    here = addresses(call.db, row.id)
    unknown = [str(address) for address in wanted if address.script not in here]
    if unknown:
        raise OperationRefused(f"This is no treasury address of the asset: {', '.join(unknown)[:300]}")
    for address in wanted:
        content = {"address": here[address.script], "script_pubkey": address.script.hex()}
        changes.request(call, row, Action.REMOVE_TREASURY_ADDRESS, content)
    return list(addresses(call.db, row.id).values())


def _parse(call: Call, texts: list[str]) -> list[Address]:
    """One for each script: the same one twice is the same one."""
    parsed = (confidential_address(text, call.desk.network, "non_field_errors") for text in texts)
    return list({address.script: address for address in parsed}.values())


_PATH = "/assets/{asset_uuid}/treasury-addresses"
ENDPOINTS = (
    Endpoint(("GET",), _PATH, list_addresses, answer=list[str]),
    Endpoint(("POST",), f"{_PATH}/add", add, answer=list[str], body=AddressList, runs=Runs.WRITE),
    Endpoint(("DELETE",), f"{_PATH}/delete", delete, answer=list[str], body=AddressList, runs=Runs.WRITE),
)
