"""What the chain holds for the accounts of this service: outputs, who spent them, and in which transactions.

The index is a view of the best chain plus the mempool, kept by four verbs: :func:`add_block`, :func:`remove_block`,
:func:`add_unconfirmed` and :func:`mark_gone`. Scripts are looked up in ``addresses``, never address by address at the
chain. Every row of ``outputs`` exists now, in a block or in the mempool: a transaction that is gone from both (double
spent, evicted, reorganised away) loses its rows there and frees what it spent, while its row in ``transactions`` stays
on record. If it comes back, so do they.

Whatever the ledger of managed assets follows (:mod:`amp0.server.ledger.book`) has its row in ``transactions`` too, and
the ledger hears each verb inside the same transaction: the two never see different chains.

Owns the tables ``blocks``, ``transactions``, ``outputs`` and ``account_transactions``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.server import accounts, behind
from amp0.server.ledger import book
from amp0.server.store import outpoints, schema
from amp0.server.store.asset_schema import asset_txs

MEMPOOL, CONFIRMED, GONE = 0, 1, 2
KEPT_BLOCKS = 10_000
"""Headers kept for noticing reorganisations; more than any that a chain of ours can have."""
_CHUNK = 400

_blocks, _transactions, _outputs = schema.blocks, schema.transactions, schema.outputs
_history = schema.account_transactions
_VOUTS_OF = sa.select(_outputs.c.vout).where(_outputs.c.txid == sa.bindparam("id"))
_PLACE_OUTPUTS = _outputs.update().where(_outputs.c.txid == sa.bindparam("id")).values(height=sa.bindparam("at"))
_ADD_OUTPUT, _ADD_HISTORY = _outputs.insert(), _history.insert()
_HEARD_OF = sa.select(_history.c.account_id).where(_history.c.txid == sa.bindparam("id"))
_NEWEST_OF = (
    sa.select(_history.c.account_id, sa.func.max(_history.c.created_at_us).label("newest"))
    .where(_history.c.account_id.in_(sa.bindparam("ids", expanding=True)))
    .group_by(_history.c.account_id)
)
_OUTPUTS_AT = sa.select(
    _outputs.c.txid, _outputs.c.vout, _outputs.c.account_id, _outputs.c.spent_by, _outputs.c.spent_height
).where(outpoints.is_one_of(_outputs.c.txid, _outputs.c.vout))


@dataclass(frozen=True, slots=True)
class Block:
    """One block as the index needs it."""

    height: int
    hash: BlockHash
    previous: BlockHash
    time: int
    transactions: Sequence[Transaction] = ()


@dataclass(slots=True)
class Changes:
    """Which accounts hear of which transactions: new ones, and ones that are gone."""

    accounts_of: dict[Txid, set[int]] = field(default_factory=dict)

    def note(self, txid: Txid, account_ids: Iterable[int]) -> None:
        """Record that accounts (by id) are touched by a transaction."""
        self.accounts_of.setdefault(txid, set()).update(account_ids)


class Follower(Protocol):
    """Books about the chain that somebody else keeps, in the same transactions: those of the fee wallet, and of what
    was confirmed."""

    def concerned(self, db: Connection, transactions: Collection[Transaction]) -> set[Txid]:
        """Those of the transactions that it has to hear of."""

    def add(self, db: Connection, tx: Transaction, height: int | None) -> None:
        """A transaction is in a block, or in the mempool where there is no height."""

    def remove_block(self, db: Connection, height: int) -> None:
        """The tip is about to be disconnected: what is in it will be unconfirmed."""

    def mark_gone(self, db: Connection, txid: Txid) -> None:
        """A transaction is in neither block nor mempool any more."""


_Hearing = Mapping[Follower, set[Txid]]


# --- reading -------------------------------------------------------------------------------------------------------


def tip(connection: Connection) -> Block | None:
    """The newest block read, without its transactions; None before the first."""
    row = connection.execute(sa.select(_blocks).order_by(_blocks.c.height.desc()).limit(1)).one_or_none()
    return None if row is None else _block(row)


def block_at(connection: Connection, height: int) -> Block | None:
    """The block read at a height, without its transactions."""
    row = connection.execute(sa.select(_blocks).where(_blocks.c.height == height)).one_or_none()
    return None if row is None else _block(row)


def _block(row: sa.Row[Any]) -> Block:
    return Block(row.height, BlockHash(row.hash), BlockHash(row.previous_hash), row.time)


def unconfirmed(connection: Connection) -> set[Txid]:
    """Own transactions that are in the mempool as far as the index knows."""
    rows = connection.execute(sa.select(_transactions.c.txid).where(_transactions.c.state == MEMPOOL))
    return {Txid(txid) for txid in rows.scalars()}


def count_unspent(connection: Connection, account_ids: sa.Select[int]) -> int:
    """How many unspent outputs accounts hold, in block or mempool."""
    query = (
        sa.select(sa.func.count())
        .select_from(_outputs)
        .where(_outputs.c.account_id.in_(account_ids), _outputs.c.spent_by.is_(None))
    )
    return int(connection.execute(query).scalar_one())


# --- writing -------------------------------------------------------------------------------------------------------


def add_block(
    connection: Connection, block: Block, policy_asset: str, now: float, followers: Sequence[Follower] = ()
) -> Changes:
    """Connect the next block. The caller has checked that it follows the tip."""
    changes = Changes()
    connection.execute(
        _blocks.insert().values(
            height=block.height, hash=bytes(block.hash), previous_hash=bytes(block.previous), time=block.time
        )
    )
    _forget_block(connection, block.height - KEPT_BLOCKS)
    position = {tx.txid(): i for i, tx in enumerate(block.transactions)}
    hearing = _hearing(connection, block.transactions, followers)
    for tx in _candidates(connection, block.transactions, hearing):
        place = book.Place(block.height, position[tx.txid()], block.time)
        _add(connection, tx, place, policy_asset, now, changes, hearing)
    return changes


def _forget_block(connection: Connection, height: int) -> None:
    """Drop old headers; issuers are told the block hashes of reissuances for ever."""
    reissued = sa.exists().where(asset_txs.c.height == _blocks.c.height, asset_txs.c.kind == "reissuance")
    connection.execute(_blocks.delete().where(_blocks.c.height <= height, ~reissued))


def remove_block(connection: Connection, height: int, now: float, followers: Sequence[Follower] = ()) -> Changes:
    """Disconnect the tip. Its transactions are unconfirmed again; coinbases are gone."""
    changes = Changes()
    for follower in followers:
        follower.remove_block(connection, height)
    rows = connection.execute(
        sa.select(_transactions.c.txid, _transactions.c.raw).where(_transactions.c.height == height)
    ).all()
    # By the transactions of the block: outputs have no index by height, and reading all of them takes seconds.
    txids = sa.select(_transactions.c.txid).where(_transactions.c.height == height)
    connection.execute(_outputs.update().where(_outputs.c.txid.in_(txids)).values(height=None))
    connection.execute(_outputs.update().where(_outputs.c.spent_by.in_(txids)).values(spent_height=None))
    connection.execute(
        _transactions.update()
        .where(_transactions.c.height == height)
        .values(state=MEMPOOL, height=None, changed_at=int(now))
    )
    connection.execute(_blocks.delete().where(_blocks.c.height == height))
    book.remove_block(connection, height)
    for row in rows:
        if Transaction.from_bytes(row.raw).is_coinbase:
            _mark_gone(connection, Txid(row.txid), now, changes, followers)
    return changes


def add_unconfirmed(
    connection: Connection,
    transactions: Sequence[Transaction],
    policy_asset: str,
    now: float,
    followers: Sequence[Follower] = (),
) -> Changes:
    """Take transactions of the mempool, parents before children where both are new."""
    changes = Changes()
    hearing = _hearing(connection, transactions, followers)
    for tx in _candidates(connection, transactions, hearing):
        if not tx.is_coinbase:
            _add(connection, tx, None, policy_asset, now, changes, hearing)
    return changes


def mark_gone(
    connection: Connection, txids: Collection[Txid], now: float, followers: Sequence[Follower] = ()
) -> Changes:
    """Note that transactions are in neither mempool nor block any more, their own descendants included."""
    changes = Changes()
    for txid in txids:
        _mark_gone(connection, txid, now, changes, followers)
    return changes


def _hearing(connection: Connection, transactions: Sequence[Transaction], followers: Sequence[Follower]) -> _Hearing:
    return {follower: follower.concerned(connection, transactions) for follower in followers}


def _candidates(connection: Connection, transactions: Sequence[Transaction], hearing: _Hearing) -> list[Transaction]:
    """Those that pay one of our scripts, spend an output of a transaction we know, or that the ledger or somebody else
    follows."""
    scripts = {out.script for tx in transactions for out in tx.vout if out.script}
    ours = set(_watched(connection, scripts))
    known = {tx.txid() for tx in transactions if any(out.script in ours for out in tx.vout)}
    known |= _showing_managed(connection, transactions)
    known = known.union(*hearing.values())
    # The transactions themselves as well: an issuance of ours spends nothing that has a row.
    asked = {tx.txid() for tx in transactions} | {txin.prevout.txid() for tx in transactions for txin in tx.vin}
    for chunk in _chunks(asked - known):
        own = sa.select(_outputs.c.txid).where(_outputs.c.txid.in_(chunk))
        known |= {Txid(txid) for txid in connection.execute(own.union(book.followed(chunk))).scalars()}
    found = []
    for tx in transactions:
        if tx.txid() in known or any(txin.prevout.txid() in known for txin in tx.vin):
            # What spends this one may be another row of the ledger, and come further down.
            known.add(tx.txid())
            found.append(tx)
    return found


def _showing_managed(connection: Connection, transactions: Sequence[Transaction]) -> set[Txid]:
    """Those with an output that names a managed asset in the open; most name only what pays fees, and ask nothing."""
    shown = {tx.txid(): book.shown_assets(tx) for tx in transactions}
    held = book.managed(connection, set().union(*shown.values())).keys()
    return {txid for txid, names in shown.items() if names & held}


def _watched(connection: Connection, scripts: Collection[bytes]) -> dict[bytes, tuple[int, int]]:
    """Script → (account id, pointer) of those that are ours."""
    addresses = schema.addresses
    found: dict[bytes, tuple[int, int]] = {}
    for chunk in _chunks(scripts):
        rows = connection.execute(
            sa.select(addresses.c.script_pubkey, addresses.c.account_id, addresses.c.pointer).where(
                addresses.c.script_pubkey.in_(chunk)
            )
        )
        found.update({row.script_pubkey: (row.account_id, row.pointer) for row in rows})
    return found


def _chunks(values: Collection[bytes]) -> Iterable[list[bytes]]:
    ordered = [bytes(value) for value in values]
    return (ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK))


def _add(
    connection: Connection,
    tx: Transaction,
    place: book.Place | None,
    policy_asset: str,
    now: float,
    changes: Changes,
    hearing: _Hearing,
) -> None:
    txid, height = tx.txid(), None if place is None else place.height
    received = _watched(connection, {out.script for out in tx.vout if out.script})
    spent = _own_outputs(connection, [txin.prevout for txin in tx.vin])
    concern = book.concern(connection, tx)
    followed_by = [follower for follower, heard in hearing.items() if txid in heard]
    if not any(out.script in received for out in tx.vout) and not spent and concern is None and not followed_by:
        return
    was = connection.execute(
        sa.select(_transactions.c.state).where(_transactions.c.txid == bytes(txid))
    ).scalar_one_or_none()
    if was == CONFIRMED and height is None:
        # The mempool listing was read before the block.
        return
    if was is None and spent:
        behind.note_spend(connection, txid, [OutPoint(Txid(row.txid), row.vout) for row in spent])
    rivals = {Txid(row.spent_by): row.spent_height is not None for row in spent if row.spent_by is not None}
    rivals |= {} if concern is None else concern.rivals
    rivals.pop(txid, None)
    if height is None and any(rivals.values()):
        return
    for rival in rivals:
        _mark_gone(connection, rival, now, changes, list(hearing), for_good=True)
    _record_transaction(connection, tx, was, height, policy_asset, now)
    touched = {row.account_id for row in spent}
    owned = {vout: received[out.script] for vout, out in enumerate(tx.vout) if out.script in received}
    if owned:
        _record_outputs(connection, tx, owned, height)
        accounts.mark_used(connection, owned.values(), int(now))
        touched |= {account_id for account_id, _ in owned.values()}
    if spent:
        connection.execute(
            _outputs.update()
            .where(outpoints.is_one_of(_outputs.c.txid, _outputs.c.vout))
            .values(spent_by=bytes(txid), spent_height=height),
            outpoints.these(OutPoint(Txid(row.txid), row.vout) for row in spent),
        )
    if concern is not None:
        book.add(connection, tx, concern, place, now)
    for follower in followed_by:
        follower.add(connection, tx, height)
    is_news = _record_history(connection, txid, touched, now)
    if is_news or was in (None, GONE):
        changes.note(txid, touched)


def _own_outputs(connection: Connection, prevouts: Sequence[OutPoint]) -> list[sa.Row[Any]]:
    found: list[sa.Row[Any]] = []
    for i in range(0, len(prevouts), _CHUNK):
        found += connection.execute(_OUTPUTS_AT, outpoints.these(prevouts[i : i + _CHUNK]))
    return found


def _record_transaction(
    connection: Connection, tx: Transaction, was: int | None, height: int | None, policy_asset: str, now: float
) -> None:
    state = MEMPOOL if height is None else CONFIRMED
    if was is None:
        connection.execute(
            _transactions.insert().values(
                txid=bytes(tx.txid()),
                state=state,
                height=height,
                fee=tx.fee(policy_asset),
                weight=tx.weight(),
                vsize=tx.vsize(),
                first_seen_at=int(now),
                changed_at=int(now),
                raw=tx.to_bytes(),
            )
        )
    elif was != state:
        # A block's copy replaces an earlier one: witnesses may differ under one txid.
        connection.execute(
            _transactions.update()
            .where(_transactions.c.txid == bytes(tx.txid()))
            .values(state=state, height=height, changed_at=int(now), raw=tx.to_bytes())
        )


def _record_outputs(
    connection: Connection, tx: Transaction, owned: Mapping[int, tuple[int, int]], height: int | None
) -> None:
    """Own outputs (output → account and pointer), many at once: a distribution pays dozens of accounts."""
    txid = bytes(tx.txid())
    known = set(connection.execute(_VOUTS_OF, {"id": txid}).scalars())
    if known:
        connection.execute(_PLACE_OUTPUTS, {"id": txid, "at": height})
    rows = []
    for vout in sorted(owned.keys() - known):
        out = tx.vout[vout]
        account_id, pointer = owned[vout]
        rows.append(
            {
                "txid": txid,
                "vout": vout,
                "account_id": account_id,
                "pointer": pointer,
                "height": height,
                "script_pubkey": out.script,
                "asset_field": out.asset_field,
                "value_field": out.value_field,
                "nonce_field": out.nonce_field,
                "range_proof": out.range_proof,
                "surjection_proof": out.surjection_proof,
            }
        )
    if rows:
        connection.execute(_ADD_OUTPUT, rows)


def _record_history(connection: Connection, txid: Txid, account_ids: Iterable[int], now: float) -> bool:
    """Give the transaction its place in each account's history, once and for ever."""
    known = set(connection.execute(_HEARD_OF, {"id": bytes(txid)}).scalars())
    new = sorted(set(account_ids) - known)
    for i in range(0, len(new), _CHUNK):
        chunk = new[i : i + _CHUNK]
        newest = {row.account_id: row.newest for row in connection.execute(_NEWEST_OF, {"ids": chunk})}
        connection.execute(
            _ADD_HISTORY,
            [
                {
                    "account_id": account_id,
                    "created_at_us": max(int(now * 1_000_000), newest.get(account_id, 0) + 1),
                    "txid": bytes(txid),
                }
                for account_id in chunk
            ],
        )
    return bool(new)


