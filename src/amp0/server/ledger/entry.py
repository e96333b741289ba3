"""Entering a transaction: from what it shows and what is known of it to the ledger's rows."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.confidential import Opening, issued_asset
from amp0.elements.hashes import Txid
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction, TxOut, value_of_field
from amp0.protocol.rpc import ACCOUNT_TYPE
from amp0.server.ledger import sealed
from amp0.server.ledger.units import GONE, Standing, Unit, managed, states
from amp0.server.store import schema
from amp0.server.store.asset_schema import asset_outputs, asset_txs, assets, registered_users, user_gaids

log = logging.getLogger("amp0.server.ledger")

MAX_SEALED = 20_000
"""Sealed rows of one asset. A confirmation that never comes makes suspects of all that its change is spent on, and so
on through the chain; beyond this many, what spends nothing but suspects gets no sealed rows any more, and nothing is
concluded from it. What is unaccounted shows all the same."""
_CHUNK = 400
_outs, _txs = asset_outputs, asset_txs


def enter(
    db: Connection,
    tx: Transaction,
    units: Collection[Unit],
    openings: Mapping[int, Opening],
    spent: Sequence[sa.Row[Any]],
    standing: Standing,
    now: int,
) -> None:
    """Make the rows of a transaction for assets that it has none for.

    ``units`` is what its inputs hold or may hold, ``openings`` what is known of its outputs beside the explicit ones,
    ``spent`` the rows of its inputs. What it reissues, and what its known outputs hold, is added to the units.
    """
    known = {vout: explicit(out) for vout, out in enumerate(tx.vout)} | dict(openings)
    reissued = _reissued(tx)
    held = {opening.asset for opening in known.values() if opening is not None} | reissued.keys()
    of_asset = managed(db, held | {out.explicit_asset for out in tx.vout if out.explicit_asset is not None})
    have = states(db, tx.txid())
    moved = {unit for unit in {*units, *(of_asset[one] for one in held if one in of_asset)} if unit.asset not in have}
    if not moved:
        return
    amounts = {of_asset[one].asset: satoshi for one, satoshi in reissued.items() if one in of_asset}
    certain = {row.asset for row in spent if row.satoshi is not None} | amounts.keys()
    certain |= {of_asset[one].asset for one in held if one in of_asset}
    ends = {asset for asset in {unit.asset for unit in moved} - certain if _is_full(db, asset)}
    amounts |= dict.fromkeys(ends)
    _enter_moves(db, tx.txid(), {unit.asset for unit in moved}, amounts, ends, standing, now)
    rows = _places(tx, {unit for unit in moved if unit.asset not in ends}, known, of_asset)
    enter_outputs(db, tx, rows, spent, standing, now)
    spend(db, tx, spent, standing)
    sealed.settle(db, [tx.txid()])


def enter_outputs(
    db: Connection,
    tx: Transaction,
    rows: Sequence[tuple[int, Unit, Opening | None]],
    spent: Sequence[sa.Row[Any]],
    standing: Standing,
    now: int,
) -> None:
    """Make rows of outputs: (vout, unit, opening), the opening None for a sealed one."""
    owners = _owners(db, {tx.vout[vout].script for vout, _, _ in rows})
    given = [
        (unit.asset, owners[tx.vout[vout].script][0], None if opening is None else opening.satoshi)
        for vout, unit, opening in rows
        if tx.vout[vout].script in owners and not unit.is_token
    ]
    acquired = _acquired(
        db, {unit.asset for _, unit, _ in rows}, {owner for owner, _ in owners.values()}, given, spent, now
    )
    values = []
    for vout, unit, opening in rows:
        script = tx.vout[vout].script
        account_id, pointer = owners.get(script, (None, None))
        values.append(
            {
                "txid": bytes(tx.txid()),
                "vout": vout,
                "asset": unit.asset,
                "is_token": int(unit.is_token),
                **opening_columns(opening),
                "account_id": account_id,
                "pointer": pointer,
                "is_burnt": int(is_unspendable(script)),
                "state": standing.state,
                "height": standing.height,
                "acquired_at": now if account_id is None else acquired[unit.asset, account_id],
                "script_pubkey": script,
            }
        )
    if values:
        db.execute(_outs.insert(), values)


def move(db: Connection, tx: Transaction, spent: Sequence[sa.Row[Any]], standing: Standing) -> None:
    """Give a transaction that has rows another state and place."""
    txid = bytes(tx.txid())
    db.execute(_txs.update().where(_txs.c.txid == txid).values(**standing.columns()))
    db.execute(_outs.update().where(_outs.c.txid == txid).values(state=standing.state, height=standing.height))
    spend(db, tx, spent, standing)
    sealed.settle(db, [tx.txid()])


_SPEND = (
    _outs.update()
    .where(_outs.c.txid == sa.bindparam("at_txid"), _outs.c.vout == sa.bindparam("at_vout"))
    .values(
        spent_by=sa.bindparam("by"),
        spent_vin=sa.bindparam("vin"),
        spent_state=sa.bindparam("now_state"),
        spent_height=sa.bindparam("now_height"),
    )
)


def spend(db: Connection, tx: Transaction, spent: Sequence[sa.Row[Any]], standing: Standing) -> None:
    """Note on the rows of its inputs that a transaction spends them; what is gone spends nothing."""
    if not spent or standing.state == GONE:
        return
    position = {txin.prevout: vin for vin, txin in enumerate(tx.vin)}
    by = {"by": bytes(tx.txid()), "now_state": standing.state, "now_height": standing.height}
    db.execute(
        _SPEND,
        [
            {"at_txid": bytes(prevout.txid()), "at_vout": prevout.vout(), "vin": position[prevout], **by}
            for prevout in sorted({OutPoint(Txid(row.txid), row.vout) for row in spent})
        ],
    )


def explicit(out: TxOut) -> Opening | None:
    """The opening of an output that hides nothing."""
    asset, satoshi = out.explicit_asset, out.explicit_value
    return None if asset is None or satoshi is None else Opening(asset, satoshi)


def opening_columns(opening: Opening | None) -> dict[str, Any]:
    """The columns of ``asset_outputs`` that hold an opening; empty for a sealed output."""
    if opening is None:
        return {"satoshi": None, "abf": None, "vbf": None}
    return {"satoshi": opening.satoshi, "abf": opening.abf, "vbf": opening.vbf}


def _places(
    tx: Transaction,
    moved: Collection[Unit],
    known: Mapping[int, Opening | None],
    of_asset: Mapping[bytes, Unit],
) -> list[tuple[int, Unit, Opening | None]]:
    """Output, unit and opening of every row to be made: one for a known output, one a unit for a sealed one."""
    rows: list[tuple[int, Unit, Opening | None]] = []
    for vout, out in enumerate(tx.vout):
        opening = known[vout]
        asset_id = out.explicit_asset if opening is None else opening.asset
        here = set(moved)
        if asset_id is not None:
            here = here & {of_asset[asset_id]} if asset_id in of_asset else set()
        rows += [(vout, unit, opening) for unit in sorted(here)]
    return rows


def _is_full(db: Connection, asset: int) -> bool:
    rows = sa.select(_outs.c.vout).where(_outs.c.asset == asset, _outs.c.satoshi.is_(None)).limit(MAX_SEALED)
    count = db.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar_one()
    if count >= MAX_SEALED:
        log.warning("too many sealed outputs, following no new ones asset=%d", asset)
    return bool(count >= MAX_SEALED)


def _enter_moves(
    db: Connection,
    txid: Txid,
    moved: Collection[int],
    amounts: Mapping[int, int | None],
    ends: Collection[int],
    standing: Standing,
    now: int,
) -> None:
    """One row for each asset that a transaction moves, or may move; what it burns is counted when it is settled.

    ``amounts`` is what it reissues, ``ends`` the assets whose outputs get no rows: None stands for both unknowns.
    """
    issuance = sa.select(assets.c.id, assets.c.issued).where(assets.c.issue_txid == bytes(txid))
    issued = {row.id: row.issued for row in db.execute(issuance)}
    db.execute(
        _txs.insert(),
        [
            {
                "txid": bytes(txid),
                "asset": asset,
                "seen_at": now,
                "kind": "issuance"
                if asset in issued
                else "reissuance"
                if asset in amounts.keys() - ends
                else "transfer",
                "issued": issued.get(asset, amounts.get(asset, 0)),
                "burned": 0,
                **standing.columns(),
            }
            for asset in sorted(moved)
        ],
    )


def _reissued(tx: Transaction) -> dict[bytes, int | None]:
    """Asset id → satoshi that a transaction reissues of it; None where an amount is hidden, or where several inputs
    together make more than any amount can be: no node minds that, and nobody else's coins may wait for it."""
    amounts: dict[bytes, int | None] = {}
    for txin in tx.vin:
        if txin.issuance is not None and txin.issuance.is_reissuance and txin.issuance.amount_field:
            asset_id, _ = issued_asset(txin)
            satoshi, before = value_of_field(txin.issuance.amount_field), amounts.get(asset_id, 0)
            amounts[asset_id] = None if satoshi is None or before is None else before + satoshi
    return {asset_id: None if (amount or 0) > MAX_SATOSHI else amount for asset_id, amount in amounts.items()}


def _owners(db: Connection, scripts: Collection[bytes]) -> dict[bytes, tuple[int, int]]:
    """Script → (account id, pointer) of AMP accounts; to an issuer any other account is somebody unknown."""
    addresses, accounts = schema.addresses, schema.accounts
    wanted = sorted(script for script in scripts if script)
    found: dict[bytes, tuple[int, int]] = {}
    for i in range(0, len(wanted), _CHUNK):
        rows = db.execute(
            sa.select(addresses.c.script_pubkey, addresses.c.account_id, addresses.c.pointer)
            .join(accounts, accounts.c.id == addresses.c.account_id)
            .where(addresses.c.script_pubkey.in_(wanted[i : i + _CHUNK]), accounts.c.type == ACCOUNT_TYPE)
        )
        found |= {bytes(row.script_pubkey): (row.account_id, row.pointer) for row in rows}
    return found


def _acquired(
    db: Connection,
    moved: Collection[int],
    receivers: Collection[int],
    given: Sequence[tuple[int, int, int | None]],
    spent: Sequence[sa.Row[Any]],
    now: int,
) -> dict[tuple[int, int], int]:
    """(asset, account) → since when its holder has what arrives there. ``given``: asset, account, and how much arrives.

    What somebody else sends is new. What holders move to themselves keeps its age, the newest of what they spend, so
    that a rule about age can be neither reset nor evaded by moving coins. Who gets more than they put in got it from
    somebody: an old coin beside it makes nothing older.
    """
    own = [row for row in spent if row.account_id is not None and row.satoshi is not None]
    persons = _persons(db, {row.asset for row in own}, {row.account_id for row in own} | set(receivers)) if own else {}

    def holder(asset: int, account_id: int) -> tuple[int, str, int]:
        person = persons.get((asset, account_id))
        return (asset, "account", account_id) if person is None else (asset, "user", person)

    ages: dict[tuple[int, str, int], int] = {}
    left: dict[tuple[int, str, int], int] = {}
    for row in own:
        key = holder(row.asset, row.account_id)
        ages[key] = max(ages.get(key, 0), row.acquired_at)
        left[key] = left.get(key, 0) + (0 if row.is_token else row.satoshi)
    for asset, account, satoshi in given:
        key = holder(asset, account)
        if key in left:
            left[key] -= left[key] + 1 if satoshi is None else satoshi
            if left[key] < 0:
                ages[key] = now
    return {(asset, account): ages.get(holder(asset, account), now) for asset in moved for account in receivers}


def _persons(db: Connection, of_assets: Collection[int], account_ids: Collection[int]) -> dict[tuple[int, int], int]:
    """(asset, account) → the registered user of the asset's issuer; none where nobody is registered."""
    rows = db.execute(
        sa.select(assets.c.id, user_gaids.c.account_id, user_gaids.c.user_id)
        .join(user_gaids, user_gaids.c.issuer_id == assets.c.issuer_id)
        .join(registered_users, registered_users.c.id == user_gaids.c.user_id)
        .where(
            assets.c.id.in_(of_assets),
            user_gaids.c.account_id.in_(account_ids),
            registered_users.c.deleted_at.is_(None),
        )
    )
    return {(row.id, row.account_id): row.user_id for row in rows}
