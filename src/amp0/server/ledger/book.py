"""Where every unit of every managed asset is: the half of the ledger that writes.

The chain hides amounts and asset ids, so what an output holds is known here only from its *opening*: the cosigner has
those of all that AMP accounts send, the issuer's node tells those of the treasury, and explicit outputs need none.
Every output that holds a managed asset, or its reissuance token, has a row. So has every output that *may* hold one
and whose opening is not known: a **sealed** row. Sealed rows follow from the shape of the chain: units come into being
in an issuance, which is known here, and move only in transactions that spend an output with a row. By induction no
unit can be anywhere else, and following the chain means no more than asking what spends a row. Most sealed rows hold
nothing, and transactions prove that by themselves (:mod:`~amp0.server.ledger.sealed`).

A transaction is *promised* once the service decided to sign it, then in the mempool, in a block, or gone. It may go
back and forth. What can no longer confirm is gone and frees what it spent; what was signed here and merely fell out of
the mempool is promised again, because its owner can still send it. Rows keep what they know while they are gone.

Owns the tables ``asset_txs`` and ``asset_outputs``. Callers hold the store's writing transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements import wally
from amp0.elements.confidential import Opening, fits, issued_asset
from amp0.elements.hashes import Txid
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction, value_of_field
from amp0.errors import InvalidAmounts
from amp0.server.ledger import sealed
from amp0.server.ledger.entry import enter, enter_outputs, move, opening_columns
from amp0.server.ledger.units import (
    CONFIRMED,
    GONE,
    MEMPOOL,
    PROMISED,
    Place,
    Standing,
    Unit,
    followed,
    managed,
    outputs_at,
    spenders,
    states,
)
from amp0.server.refusal import InvalidRequest, NotFound
from amp0.server.store import schema
from amp0.server.store.asset_schema import asset_outputs, asset_txs, assets

_txs, _outs = asset_txs, asset_outputs
_CHUNK = 400


@dataclass(frozen=True, slots=True)
class Opened:
    """One output's opening."""

    vout: int
    opening: Opening = field(repr=False)


class WrongOpening(InvalidRequest):
    """An opening that does not reproduce the commitments of output ``vout``, or of the issuance of that input."""

    def __init__(self, vout: int, text: str | None = None) -> None:
        super().__init__(text or f"The blinding factors do not open output {vout}")
        self.vout = vout


class NotFollowed(NotFound):
    """The ledger has not read the transaction: it moves nothing that is managed here, or the chain is ahead."""


# --- what the service itself makes or signs --------------------------------------------------------------------------


def begin_asset(db: Connection, asset: int, tx: Transaction, openings: Sequence[Opened], now: float) -> None:
    """Enter the issuance of the asset with this row number: its outputs are promised until the chain has them.

    Asking again changes nothing. Raises :class:`WrongOpening`.
    """
    known = _checked(tx, openings)
    units = set(managed(db, {opening.asset for opening in known.values()}).values())
    assert Unit(asset, False) in units, "an issuance has an output that holds the asset"
    if not states(db, tx.txid()):
        enter(db, tx, units, known, [], Standing(PROMISED), int(now))


def record_cosigned(db: Connection, tx: Transaction, openings: Sequence[Opening | None], now: float) -> None:
    """Enter what the service is about to sign, inside the transaction that decides.

    ``openings`` has one entry per output and was proven by the cosigner. Promised transactions that held the same rows
    are gone. Costs two look-ups where nothing managed is concerned.
    """
    spent = outputs_at(db, [txin.prevout for txin in tx.vin])
    known = {vout: opening for vout, opening in enumerate(openings) if opening is not None}
    units = {Unit.of(row) for row in spent}
    units.update(managed(db, {opening.asset for opening in known.values()}).values())
    if not units:
        return
    # Only what AMP accounts spend was signed for by its owner. Anybody may name a coin of the treasury, or of somebody
    # else, among the inputs: until the chain says so nobody has spent it, and nothing that spends it is gone.
    spent = [row for row in spent if row.account_id is not None]
    for row in spent:
        if row.spent_state == PROMISED and row.spent_by != bytes(tx.txid()):
            mark_gone(db, Txid(row.spent_by), for_good=True)
    # What the chain has spent stays spent by that, and this one will not confirm.
    spent = [row for row in spent if row.spent_state in (None, PROMISED)]
    before = states(db, tx.txid())
    if not before:
        enter(db, tx, units, known, spent, Standing(PROMISED), int(now))
    elif GONE in before.values():
        move(db, tx, spent, Standing(PROMISED))


