"""Outputs that the server lost track of.

Two kinds. A *known* output of somebody unknown: the treasury paid an address that belongs to no account and was not
said to be its own. And a *sealed* one, that may hold units although nobody has told its blinding factors. Most sealed
outputs hold none (they are a node's change in L-BTC), so none is lost while every unit is accounted for; and those of
a distribution, reissue or burn that its issuer has yet to confirm are awaited rather than lost, with all that was
spent from them since. Without that an interrupted operation could never be taken up again: the official tool refuses
to work while anything is lost, the repair included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.ledger.sums import Asset, held, is_treasury, supply, unaccounted
from amp0.server.store.asset_schema import (
    asset_outputs,
    asset_txs,
    assignments,
    burns,
    distributions,
    reissuances,
)

_outs, _txs = asset_outputs, asset_txs


def lost_outputs(
    db: Connection,
    asset: Asset,
    is_token: bool = False,
    *,
    tip_height: int,
    now: float,
    grace: int,
    confirmations: int = 2,
) -> list[OutPoint]:
    """Unspent outputs of an asset, or of its reissuance token, that nobody can account for, oldest first.

    An output is lost only once its block is ``confirmations`` deep and ``grace`` seconds old: the confirmation that
    explains it may be on its way.
    """
    deep = (_outs.c.height <= tip_height - confirmations + 1) & (
        sa.func.coalesce(_txs.c.block_time, _txs.c.seen_at) <= int(now) - grace
    )
    query = (
        sa.select(_outs.c.txid, _outs.c.vout, _outs.c.height)
        .join(_txs, (_txs.c.txid == _outs.c.txid) & (_txs.c.asset == _outs.c.asset))
        .where(deep)
    )
    nobodys = query.where(held(asset.id, is_token=is_token), _outs.c.account_id.is_(None), ~is_treasury())
    found = list(db.execute(nobodys).all())
    if unaccounted(db, asset, is_token=is_token) or not (is_token or supply(db, asset).is_whole):
        sealed = query.where(
            _outs.c.asset == asset.id,
            _outs.c.is_token == int(is_token),
            _outs.c.satoshi.is_(None),
            _outs.c.spent_height.is_(None),
        )
        found += db.execute(sealed).all()
    awaited = _awaited(db, asset, is_token, {bytes(row.txid) for row in found})
    return [
        OutPoint(Txid(row.txid), row.vout)
        for row in sorted(found, key=lambda row: (row.height, row.txid, row.vout))
        if row.txid not in awaited
    ]


def _awaited(db: Connection, asset: Asset, is_token: bool, txids: Iterable[bytes]) -> set[bytes]:
    """Those transactions that an issuer has yet to confirm, or that can hold nothing but what came from such."""
    memory: dict[bytes, bool] = {}
    for root in txids:
        # Depth first without recursion: change may have been spent on and on.
        stack = [root]
        while stack:
            txid = stack[-1]
            if txid in memory:
                stack.pop()
                continue
            if _is_open(db, asset, txid):
                memory[txid] = True
                continue
            parents = _sealed_parents(db, asset, is_token, txid)
            unknown = [parent for parent in parents if parent not in memory]
            if unknown:
                stack += unknown
                continue
            memory[txid] = bool(parents) and all(memory[parent] for parent in parents)
    return {txid for txid in txids if memory[txid]}


def _is_open(db: Connection, asset: Asset, txid: bytes) -> bool:
    """Whether a transaction looks like an operation of the issuer whose confirmation has not come yet."""
    pays = (
        sa.select(assignments.c.id)
        .join(distributions, distributions.c.id == assignments.c.distribution_id)
        .join(_outs, _outs.c.script_pubkey == assignments.c.receiving_script)
        .where(_outs.c.txid == txid, _outs.c.asset == asset.id, distributions.c.state == "unconfirmed")
    )
    here = (_txs.c.txid == txid) & (_txs.c.asset == asset.id)
    confirmed_reissue = sa.exists().where(reissuances.c.txid == _txs.c.txid, reissuances.c.asset == _txs.c.asset)
    confirmed_burn = sa.exists().where(burns.c.txid == _txs.c.txid, burns.c.asset == _txs.c.asset)
    other = sa.select(_txs.c.asset).where(
        here,
        ((_txs.c.kind == "reissuance") & ~confirmed_reissue) | ((_txs.c.kind == "burn") & ~confirmed_burn),
    )
    return any(db.execute(query.limit(1)).first() is not None for query in (pays, other))


_KNOWN_IN = sa.func.coalesce(sa.func.sum(_outs.c.satoshi), 0)


def _sealed_parents(db: Connection, asset: Asset, is_token: bool, txid: bytes) -> Sequence[bytes]:
    """Where the sealed inputs of a transaction come from; none where its known inputs hold more than its outputs."""
    unit = (_outs.c.asset == asset.id) & (_outs.c.is_token == int(is_token))
    rows = db.execute(sa.select(_outs.c.txid, _outs.c.satoshi).where(unit, _outs.c.spent_by == txid)).all()
    known_out = db.execute(sa.select(_KNOWN_IN).where(unit, _outs.c.txid == txid)).scalar_one()
    if sum(row.satoshi or 0 for row in rows) > int(known_out):
        return []
    return sorted({bytes(row.txid) for row in rows if row.satoshi is None})
