"""The questions of :mod:`~amp0.server.policy.gather` to the database. ``rivals`` are transactions that count as
if they had never been signed, and their inputs as unspent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.protocol.rpc import ACCOUNT_TYPE
from amp0.server.ledger.units import GONE, Unit
from amp0.server.policy.facts import Asset, Kind, Party
from amp0.server.store import outpoints, schema
from amp0.server.store.asset_schema import (
    asset_outputs,
    assets,
    blacklisted_outputs,
    category_assets,
    category_users,
    registered_users,
    treasury_addresses,
    user_gaids,
)
from amp0.server.store.composed import Query, among, at

_out = asset_outputs


def some(txids: Collection[bytes]) -> list[bytes]:
    """Txids for a list that must not be empty; no transaction has an empty one."""
    return sorted(txids) or [b""]


# --- assets --------------------------------------------------------------------------------------------------------

_ASSET_COLUMNS = (
    assets.c.id, assets.c.uuid, assets.c.asset_id, assets.c.token_id, assets.c.issuer_id, assets.c.policy_version,
    assets.c.transfer_restricted, assets.c.is_locked, assets.c.checks_sender_categories,
    assets.c.authorization_endpoint,
)  # fmt: skip
# Deleted ones too: deleting an asset is no way to loosen its rules.
_BY_ID = Query(
    sa.select(*_ASSET_COLUMNS).where(
        assets.c.asset_id.in_(among("ids")) | assets.c.token_id.in_(among("ids")), assets.c.state != "failed"
    )
)
_BY_ROW = Query(sa.select(*_ASSET_COLUMNS).where(assets.c.id.in_(among("rows")), assets.c.state != "failed"))


def assets_with(db: Connection, ids: Collection[bytes]) -> list[Asset]:
    """The managed assets and reissuance tokens among these ids."""
    if not ids:
        return []
    found = []
    for row in _BY_ID(db, ids=list(ids)):
        if row.asset_id in ids:
            found.append(_asset(row, is_token=False))
        if row.token_id is not None and row.token_id in ids:
            found.append(_asset(row, is_token=True))
    return found


def assets_of(db: Connection, units: Collection[Unit]) -> list[Asset]:
    """The assets of these units."""
    if not units:
        return []
    rows = _BY_ROW(db, rows=sorted({unit.asset for unit in units}))
    return [_asset(row, unit.is_token) for row in rows for unit in sorted(units) if unit.asset == row.id]


def _asset(row: sa.Row[Any], is_token: bool) -> Asset:
    return Asset(
        id=row.id,
        uuid=row.uuid,
        asset_id=bytes(row.token_id if is_token else row.asset_id),
        issuer_id=row.issuer_id,
        policy_version=row.policy_version,
        is_token=is_token,
        transfer_restricted=bool(row.transfer_restricted),
        is_locked=bool(row.is_locked),
        checks_sender_categories=bool(row.checks_sender_categories),
        authorization_endpoint=row.authorization_endpoint or None,
    )


# --- outpoints -----------------------------------------------------------------------------------------------------

_black, _claims = blacklisted_outputs, schema.outpoint_claims
_HELD = Query(
    sa.select(
        _out.c.txid, _out.c.vout, _out.c.asset, _out.c.is_token, _out.c.satoshi, _out.c.acquired_at,
        _out.c.script_pubkey,
    ).where(outpoints.is_one_of(_out.c.txid, _out.c.vout))
)  # fmt: skip
_NOTED = Query(
    sa.union_all(
        sa.select(_black.c.prev_txid, _black.c.prev_vout, _black.c.asset, sa.literal(b"").label("holder")).where(
            outpoints.is_one_of(_black.c.prev_txid, _black.c.prev_vout)
        ),
        sa.select(_claims.c.prev_txid, _claims.c.prev_vout, sa.literal(0), _claims.c.txid).where(
            outpoints.is_one_of(_claims.c.prev_txid, _claims.c.prev_vout)
        ),
    )
)


def held_at(db: Connection, prevouts: Sequence[OutPoint]) -> Sequence[sa.Row[Any]]:
    """What the ledger has at these outpoints; several rows where a sealed output may hold several things."""
    return _HELD(db, **at(prevouts)) if prevouts else ()


def noted_at(db: Connection, prevouts: Sequence[OutPoint]) -> tuple[set[tuple[OutPoint, int]], frozenset[bytes]]:
    """Which of the outpoints are blacklisted, with the row of the asset; and which transactions, signed earlier, hold
    one of them: one that is signed now takes their place."""
    rows = _NOTED(db, **at(prevouts)) if prevouts else ()
    blacklisted = {(OutPoint(Txid(row.prev_txid), row.prev_vout), row.asset) for row in rows if not row.holder}
    return blacklisted, frozenset(bytes(row.holder) for row in rows if row.holder)


# --- who is who ----------------------------------------------------------------------------------------------------

_acc, _adr, _usr, _gaid = schema.accounts, schema.addresses, registered_users, user_gaids
_WHO = (_acc.c.id, _acc.c.type, _acc.c.receiving_id, _usr.c.id.label("user_id"), _usr.c.is_frozen)
_IS_USERS = (_gaid.c.account_id == _acc.c.id) & (_gaid.c.issuer_id == sa.bindparam("issuer"))
_IS_ALIVE = (_usr.c.id == _gaid.c.user_id) & _usr.c.deleted_at.is_(None)
_AT_SCRIPTS = Query(
    sa.select(_adr.c.script_pubkey, *_WHO)
    .select_from(_adr)
    .join(_acc, _acc.c.id == _adr.c.account_id)
    .join(_gaid, _IS_USERS, isouter=True)
    .join(_usr, _IS_ALIVE, isouter=True)
    .where(_adr.c.script_pubkey.in_(among("scripts")))
)
_OF_ACCOUNTS = Query(
    sa.select(*_WHO)
    .select_from(_acc)
    .join(_gaid, _IS_USERS, isouter=True)
    .join(_usr, _IS_ALIVE, isouter=True)
    .where(_acc.c.id.in_(among("accounts")))
)
_TREASURY = Query(
    sa.select(treasury_addresses.c.script_pubkey, treasury_addresses.c.removed_at).where(
        treasury_addresses.c.script_pubkey.in_(among("scripts")), treasury_addresses.c.asset == sa.bindparam("asset")
    )
)
_CATEGORIES = Query(
    sa.select(category_assets.c.category_id, category_users.c.user_id)
    .select_from(category_assets)
    .join(
        category_users,
        (category_users.c.category_id == category_assets.c.category_id) & category_users.c.user_id.in_(among("users")),
        isouter=True,
    )
    .where(category_assets.c.asset == sa.bindparam("asset"))
)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this server, as one issuer knows it."""

    party: Party
    is_amp: bool
    is_frozen: bool