def forget_promise(db: Connection, txid: Txid) -> None:
    """Another transaction replaced one that was signed here and is not on the chain: it no longer counts."""
    if PROMISED in states(db, txid).values():
        mark_gone(db, txid, for_good=True)


# --- what is learnt later --------------------------------------------------------------------------------------------


def add_openings(db: Connection, tx: Transaction, openings: Sequence[Opened], now: float) -> list[int]:
    """Record openings, each verified against its commitments; the outputs about which that was news, in order.

    Openings of outputs that hold nothing managed are good too: they prove just that. Raises :class:`WrongOpening`
    (then nothing was recorded) and :class:`NotFollowed` for a transaction that the chain index has not read.
    """
    known, txid = _checked(tx, openings), tx.txid()
    units = managed(db, {opening.asset for opening in known.values()})
    before = db.execute(sa.select(_outs).where(_outs.c.txid == bytes(txid))).all()
    have, spent = states(db, txid), outputs_at(db, [txin.prevout for txin in tx.vin])
    standing = _standing_of(db, txid)
    if not have or any(unit.asset not in have for unit in units.values()):
        enter(db, tx, set(units.values()), known, spent, standing, int(now))
    affected = {txid} | spenders(db, txid)
    rows_at: dict[int, list[sa.Row[Any]]] = {}
    for row in before:
        rows_at.setdefault(row.vout, []).append(row)
    new = {
        vout: units.get(opening.asset)
        for vout, opening in sorted(known.items())
        if (vout in rows_at or opening.asset in units) and all(row.satoshi is None for row in rows_at.get(vout, ()))
    }
    if new:
        _write_openings(db, tx, {vout: (unit, known[vout]) for vout, unit in new.items()}, spent, standing, int(now))
        sealed.settle(db, affected)
    return list(new)


def add_issued(db: Connection, tx: Transaction, vin: int, satoshi: int, vbf: bytes) -> bool:
    """Record the hidden amount that an input reissues, verified against its commitment; whether it was news.

    Raises :class:`WrongOpening` and :class:`NotFollowed`.
    """
    issuance = tx.vin[vin].issuance if 0 <= vin < len(tx.vin) else None
    if issuance is None or not issuance.amount_field:
        raise WrongOpening(vin, f"Input {vin} issues nothing")
    asset_id, _ = issued_asset(tx.vin[vin])
    unit = managed(db, [asset_id]).get(asset_id)
    if unit is None or unit.asset not in states(db, tx.txid()):
        raise NotFollowed(f"The issuance of transaction {tx.txid()} is not known here")
    if not 0 < satoshi <= MAX_SATOSHI or not _opens_issuance(issuance.amount_field, asset_id, satoshi, vbf):
        raise WrongOpening(vin, f"The blinding factor does not open the issued amount of input {vin}")
    if sum(txin.issuance is not None and issued_asset(txin)[0] == asset_id for txin in tx.vin) > 1:
        raise WrongOpening(vin, "A transaction that reissues an asset twice cannot be taken apart")
    here = (_txs.c.txid == bytes(tx.txid())) & (_txs.c.asset == unit.asset) & _txs.c.issued.is_(None)
    written = db.execute(_txs.update().where(here).values(issued=satoshi)).rowcount
    if written:
        sealed.settle(db, [tx.txid()])
    return written > 0


def note_distribution(db: Connection, asset: int, txid: Txid) -> None:
    """Say of a transfer that it is a distribution."""
    here = (_txs.c.txid == bytes(txid)) & (_txs.c.asset == asset) & (_txs.c.kind == "transfer")
    db.execute(_txs.update().where(here).values(kind="distribution"))


# --- what the chain says: called by chainindex, inside its transaction -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Concern:
    """What a transaction has to do with the ledger: the rows that it spends, and its own states by asset."""

    spent: list[sa.Row[Any]]
    states: dict[int, int]
    rivals: dict[Txid, bool]
    """Other transactions that spend the same rows, each with whether it is in a block."""


def concern(db: Connection, tx: Transaction) -> Concern | None:
    """What a transaction of the chain has to do with the ledger, None when nothing."""
    txid = tx.txid()
    spent, have = outputs_at(db, [txin.prevout for txin in tx.vin]), states(db, txid)
    if not spent and not have and not managed(db, shown_assets(tx)):
        return None
    rivals = {
        Txid(row.spent_by): row.spent_state == CONFIRMED
        for row in spent
        if row.spent_by is not None and row.spent_by != bytes(txid)
    }
    return Concern(spent, have, rivals)


