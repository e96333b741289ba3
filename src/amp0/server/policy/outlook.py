"""What may still happen to holders: signed transactions that no block has.

Whoever has a signed transaction may send it, or not. So what a rule needs to know of a balance is not one number: what
is on its way to a holder may never arrive, and what was signed away may stay. A rule about the least that somebody
keeps counts the first as not theirs, and a rule about the most counts the second as theirs still.

That goes for a transaction that was *replaced* as well, or whose rival is on its way. Its owner still has it, and can
send it in the place of the other; nobody can tell before one of its coins is finally spent otherwise. Until then both
count. Otherwise a large payment would count for nothing as soon as a small one had taken its place, and be sent after
all, beside others that the limit had room for meanwhile. Those that share a coin exclude each other, and count as the
largest of them.

Reads, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.server.ledger.units import CONFIRMED, GONE, MEMPOOL, PROMISED
from amp0.server.policy.lookups import IS_PRESENT, some
from amp0.server.store import outpoints, schema
from amp0.server.store.asset_schema import asset_moves, asset_outputs, asset_txs
from amp0.server.store.composed import Query, among, at

FINAL_DEPTH = 2
"""Blocks after which Liquid is final."""
_CHUNK = 256

_outs, _txs, _moves = asset_outputs, asset_txs, asset_moves
_signed, _ins = schema.cosigned, schema.cosigned_inputs
_coins, _claims = schema.outputs, schema.outpoint_claims
_HERE = (_outs.c.asset == sa.bindparam("asset")) & (_outs.c.is_token == 0) & _outs.c.account_id.in_(among("accounts"))
# By transaction: the sums keep SQLite from reading all outputs of the asset, or of the accounts, for each of them.
_HERE_TOO = (
    (_outs.c.asset + 0 == sa.bindparam("asset"))
    & (_outs.c.is_token + 0 == 0)
    & (_outs.c.account_id + 0).in_(among("accounts"))
    & (_outs.c.satoshi > 0)
)
_UNSETTLED = Query(
    sa.select(
        _outs.c.account_id, _outs.c.txid, _outs.c.state, _outs.c.spent_by, _outs.c.spent_state, _outs.c.satoshi
    ).where(
        _HERE,
        IS_PRESENT,
        _outs.c.satoshi > 0,
        _outs.c.state.in_((MEMPOOL, PROMISED)) | _outs.c.spent_state.in_((MEMPOOL, PROMISED)),
    )
)
_CONCERNS = sa.or_(
    sa.exists().where(
        _moves.c.txid == _txs.c.txid, _moves.c.asset == _txs.c.asset, _moves.c.account_id.in_(among("accounts"))
    ),
    sa.exists().where(
        _outs.c.txid == _txs.c.txid, _outs.c.asset + 0 == _txs.c.asset, _outs.c.account_id.in_(among("accounts"))
    ),
)
_GONE = Query(
    sa.select(_txs.c.txid, _txs.c.burned)
    .join(_signed, _signed.c.txid == _txs.c.txid)
    .where(_txs.c.asset == sa.bindparam("asset"), _txs.c.state == GONE, _txs.c.txid.not_in(among("rivals")), _CONCERNS)
)
_TIP = sa.select(sa.func.max(schema.blocks.c.height)).scalar_subquery()
_INPUTS = Query(
    sa.select(
        _ins.c.txid,
        _ins.c.prev_txid,
        _ins.c.prev_vout,
        _coins.c.txid.is_not(None).label("is_there"),
        _coins.c.spent_by,
        (_coins.c.spent_height <= _TIP - FINAL_DEPTH + 1).label("is_final"),
        _claims.c.txid.label("claimed_by"),
    )
    .join(_coins, (_coins.c.txid == _ins.c.prev_txid) & (_coins.c.vout == _ins.c.prev_vout), isouter=True)
    .join(_claims, (_claims.c.prev_txid == _ins.c.prev_txid) & (_claims.c.prev_vout == _ins.c.prev_vout), isouter=True)
    .where(_ins.c.txid.in_(among("txids")), _ins.c.account_id.is_not(None))
)
_seen = schema.transactions
PAYING = (
    sa.select(_txs.c.txid)
    .join(_signed, _signed.c.txid == _txs.c.txid)
    .where(
        _txs.c.asset == sa.bindparam("asset"),
        _txs.c.state == GONE,
        _txs.c.txid.not_in(among("rivals")),
        sa.exists().where(
            _outs.c.txid == _txs.c.txid,
            _outs.c.asset + 0 == _txs.c.asset,
            _outs.c.is_token + 0 == 0,
            _outs.c.account_id.is_not(None),
        ),
        ~sa.exists().where(
            _ins.c.txid == _txs.c.txid,
            _ins.c.account_id.is_not(None),
            _coins.c.txid == _ins.c.prev_txid,
            _coins.c.vout == _ins.c.prev_vout,
            _coins.c.spent_by != _ins.c.txid,
            _coins.c.spent_height <= _TIP - FINAL_DEPTH + 1,
        ),
    )
)
"""Replaced transactions that pay an ``asset`` to an account, but for ``rivals`` and those of which a coin is finally
spent otherwise: candidates for :func:`may_confirm`."""
_RAW = Query(sa.select(_seen.c.txid, _seen.c.raw).where(_seen.c.txid.in_(among("txids"))))
# Coins of an account, and units of whoever it was, that a block gave to somebody for good.
_TAKEN = Query(
    sa.union_all(
        sa.select(_coins.c.txid, _coins.c.vout, _coins.c.spent_by).where(
            outpoints.is_one_of(_coins.c.txid, _coins.c.vout), _coins.c.spent_height <= _TIP - FINAL_DEPTH + 1
        ),
        sa.select(_outs.c.txid, _outs.c.vout, _outs.c.spent_by).where(
            outpoints.is_one_of(_outs.c.txid, _outs.c.vout),
            _outs.c.spent_state == CONFIRMED,
            _outs.c.spent_height <= _TIP - FINAL_DEPTH + 1,
        ),
    )
)
_LEFT = Query(
    sa.select(_moves.c.txid, _moves.c.account_id, _moves.c.satoshi).where(
        _moves.c.asset == sa.bindparam("asset"),
        _moves.c.txid.in_(among("txids")),
        _moves.c.account_id.in_(among("accounts")),
    )
)
_MOVED = Query(
    sa.union_all(
        sa.select(_outs.c.txid.label("by"), _outs.c.account_id, _outs.c.satoshi).where(
            _HERE_TOO, _outs.c.txid.in_(among("txids"))
        ),
        sa.select(_ins.c.txid, _outs.c.account_id, -_outs.c.satoshi)
        .join(_ins, (_outs.c.txid == _ins.c.prev_txid) & (_outs.c.vout == _ins.c.prev_vout))
        .where(_HERE_TOO, _ins.c.txid.in_(among("txids"))),
    )
)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A replaced transaction that may confirm all the same, the coins it needs, and what it would burn. Or one that
    took the place of such (``counts``), whose own effects are counted by everybody else."""

    txid: bytes
    coins: frozenset[OutPoint]
    burned: int
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What replaced transactions would take from a holder, give to them, and burn of theirs, beyond what counts.

    ``sent`` is what would leave them, as it was written down when it was signed; ``loss`` is what they would have less
    of what the ledger knows that they hold. The two differ while nobody has told what a coin holds.
    """

    sent: int = 0
    loss: int = 0
    gain: int = 0
    burned: int = 0


def replaced(
    db: Connection,
    asset: int,
    accounts: Collection[int],
    prevouts: Collection[OutPoint],
    rivals: Collection[bytes],
) -> tuple[list[Replaced], frozenset[bytes]]:
    """Replaced transactions that concern one of the accounts and may confirm; and those among them that a spend of
    ``prevouts`` would exclude, which do not count beside it."""
    rows = _GONE(db, asset=asset, accounts=sorted(accounts), rivals=some(rivals)) if accounts else ()
    if not rows:
        return [], frozenset()
    burned = {bytes(row.txid): int(row.burned) for row in rows}
    fate = _Fate.of(db, burned)
    alive = burned.keys() - fate.dead()
    excluded = frozenset(txid for txid in alive if not fate.coins[txid].isdisjoint(prevouts))
    if not alive - excluded:
        return [], excluded
    instead = {txid for one in alive for txid in fate.others[one]} - burned.keys() - set(rivals)
    others = _Fate.of(db, instead).coins if instead else {}
    found = [Replaced(txid, frozenset(others[txid]), 0, counts=True) for txid in sorted(instead & others.keys())]
    found += [Replaced(txid, frozenset(fate.coins[txid]), burned[txid]) for txid in sorted(alive - excluded)]
    return found, excluded


def may_confirm(db: Connection, txids: Collection[bytes]) -> set[bytes]:
    """Those of these replaced transactions that may confirm, with their parents."""
    return set(txids) - _Fate.of(db, txids).dead() if txids else set()


@dataclass(frozen=True, slots=True)
class _Fate:
    """Of signed transactions: their own coins, who else has a claim to these, and the parents that are gone."""

    coins: dict[bytes, set[OutPoint]] = field(default_factory=dict)
    others: dict[bytes, set[bytes]] = field(default_factory=dict)
    parents: dict[bytes, set[bytes]] = field(default_factory=dict)
    lost: set[bytes] = field(default_factory=set)
    """Of which a coin is finally spent otherwise."""
    lost_parents: set[bytes] = field(default_factory=set)
    """The same, of parents that were not signed here."""

    @classmethod
    def of(cls, db: Connection, txids: Iterable[bytes]) -> Self:
        """Of these, and of their parents as far as those are gone too."""
        fate, waiting, seen = cls(), set(txids), set[bytes]()
        while waiting:
            seen |= waiting
            rows = _INPUTS(db, txids=sorted(waiting))
            waiting = set()
            for row in rows:
                txid, parent = bytes(row.txid), bytes(row.prev_txid)
                fate.coins.setdefault(txid, set()).add(OutPoint(Txid(parent), row.prev_vout))
                claims = {bytes(one) for one in (row.spent_by, row.claimed_by) if one is not None} - {txid}
                fate.others.setdefault(txid, set()).update(claims)
                if not row.is_there:
                    fate.parents.setdefault(txid, set()).add(parent)
                    waiting |= {parent} - seen
                elif row.is_final and row.spent_by not in (None, txid):
                    fate.lost.add(txid)
        elsewhere = set[bytes]().union(*fate.parents.values()) - fate.coins.keys()
        fate.lost_parents.update(_lost(db, elsewhere))
        return fate

    def dead(self) -> set[bytes]:
        """Those that cannot confirm: a coin of theirs is spent otherwise, or will never be."""
        dead = self.lost | self.lost_parents
        while more := {txid for txid, gone in self.parents.items() if gone & dead} - dead:
            dead |= more
        return dead


def _lost(db: Connection, txids: Collection[bytes]) -> set[bytes]:
    """Those of the transactions, signed elsewhere, of which a coin is known to be finally spent otherwise.

    That one of them is in neither block nor mempool says nothing: whoever has it may send it again, and has it for a
    reason if something signed here waits for it.
    """
    inputs = {
        bytes(row.txid): [txin.prevout for txin in Transaction.from_bytes(row.raw).vin]
        for row in (_RAW(db, txids=sorted(txids)) if txids else ())
    }
    prevouts = sorted({prevout for spent in inputs.values() for prevout in spent})
    taken: dict[OutPoint, set[bytes]] = {}
    for i in range(0, len(prevouts), _CHUNK):
        for row in _TAKEN(db, **at(prevouts[i : i + _CHUNK])):
            taken.setdefault(OutPoint(Txid(row.txid), row.vout), set()).add(bytes(row.spent_by))
    return {txid for txid, spent in inputs.items() if any(taken.get(prevout, set()) - {txid} for prevout in spent)}


def of_replaced(
    db: Connection, asset: int, accounts: Mapping[int, str], transactions: Sequence[Replaced]
) -> dict[str, Outlook]:
    """Holder → what those transactions would do to them at the worst, beyond what counts already."""
    if not transactions or not accounts:
        return {}
    values = {"asset": asset, "accounts": sorted(accounts), "txids": [one.txid for one in transactions]}
    net: dict[str, dict[bytes, int]] = {}
    for row in _MOVED(db, **values):
        of_holder = net.setdefault(accounts[row.account_id], {})
        of_holder[bytes(row.by)] = of_holder.get(bytes(row.by), 0) + int(row.satoshi)
    left: dict[str, dict[bytes, int]] = {}
    for row in _LEFT(db, **values):
        of_holder = left.setdefault(accounts[row.account_id], {})
        of_holder[bytes(row.txid)] = of_holder.get(bytes(row.txid), 0) + int(row.satoshi)
    groups = _exclusive(transactions)
    return {holder: _outlook(groups, net.get(holder, {}), left.get(holder, {})) for holder in net.keys() | left.keys()}


def _outlook(groups: Sequence[Sequence[Replaced]], net: Mapping[bytes, int], left: Mapping[bytes, int]) -> Outlook:
    """Of one holder: ``net`` is what each transaction gives them by the ledger, ``left`` what was written down."""

    def beyond(of: Callable[[Replaced], int]) -> int:
        return _beyond([[(of(one), one.counts) for one in group] for group in groups])

    return Outlook(
        sent=beyond(lambda one: left.get(one.txid, 0)),
        loss=beyond(lambda one: max(-net.get(one.txid, 0), 0 if one.counts else left.get(one.txid, 0))),
        gain=beyond(lambda one: net.get(one.txid, 0)),
        burned=beyond(lambda one: one.burned if left.get(one.txid, 0) else 0),
    )


def _beyond(groups: Sequence[Sequence[tuple[int, bool]]]) -> int:
    """Of each group the largest counts, and the one that took the others' place is counted elsewhere."""
    return sum(
        max(0, max(satoshi for satoshi, _ in group) - sum(max(0, satoshi) for satoshi, counts in group if counts))
        for group in groups
    )


