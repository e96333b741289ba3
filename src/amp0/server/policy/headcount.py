"""How many holders an asset has, or may have, without counting them.

The database keeps the number of those who have an output that no block has spent (migration 3): whatever the ledger
writes, and whoever registers an account, a trigger counts in the same transaction. What is left to do for a decision
concerns few: transactions that it excludes, and replaced ones that may be sent all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.ledger.units import CONFIRMED, GONE
from amp0.server.policy import lookups, outlook
from amp0.server.policy.facts import Asset
from amp0.server.store.asset_schema import asset_holder_counts, asset_holdings, asset_outputs
from amp0.server.store.composed import Query, among

_out, _holdings, _counts = asset_outputs, asset_holdings, asset_holder_counts
_COUNT = Query(
    sa.union_all(
        sa.select(_counts.c.holders, sa.null().label("txid")).where(_counts.c.asset == sa.bindparam("asset")),
        sa.select(sa.literal_column("0"), outlook.PAYING.subquery().c.txid),
    )
)
_COINS = Query(
    sa.select(_holdings.c.account_id, _holdings.c.coins).where(
        _holdings.c.asset == sa.bindparam("asset"), _holdings.c.account_id.in_(among("accounts"))
    )
)
# By transaction: the sums keep SQLite from reading all outputs of the asset.
_PAID = (
    _out.c.txid.in_(among("txids"))
    & (_out.c.asset + 0 == sa.bindparam("asset"))
    & (_out.c.is_token + 0 == 0)
    & _out.c.account_id.is_not(None)
    & sa.or_(_out.c.satoshi > 0, _out.c.satoshi.is_(None))
)
# As the triggers count.
_COINS_OF = Query(
    sa.select(_out.c.account_id, sa.func.count().label("coins"))
    .where(_PAID, _out.c.state != GONE, sa.or_(_out.c.spent_state.is_(None), _out.c.spent_state != CONFIRMED))
    .group_by(_out.c.account_id)
)
_PAID_BY = Query(sa.select(_out.c.account_id).distinct().where(_PAID))


def count(db: Connection, asset: Asset, without: Collection[bytes] = frozenset()) -> int:
    """How many identities hold the asset or may; ``without`` are transactions that count as if never signed."""
    rows = _COUNT(db, asset=asset.id, rivals=lookups.some(without))
    holders = sum(int(row.holders) for row in rows)
    ghosts = outlook.may_confirm(db, {bytes(row.txid) for row in rows if row.txid is not None})
    if not without and not ghosts:
        return holders
    excluded = {row.account_id: int(row.coins) for row in _COINS_OF(db, asset=asset.id, txids=lookups.some(without))}
    come = {row.account_id for row in _PAID_BY(db, asset=asset.id, txids=sorted(ghosts))} if ghosts else set[int]()
    if not excluded and not come:
        return holders
    who = _identities(db, asset, excluded.keys() | come)
    coins = {row.account_id: int(row.coins) for row in _COINS(db, asset=asset.id, accounts=sorted(who))}
    held, lost = _by_identity(who, coins), _by_identity(who, excluded)
    stay = {holder for holder in held if held[holder] > lost.get(holder, 0)}
    return holders - len(held.keys() - stay) + len({who[account] for account in come} - stay)


def _identities(db: Connection, asset: Asset, accounts: Collection[int]) -> dict[int, str]:
    """Account → whose it is, for all accounts of those who have one of these."""
    parties = [one.party for one in lookups.accounts_of(db, asset.issuer_id, accounts)]
    return lookups.holders_accounts(db, asset.issuer_id, parties)


def _by_identity(who: Mapping[int, str], coins: Mapping[int, int]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for account, number in coins.items():
        totals[who[account]] = totals.get(who[account], 0) + number
    return totals