def shown_assets(tx: Transaction) -> set[bytes]:
    """Asset ids that outputs name in the open, beside the one that pays the fee; none for a coinbase."""
    if tx.is_coinbase:
        # It collects fees. A managed asset that was paid as a fee has its row there already, and counts once.
        return set()
    fees = {out.explicit_asset for out in tx.vout if out.is_fee()}
    return {out.explicit_asset for out in tx.vout if out.explicit_asset is not None} - fees


def add(db: Connection, tx: Transaction, here: Concern, place: Place | None, now: float) -> None:
    """Take a transaction of a block, or of the mempool where ``place`` is None.

    The caller has marked its rivals as gone.
    """
    standing = Standing.at(place)
    units = {Unit.of(row) for row in here.spent}
    if not here.states or any(unit.asset not in here.states for unit in units):
        enter(db, tx, units, {}, here.spent, standing, int(now))
    if here.states:
        move(db, tx, here.spent, standing)
    if GONE in here.states.values():
        _promise_children(db, tx.txid())


def remove_block(db: Connection, height: int) -> None:
    """The transactions of the tip are unconfirmed again."""
    db.execute(_txs.update().where(_txs.c.height == height).values(**Standing(MEMPOOL).columns()))
    db.execute(_outs.update().where(_outs.c.height == height).values(state=MEMPOOL, height=None))
    db.execute(_outs.update().where(_outs.c.spent_height == height).values(spent_state=MEMPOOL, spent_height=None))


def mark_gone(db: Connection, txid: Txid, *, for_good: bool = False) -> list[Txid]:
    """A transaction is in neither block nor mempool any more; those of its descendants that fell with it.

    What was signed here is promised again, unless it can no longer confirm (``for_good``: an input was spent
    otherwise, or it was replaced).
    """
    fallen: list[Txid] = []
    waiting = [(txid, for_good)]
    while waiting:
        gone, lost = waiting.pop()
        have = set(states(db, gone).values())
        keeps = not lost and _is_promised(db, gone)
        if not have or have == {GONE} or (keeps and have == {PROMISED}):
            continue
        # What spends an output of something that cannot come back cannot confirm either.
        waiting += [(child, not keeps) for child in spenders(db, gone)]
        state = PROMISED if keeps else GONE
        db.execute(_txs.update().where(_txs.c.txid == bytes(gone)).values(**Standing(state).columns()))
        db.execute(_outs.update().where(_outs.c.txid == bytes(gone)).values(state=state, height=None))
        spend: dict[str, int | None] = {"spent_state": PROMISED, "spent_height": None}
        if not keeps:
            spend = {"spent_by": None, "spent_vin": None, "spent_state": None, "spent_height": None}
        db.execute(_outs.update().where(_outs.c.spent_by == bytes(gone)).values(**spend))
        fallen.append(gone)
    return [one for one in fallen if one != txid]


# --- inside ----------------------------------------------------------------------------------------------------------


def _checked(tx: Transaction, openings: Sequence[Opened]) -> dict[int, Opening]:
    """Openings by output, each verified. Raises :class:`WrongOpening`."""
    known: dict[int, Opening] = {}
    for opened in openings:
        if not 0 <= opened.vout < len(tx.vout):
            raise WrongOpening(opened.vout, f"The transaction has no output {opened.vout}")
        if not fits(tx.vout[opened.vout], opened.opening):
            raise WrongOpening(opened.vout)
        if opened.opening.satoshi > MAX_SATOSHI:
            raise WrongOpening(opened.vout, f"Output {opened.vout} holds more than can be kept account of")
        known[opened.vout] = opened.opening
    return known


_OPEN = (
    _outs.update()
    .where(
        _outs.c.txid == sa.bindparam("at_txid"),
        _outs.c.vout == sa.bindparam("at_vout"),
        _outs.c.asset == sa.bindparam("at_asset"),
        _outs.c.is_token == sa.bindparam("at_token"),
    )
    .values(satoshi=sa.bindparam("satoshi"), abf=sa.bindparam("abf"), vbf=sa.bindparam("vbf"))
)