def _mark_gone(
    connection: Connection,
    txid: Txid,
    now: float,
    changes: Changes,
    followers: Sequence[Follower],
    *,
    for_good: bool = False,
) -> None:
    """``for_good``: an input was spent otherwise, so nothing that spends its outputs can confirm either."""
    waiting = [txid]
    while waiting:
        gone = bytes(waiting.pop())
        waiting += book.mark_gone(connection, Txid(gone), for_good=for_good)
        row = connection.execute(
            sa.select(_transactions.c.state).where(_transactions.c.txid == gone)
        ).scalar_one_or_none()
        if row is None or row == GONE:
            continue
        connection.execute(
            _transactions.update()
            .where(_transactions.c.txid == gone)
            .values(state=GONE, height=None, changed_at=int(now))
        )
        children = connection.execute(
            sa.select(_outputs.c.spent_by).distinct().where(_outputs.c.txid == gone, _outputs.c.spent_by.is_not(None))
        )
        waiting += [Txid(child) for child in children.scalars()]
        connection.execute(
            _outputs.update().where(_outputs.c.spent_by == gone).values(spent_by=None, spent_height=None)
        )
        connection.execute(_outputs.delete().where(_outputs.c.txid == gone))
        for follower in followers:
            follower.mark_gone(connection, Txid(gone))
        rows = connection.execute(sa.select(_history.c.account_id).where(_history.c.txid == gone))
        changes.note(Txid(gone), rows.scalars())


def events_for(connection: Connection, changes: Changes) -> list[tuple[str, Txid, list[int]]]:
    """(receiving id of the wallet, txid, account numbers), one for each wallet and transaction."""
    accounts_table = schema.accounts
    zero = accounts_table.alias("zero")
    events = []
    for txid, account_ids in changes.accounts_of.items():
        if not account_ids:
            continue
        rows = connection.execute(
            sa.select(zero.c.receiving_id, accounts_table.c.pointer)
            .join_from(
                accounts_table,
                zero,
                (zero.c.user_id == accounts_table.c.user_id) & (zero.c.pointer == 0),
            )
            .where(accounts_table.c.id.in_(account_ids))
            .order_by(zero.c.receiving_id, accounts_table.c.pointer)
        )
        wallets: dict[str, list[int]] = {}
        for row in rows:
            wallets.setdefault(row.receiving_id, []).append(row.pointer)
        events += [(receiving_id, txid, pointers) for receiving_id, pointers in wallets.items()]
    return events