def accounts_at(db: Connection, issuer: int, scripts: Collection[bytes]) -> dict[bytes, Account]:
    """Script → whose it is, of those that are addresses of accounts here."""
    if not scripts:
        return {}
    rows = _AT_SCRIPTS(db, issuer=issuer, scripts=sorted(scripts))
    return {bytes(row.script_pubkey): _account(row) for row in rows}


def accounts_of(db: Connection, issuer: int, account_ids: Collection[int]) -> list[Account]:
    """Who these accounts are."""
    if not account_ids:
        return []
    rows = _OF_ACCOUNTS(db, issuer=issuer, accounts=sorted(account_ids))
    return [_account(row) for row in rows]


def _account(row: sa.Row[Any]) -> Account:
    key = f"account {row.id}" if row.user_id is None else f"user {row.user_id}"
    party = Party(Kind.HOLDER, key, row.id, row.receiving_id, row.user_id)
    return Account(party, row.type == ACCOUNT_TYPE, bool(row.is_frozen))


def treasury(db: Connection, asset: int, scripts: Collection[bytes]) -> dict[bytes, bool]:
    """Those scripts that are or were the treasury's → whether they still are."""
    if not scripts:
        return {}
    rows = _TREASURY(db, asset=asset, scripts=sorted(scripts))
    return {bytes(row.script_pubkey): row.removed_at is None for row in rows}


def categories(db: Connection, asset: int, users: Collection[int]) -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    """The categories that a holder of the asset is in; and of these users, who is in which of them."""
    rows = _CATEGORIES(db, asset=asset, users=sorted(users) or [0])
    found: dict[int, set[int]] = {}
    for row in rows:
        if row.user_id is not None:
            found.setdefault(row.user_id, set()).add(row.category_id)
    return frozenset(row.category_id for row in rows), {user: frozenset(of_user) for user, of_user in found.items()}


# --- what holders have ---------------------------------------------------------------------------------------------

_ALL_ACCOUNTS = Query(
    sa.select(_gaid.c.account_id, _gaid.c.user_id).where(
        _gaid.c.issuer_id == sa.bindparam("issuer"), _gaid.c.user_id.in_(among("users"))
    )
)
# As the index of what is there says it, literally.
IS_PRESENT = sa.text("(asset_outputs.spent_state IS NULL OR asset_outputs.spent_state <> 1)")
_IS_HELD = (
    (_out.c.asset == sa.bindparam("asset"))
    & (_out.c.is_token == 0)
    & (_out.c.state != GONE)
    & (_out.c.spent_by.is_(None) | _out.c.spent_by.in_(among("rivals")))
    & _out.c.txid.not_in(among("rivals"))
)
_BALANCES = Query(
    sa.select(
        _out.c.account_id,
        sa.func.coalesce(sa.func.sum(_out.c.satoshi), 0).label("satoshi"),
        (sa.func.count() - sa.func.count(_out.c.satoshi)).label("sealed"),
    )
    .where(_IS_HELD, IS_PRESENT, _out.c.account_id.in_(among("accounts")))
    .group_by(_out.c.account_id)
)


@dataclass(frozen=True, slots=True)
class Holding:
    """What is known to be held, and whether there may be more."""

    satoshi: int = 0
    is_sealed: bool = False


def holders_accounts(db: Connection, issuer: int, parties: Iterable[Party]) -> dict[int, str]:
    """Account → holder, for all accounts of the parties: those that take no part too."""
    accounts = {party.account_id: party.holder for party in parties if party.account_id is not None}
    users = {party.user_id: party.holder for party in parties if party.user_id is not None}
    if users:
        for row in _ALL_ACCOUNTS(db, issuer=issuer, users=sorted(users)):
            accounts[row.account_id] = users[row.user_id]
    return accounts


def balances(db: Connection, asset: int, accounts: Mapping[int, str], without: Collection[bytes]) -> dict[str, Holding]:
    """Holder → what their accounts hold."""
    rows = _BALANCES(db, asset=asset, accounts=sorted(accounts), rivals=some(without))
    found = dict.fromkeys(accounts.values(), Holding())
    for row in rows:
        before = found[accounts[row.account_id]]
        found[accounts[row.account_id]] = Holding(
            before.satoshi + int(row.satoshi), before.is_sealed or bool(row.sealed)
        )
    return found
