"""What the confirms share: a transaction that this server has read, deep enough, and that served nothing else yet.

A confirm tells the server what an issuer's wallet did; the chain tells whether it did. The tool that confirms watches
a node of its own, which may be ahead of this server by a moment. So a confirm waits for a moment as well, outside of
any transaction of the store, and then says that trying again helps: nothing was recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.elements.confidential import Opening
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import InvalidAddress
from amp0.server import chainindex
from amp0.server.issuer import principals
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call, Desk
from amp0.server.issuer.proofs import Pair
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.ledger import book
from amp0.server.ledger.units import GONE
from amp0.server.policy.outlook import FINAL_DEPTH
from amp0.server.store import schema
from amp0.server.store.asset_schema import burns, distributions, reissuances, treasury_addresses

pause = time.sleep
_PAUSE_SECONDS = 0.1
_PATIENCE = 2.0, 5.0
"""Least and longest time a confirm waits; between them, three times as long as the chain goes unasked."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A transaction as the chain index has it. ``confirmations`` is 0 while it is in no block."""

    tx: Transaction
    confirmations: int


def inside(call: Call, db: Connection) -> Call:
    """The same call within a transaction that it opened itself, if the caller's token is still live there."""
    here = replace(call, connection=db)
    principals.still(db, here)
    return here


def pair_of(asset: AssetRow) -> Pair:
    """What proofs need to know of an asset."""
    return Pair(asset.asset_id, asset.token_id)


def sighting(db: Connection, txid: Txid) -> Sighting | None:
    """What the chain index knows of a transaction; None when it has not read it."""
    seen = schema.transactions
    row = db.execute(sa.select(seen.c.raw, seen.c.height).where(seen.c.txid == bytes(txid))).one_or_none()
    if row is None:
        return None
    tip = chainindex.tip(db)
    confirmations = 0 if row.height is None or tip is None else tip.height - row.height + 1
    return Sighting(Transaction.from_bytes(row.raw), confirmations)


def wait_for(desk: Desk, txid: Txid, look: Callable[[Transaction], object]) -> Transaction:
    """A transaction, once this server has read it in a block that is deep enough (``settings.confirmations``).

    ``look`` is called with it as soon as anybody has it, and refuses what is not what was asked for: nobody waits for
    such a one. Raises :class:`OperationRefused`; holds no transaction of the store while it waits.
    """
    least, most = _PATIENCE
    looks = 1 + int(min(most, max(least, 3 * desk.settings.poll_seconds)) / _PAUSE_SECONDS)
    found: Transaction | None = None
    seen: Sighting | None = None
    for number in range(looks):
        if number:
            pause(_PAUSE_SECONDS)
        with desk.store.snapshot() as db:
            seen = sighting(db, txid)
        if found is None:
            if seen is not None:
                found = seen.tx
            elif number in (0, looks - 1):
                found = desk.fetch(txid)
            if found is not None:
                look(found)
        if seen is not None and seen.confirmations >= desk.settings.confirmations:
            return seen.tx
    if found is None:
        raise OperationRefused(f"{txid} is in no block and no mempool that this server knows; try again once it is")
    raise OperationRefused(_too_early(desk, txid, seen))


def require_deep(db: Connection, desk: Desk, txid: Txid) -> None:
    """Refuse a transaction that is not deep enough, or not any more."""
    seen = sighting(db, txid)
    if seen is None or seen.confirmations < desk.settings.confirmations:
        raise OperationRefused(_too_early(desk, txid, seen))


def _too_early(desk: Desk, txid: Txid, seen: Sighting | None) -> str:
    wanted = desk.settings.confirmations
    if seen is None:
        return f"this server has not read {txid} yet; it needs {wanted} confirmations: try again in a moment"
    return f"{txid} has {seen.confirmations} of {wanted} confirmations here; try again once it has them"