def unsettled(
    db: Connection, asset: int, accounts: Mapping[int, str], without: Collection[bytes]
) -> dict[str, tuple[int, int]]:
    """Holder → what transactions in no block bring them, and what such take from them, each net."""
    net: dict[tuple[str, bytes], int] = {}
    for row in _UNSETTLED(db, asset=asset, accounts=sorted(accounts)) if accounts else ():
        holder = accounts[row.account_id]
        if row.state in (MEMPOOL, PROMISED):
            key = holder, bytes(row.txid)
            net[key] = net.get(key, 0) + int(row.satoshi)
        if row.spent_state in (MEMPOOL, PROMISED):
            key = holder, bytes(row.spent_by)
            net[key] = net.get(key, 0) - int(row.satoshi)
    found: dict[str, tuple[int, int]] = {}
    for (holder, txid), satoshi in net.items():
        if txid not in without:
            gains, losses = found.get(holder, (0, 0))
            found[holder] = gains + max(0, satoshi), losses + max(0, -satoshi)
    return found


def _exclusive(transactions: Iterable[Replaced]) -> list[list[Replaced]]:
    """In groups of which each two share a coin, so that one of each group confirms at most."""
    groups: list[list[Replaced]] = []
    for one in transactions:
        for group in groups:
            if all(not one.coins.isdisjoint(other.coins) for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups
