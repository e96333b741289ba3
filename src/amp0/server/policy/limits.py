"""What counts against limits: what left each account, written with the decision to sign it.

A transaction counts from the moment it is decided. While it may still confirm it counts whatever its age, because
whoever has it can send it at any time; once it is in a block it counts for the period after that block. Here it stops
when another transaction took its place or spent its coins; as far as it may be sent in the place of that one,
:mod:`~amp0.server.policy.outlook` counts it. Should it come back with the chain, it counts again. Nothing is reserved
and nothing expires: all of this is read from where the transaction is (``asset_txs``). A refused transaction leaves no
row.

Owns the table ``asset_moves``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.server.ledger.units import CONFIRMED, GONE, MEMPOOL, PROMISED
from amp0.server.policy.facts import Kind, Transfer
from amp0.server.policy.lookups import some
from amp0.server.store.asset_schema import asset_moves, asset_txs
from amp0.server.store.composed import Query, among

LATE = 3_600
"""Seconds between signing and block from which a transaction is in the index of those that confirmed late."""
_MARGIN = 60
"""Seconds by which the time of a decision and that of its entry in the ledger may differ, and more."""

_moves, _txs = asset_moves, asset_txs
_OF_THESE = (
    (_moves.c.asset == sa.bindparam("asset"))
    & _moves.c.account_id.in_(among("accounts"))
    & _moves.c.txid.not_in(among("rivals"))
)
_SAME_TX = (_txs.c.txid == _moves.c.txid) & (_txs.c.asset == _moves.c.asset)
# What was decided within two periods, or a little more of short ones, is looked at, by the index, and of that what
# confirmed within one or may still.
_RECENT = (
    sa.select(_moves.c.txid, _moves.c.account_id, _moves.c.satoshi)
    .join(_txs, _SAME_TX, isouter=True)
    .where(
        _OF_THESE,
        _moves.c.decided_at > sa.bindparam("look_back"),
        sa.or_(
            _txs.c.state.is_(None),
            _txs.c.state.in_((MEMPOOL, PROMISED)),
            (_txs.c.state == CONFIRMED)
            & sa.or_(_txs.c.block_time > sa.bindparam("since"), _moves.c.decided_at > sa.bindparam("since")),
        ),
    )
)
# From the few transactions of the asset that are under way, not from all that the account ever sent: the sum keeps
# SQLite from the account's index.
_UNDER_WAY = sa.select(_txs.c.txid).where(_txs.c.asset == sa.bindparam("asset"), _txs.c.state.in_((MEMPOOL, PROMISED)))
_OUTSTANDING = sa.select(_moves.c.txid, _moves.c.account_id, _moves.c.satoshi).where(
    _moves.c.txid.in_(_UNDER_WAY),
    _moves.c.txid.not_in(among("rivals")),
    _moves.c.asset == sa.bindparam("asset"),
    (_moves.c.account_id + 0).in_(among("accounts")),
    _moves.c.decided_at <= sa.bindparam("look_back"),
)
# What was kept for longer than that and is in a block now: by an index of those that confirmed late, which are few.
_SENT_LATE = sa.select(_txs.c.txid).where(
    _txs.c.asset == sa.bindparam("asset"),
    _txs.c.block_time > sa.bindparam("since"),
    _txs.c.block_time - _txs.c.seen_at > sa.literal_column(str(LATE)),
)
_KEPT = sa.select(_moves.c.txid, _moves.c.account_id, _moves.c.satoshi).where(
    _moves.c.txid.in_(_SENT_LATE),
    _moves.c.txid.not_in(among("rivals")),
    _moves.c.asset == sa.bindparam("asset"),
    (_moves.c.account_id + 0).in_(among("accounts")),
    _moves.c.decided_at <= sa.bindparam("look_back"),
)
_EITHER = sa.union_all(_RECENT, _OUTSTANDING, _KEPT).subquery()
_SENT = Query(
    sa.select(_EITHER.c.account_id, sa.func.sum(_EITHER.c.satoshi).label("satoshi")).group_by(_EITHER.c.account_id)
)
_BURNS = Query(
    sa.select(_moves.c.txid, _moves.c.account_id, _txs.c.burned)
    .join(_txs, _SAME_TX)
    .where(_OF_THESE, _moves.c.decided_at >= sa.bindparam("since"), _txs.c.burned > 0, _txs.c.state != GONE)
)


def sent_within(
    db: Connection, asset: int, accounts: Mapping[int, str], seconds: int, now: int, without: Collection[bytes]
) -> dict[str, int]:
    """Holder → what left their accounts in the last ``seconds``, and what was signed and may still leave."""
    values = {
        "asset": asset,
        "accounts": sorted(accounts),
        "rivals": some(without),
        "since": now - seconds,
        "look_back": now - seconds - max(seconds, LATE + _MARGIN),
    }
    sent: dict[str, int] = {}
    for row in _SENT(db, **values):
        holder = accounts[row.account_id]
        sent[holder] = sent.get(holder, 0) + int(row.satoshi)
    return sent


def burned_since(
    db: Connection, asset: int, accounts: Mapping[int, str], since: int, without: Collection[bytes]
) -> dict[str, int]:
    """Holder → what was burned from their accounts since a time. A burn is one holder's, whichever accounts it took."""
    rows = _BURNS(db, asset=asset, accounts=sorted(accounts), rivals=some(without), since=since)
    burns = {(accounts[row.account_id], bytes(row.txid)): int(row.burned) for row in rows}
    burned: dict[str, int] = {}
    for (holder, _), satoshi in burns.items():
        burned[holder] = burned.get(holder, 0) + satoshi
    return burned


def record(db: Connection, txid: Txid, transfer: Transfer) -> None:
    """Write what leaves each account, inside the transaction that decides."""
    rows = [
        {
            "txid": bytes(txid),
            "asset": transfer.asset.id,
            "account_id": account,
            "satoshi": satoshi,
            "decided_at": transfer.now,
        }
        for account, satoshi in _leaving(transfer).items()
    ]
    if rows and not transfer.asset.is_token:
        db.execute(_moves.insert(), rows)


def _leaving(transfer: Transfer) -> dict[int, int]:
    """Account → its part of what its holder sends: taken from one account after the other, as far as each gave."""
    gave: dict[str, dict[int, int]] = {}
    for coin in transfer.inputs:
        if coin.party.kind is Kind.HOLDER and coin.party.account_id is not None:
            accounts = gave.setdefault(coin.party.holder, {})
            accounts[coin.party.account_id] = accounts.get(coin.party.account_id, 0) + coin.satoshi
    leaving: dict[int, int] = {}
    for holder in transfer.senders:
        rest = transfer.sent(holder.key)
        for account, satoshi in gave[holder.key].items():
            if part := min(rest, satoshi):
                leaving[account] = part
                rest -= part
    return leaving