def _write_openings(
    db: Connection,
    tx: Transaction,
    opened: Mapping[int, tuple[Unit | None, Opening]],
    spent: Sequence[sa.Row[Any]],
    standing: Standing,
    now: int,
) -> None:
    """Openings of outputs, with the unit that each holds, if any. A distribution may have a thousand."""
    txid = bytes(tx.txid())
    here = sa.select(_outs.c.vout, _outs.c.asset, _outs.c.is_token).where(_outs.c.txid == txid)
    rows = {(row.vout, Unit(row.asset, bool(row.is_token))) for row in db.execute(here)}
    holding = {vout: (unit, opening) for vout, (unit, opening) in opened.items() if unit is not None}
    values = [
        {
            "at_txid": txid,
            "at_vout": vout,
            "at_asset": unit.asset,
            "at_token": int(unit.is_token),
            **opening_columns(opening),
        }
        for vout, (unit, opening) in holding.items()
        if (vout, unit) in rows
    ]
    if values:
        db.execute(_OPEN, values)
    missing = [(vout, unit, opening) for vout, (unit, opening) in holding.items() if (vout, unit) not in rows]
    enter_outputs(db, tx, missing, spent, standing, now)
    vouts = list(opened)
    for i in range(0, len(vouts), _CHUNK):
        chunk = _outs.c.vout.in_(vouts[i : i + _CHUNK])
        db.execute(_outs.delete().where(_outs.c.txid == txid, chunk, _outs.c.satoshi.is_(None)))


def _opens_issuance(amount_field: bytes, asset_id: bytes, satoshi: int, vbf: bytes) -> bool:
    explicit = value_of_field(amount_field)
    if explicit is not None:
        return satoshi == explicit
    try:
        return wally.value_commitment(satoshi, vbf, wally.asset_generator(asset_id, None)) == amount_field
    except InvalidAmounts:
        return False


def _standing_of(db: Connection, txid: Txid) -> Standing:
    """Where a transaction is, as its rows here say, or else the chain index. Raises :class:`NotFollowed`."""
    seen, blocks = schema.transactions, schema.blocks
    ours = sa.select(_txs.c.state, _txs.c.height, _txs.c.position, _txs.c.block_time).where(_txs.c.txid == bytes(txid))
    theirs = (
        sa.select(seen.c.state, seen.c.height, sa.null(), blocks.c.time)
        .join(blocks, blocks.c.height == seen.c.height, isouter=True)
        .where(seen.c.txid == bytes(txid))
    )
    row = db.execute(ours.limit(1)).one_or_none() or db.execute(theirs).one_or_none()
    if row is None:
        raise NotFollowed(f"Transaction {txid} moves nothing that is managed here, or was not read yet")
    state, height, position, time = row
    return Standing(state, None if height is None else Place(height, position, time))


def _is_promised(db: Connection, txid: Txid) -> bool:
    """Whether the service signed a transaction and nothing replaced it: it may be sent again at any time."""
    signed = sa.select(schema.cosigned.c.txid).where(
        schema.cosigned.c.txid == bytes(txid), schema.cosigned.c.replaced_by.is_(None)
    )
    issued = sa.select(assets.c.issue_txid).where(assets.c.issue_txid == bytes(txid), assets.c.state != "failed")
    return db.execute(signed.union_all(issued)).first() is not None


def _promise_children(db: Connection, txid: Txid) -> None:
    """A transaction came back: what was signed here on top of it, and fell with it, may confirm again."""
    claims, ins = schema.outpoint_claims, schema.cosigned_inputs
    waiting = [txid]
    while waiting:
        parent = waiting.pop()
        heirs = db.execute(sa.select(claims.c.txid).distinct().where(claims.c.prev_txid == bytes(parent))).scalars()
        for heir in [Txid(one) for one in heirs.all()]:
            if set(states(db, heir).values()) != {GONE}:
                continue
            rows = db.execute(sa.select(ins).where(ins.c.txid == bytes(heir))).all()
            position = {OutPoint(Txid(row.prev_txid), row.prev_vout): row.position for row in rows}
            spent = outputs_at(db, list(position))
            if any(row.spent_by is not None or row.state == GONE for row in spent):
                continue
            db.execute(_txs.update().where(_txs.c.txid == bytes(heir)).values(state=PROMISED))
            db.execute(_outs.update().where(_outs.c.txid == bytes(heir)).values(state=PROMISED))
            for row in spent:
                here = (_outs.c.txid == row.txid) & (_outs.c.vout == row.vout)
                vin = position[OutPoint(Txid(row.txid), row.vout)]
                db.execute(_outs.update().where(here).values(spent_by=heir, spent_vin=vin, spent_state=PROMISED))
            waiting.append(heir)


__all__ = [
    "CONFIRMED",
    "GONE",
    "MEMPOOL",
    "PROMISED",
    "Concern",
    "NotFollowed",
    "Opened",
    "Place",
    "Unit",
    "WrongOpening",
    "add",
    "add_issued",
    "add_openings",
    "begin_asset",
    "concern",
    "followed",
    "forget_promise",
    "managed",
    "mark_gone",
    "note_distribution",
    "outputs_at",
    "record_cosigned",
    "remove_block",
    "shown_assets",
]