def require_unused(db: Connection, txid: Txid, *, but: sa.Table) -> None:
    """Refuse a transaction that was confirmed as something else than a row of ``but``: it serves one purpose."""
    for table, what in ((distributions, "a distribution"), (reissuances, "a reissue"), (burns, "a burn")):
        if table is but and table is not distributions:
            continue
        if db.execute(sa.select(table.c.txid).where(table.c.txid == bytes(txid)).limit(1)).first() is not None:
            raise OperationRefused(f"{txid} was already confirmed as {what}; a transaction counts once")


def treasury_inputs(db: Connection, asset: AssetRow, txid: Txid) -> list[OutPoint] | None:
    """The inputs of a transaction that hold the asset, or may; None where all of them are a holder's."""
    rows = _spent(db, asset, txid)
    if rows and all(row.account_id is not None for row in rows):
        return None
    return sorted({OutPoint(Txid(row.txid), row.vout) for row in rows})


def can_return(db: Connection, asset: AssetRow, txid: Txid) -> bool:
    """Whether a transaction that the chain does not have may still confirm: nothing that it spends of the asset, nor
    what that was made from, is finally spent otherwise."""
    tip = chainindex.tip(db)
    deepest = 0 if tip is None else tip.height - FINAL_DEPTH + 1
    waiting, seen = [txid], {txid}
    while waiting:
        child = waiting.pop()
        for row in _spent(db, asset, child):
            if (
                row.spent_by not in (None, bytes(child))
                and row.spent_height is not None
                and row.spent_height <= deepest
            ):
                return False
            parent = Txid(row.txid)
            if row.state == GONE and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return True


def _spent(db: Connection, asset: AssetRow, txid: Txid) -> list[sa.Row[Any]]:
    """The ledger's rows of a transaction's inputs, of one asset and its token."""
    seen = sighting(db, txid)
    rows = [] if seen is None else book.outputs_at(db, [txin.prevout for txin in seen.tx.vin])
    return [row for row in rows if row.asset == asset.id]


def require_treasury(db: Connection, asset: AssetRow, tx: Transaction) -> None:
    """Refuse a transaction that spends what a holder has of the asset: that is a transfer of theirs."""
    rows = book.outputs_at(db, [txin.prevout for txin in tx.vin])
    if any(row.asset == asset.id and row.account_id is not None for row in rows):
        raise OperationRefused(f"{tx.txid()} spends what a holder has of this asset: it is no payment of the treasury")


def require_strangers(db: Connection, tx: Transaction, vouts: Iterable[int]) -> None:
    """Refuse outputs that are said to be the treasury's, and are a holder's."""
    scripts = {tx.vout[vout].script: vout for vout in vouts}
    addresses = schema.addresses
    query = sa.select(addresses.c.script_pubkey).where(addresses.c.script_pubkey.in_(scripts)).limit(1)
    row = db.execute(query).first()
    if row is not None:
        raise OperationRefused(f"output {scripts[row.script_pubkey]} of {tx.txid()} pays a holder, not the treasury")


def record(
    call: Call,
    asset: AssetRow,
    tx: Transaction,
    returned: Mapping[int, Opening],
    paid: Mapping[int, Opening] | None = None,
) -> None:
    """Give the openings to the ledger: of what came back to the treasury (output → opening), and of what was paid.

    Where it came back to is the treasury's as well from now on. No holder can redeem there, though: that takes an
    address that the issuer adds, and an issuer may want two persons for that.
    """
    known = {**returned, **(paid or {})}
    book.add_openings(call.db, tx, [book.Opened(vout, opening) for vout, opening in known.items()], call.desk.now())
    here = treasury_addresses
    scripts = {tx.vout[vout].script for vout in returned}
    have = call.db.execute(
        sa.select(here.c.script_pubkey).where(here.c.asset == asset.id, here.c.script_pubkey.in_(scripts))
    ).scalars()
    for script in sorted(scripts - set(have)):
        call.db.execute(
            here.insert().values(
                asset=asset.id,
                script_pubkey=script,
                address=address_of(call, script),
                added_at=call.desk.now(),
                removed_at=call.desk.now(),
            )
        )


def address_of(call: Call, script: bytes) -> str:
    """The plain address of a script; empty where it has none."""
    try:
        return str(Address.from_script(call.desk.network, script))
    except InvalidAddress:
        return ""
