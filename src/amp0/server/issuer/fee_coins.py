"""The coins of the wallet that pays for issuances: where they came in, which are promised, and what the chain says.

A coin is promised to an issuance in the transaction that stores the issuance, and stays so until the chain has it
spent, or refuses the issuance for good. What an issuance pays back to the wallet is a coin at once, but one that only
the chain makes good. Owns the tables ``fee_wallet_scripts`` and ``fee_wallet_coins``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.elements.confidential import Opening, issued_asset
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction, TxOut
from amp0.server import behind
from amp0.server.issuer import assets
from amp0.server.issuer.fee_wallet import BuiltIssuance, FeeCoin, FeeWallet, Place
from amp0.server.store import asset_schema, outpoints

log = logging.getLogger("amp0.server.issuer")

MEMPOOL, CONFIRMED, GONE, PROMISED = 0, 1, 2, 3
"""States of the transaction that made a coin, as everywhere."""

_CHUNK = 400
_LOST_SCRIPTS = 50
"""How many scripts further on an older database looks for what it lost; a script is taken for every issuance."""
_scripts, _coins = asset_schema.fee_wallet_scripts, asset_schema.fee_wallet_coins
_AT = sa.select(_coins.c.txid, _coins.c.vout, _coins.c.state).where(outpoints.is_one_of(_coins.c.txid, _coins.c.vout))


class CoinsTaken(Exception):
    """A coin or a script that was free a moment ago is not any more: choose again."""


@dataclass(frozen=True, slots=True)
class Funds:
    """Satoshi of L-BTC: in blocks, on the way in, and how much of both is promised to issuances on their way."""

    confirmed: int
    unconfirmed: int
    promised: int

    @property
    def spendable(self) -> int:
        """What new issuances can be paid with, now or once it is confirmed."""
        return self.confirmed + self.unconfirmed - self.promised


# --- scripts -------------------------------------------------------------------------------------------------------


def deposit_address(db: Connection, wallet: FeeWallet, now: int) -> Address:
    """Where the wallet is filled: the same address until something came in there."""
    used = sa.select(_coins.c.number).where(_coins.c.number == _scripts.c.number).exists()
    query = sa.select(sa.func.max(_scripts.c.number)).where(_scripts.c.is_change == 0, ~used)
    number = db.execute(query).scalar()
    if number is None:
        number = next_number(db)
        _take_script(db, wallet, Place(number), now)
    return wallet.address(Place(number))


def next_number(db: Connection) -> int:
    """The first child number that no script has; it is taken by :func:`promise`, or not at all."""
    newest = db.execute(sa.select(sa.func.max(_scripts.c.number))).scalar()
    return 0 if newest is None else int(newest) + 1


def _take_script(db: Connection, wallet: FeeWallet, place: Place, now: int) -> None:
    if db.execute(sa.select(_scripts.c.number).where(_scripts.c.number == place.number)).first() is not None:
        raise CoinsTaken
    db.execute(
        _scripts.insert().values(
            script_pubkey=wallet.script(place), number=place.number, is_change=int(place.is_change), created_at=now
        )
    )


# --- choosing and promising ----------------------------------------------------------------------------------------


def spendable(db: Connection, wallet: FeeWallet) -> list[FeeCoin]:
    """Coins that an issuance may spend now, the best first: confirmed before unconfirmed, large before small.

    Unconfirmed ones only where an issuance of this server paid them back: somebody else could replace a payment on its
    way, and with the coin the asset's id would be gone.
    """
    query = (
        sa.select(_coins, _scripts.c.is_change)
        .join(_scripts, _scripts.c.number == _coins.c.number)
        .where(_coins.c.spent_by.is_(None), _coins.c.state.in_((MEMPOOL, CONFIRMED)))
    )
    issued = asset_schema.assets.c.issue_txid
    own = sa.select(issued).where(issued == _coins.c.txid).exists()
    query = query.where((_coins.c.state == CONFIRMED) | own)
    order = (_coins.c.height.is_(None), _coins.c.satoshi.desc(), _coins.c.txid, _coins.c.vout)
    return [
        FeeCoin(
            outpoint=OutPoint(Txid(row.txid), row.vout),
            place=Place(row.number, bool(row.is_change)),
            opening=Opening(wallet.policy_asset, row.satoshi, bytes(row.abf), bytes(row.vbf)),
            asset_field=bytes(row.asset_field),
            value_field=bytes(row.value_field),
            is_confirmed=row.state == CONFIRMED,
        )
        for row in db.execute(query.order_by(*order))
    ]


def promise(db: Connection, wallet: FeeWallet, built: BuiltIssuance, coins: Sequence[FeeCoin], now: int) -> None:
    """Promise coins to an issuance, and take what it pays back as a promised coin.

    Raises :class:`CoinsTaken` when one of them is not free any more, or the change's script is taken.
    """
    txid = bytes(built.tx.txid())
    for coin in coins:
        updated = db.execute(
            _coins.update()
            .where(
                _coins.c.txid == bytes(coin.outpoint.txid()),
                _coins.c.vout == coin.outpoint.vout(),
                _coins.c.spent_by.is_(None),
                _coins.c.state.in_((MEMPOOL, CONFIRMED)),
            )
            .values(spent_by=txid)
        )
        if updated.rowcount != 1:
            raise CoinsTaken
    if built.change_vout is None:
        return
    _take_script(db, wallet, built.change, now)
    vout = built.change_vout
    _insert(db, built.tx.txid(), vout, built.change.number, built.tx.vout[vout], built.openings[vout], PROMISED, None)


def release(db: Connection, txid: Txid) -> None:
    """An issuance will never be: what it would have spent is free, and what it would have paid back is not coming."""
    _free(db, txid)
    _coins_of(db, txid, state=GONE, height=None)


def is_lost(db: Connection, tx: Transaction) -> bool:
    """Whether a coin that a transaction spends was spent by another one, or was to come from an issuance that was given
    up. A deposit that vanished may come back, and is not lost."""
    issued = asset_schema.assets
    given_up = sa.select(issued.c.id).where(issued.c.issue_txid == _coins.c.txid, issued.c.state == assets.FAILED)
    query = sa.select(_coins.c.spent_by, given_up.exists().label("given_up"))
    rows = db.execute(
        query.where(outpoints.is_one_of(_coins.c.txid, _coins.c.vout)),
        outpoints.these(txin.prevout for txin in tx.vin),
    )
    return any(row.given_up or row.spent_by != bytes(tx.txid()) for row in rows)


def funds(db: Connection) -> Funds:
    """What the wallet holds."""
    query = sa.select(_coins.c.state, _coins.c.spent_by, sa.func.sum(_coins.c.satoshi).label("satoshi")).where(
        _coins.c.state.in_((MEMPOOL, CONFIRMED)), _coins.c.spent_height.is_(None)
    )
    confirmed = unconfirmed = promised = 0
    for row in db.execute(query.group_by(_coins.c.state, _coins.c.spent_by)):
        satoshi = int(row.satoshi)
        if row.state == CONFIRMED:
            confirmed += satoshi
        else:
            unconfirmed += satoshi
        promised += satoshi if row.spent_by is not None else 0
    return Funds(confirmed, unconfirmed, promised)


# --- what the chain says -------------------------------------------------------------------------------------------


class FeeCoins:
    """The wallet's side of the chain's verbs: called by the index of the chain, inside its transaction."""

    def __init__(self, wallet: FeeWallet) -> None:
        self._wallet = wallet

    def concerned(self, db: Connection, transactions: Collection[Transaction]) -> set[Txid]:
        """Those that pay the wallet or spend a coin of it, and those that spend what such a one made."""
        ours = set(_places(db, {out.script for tx in transactions for out in tx.vout if out.script}))
        spent = set(_known(db, [txin.prevout for tx in transactions for txin in tx.vin]))
        found = set()
        for tx in transactions:
            received = {OutPoint(tx.txid(), vout) for vout, out in enumerate(tx.vout) if out.script in ours}
            spent |= received
            if received or any(txin.prevout in spent or txin.prevout.txid() in found for txin in tx.vin):
                found.add(tx.txid())
        return found

    def add(self, db: Connection, tx: Transaction, height: int | None) -> None:
        """A transaction is in the mempool (no ``height``), or in a block."""
        txid = tx.txid()
        state = MEMPOOL if height is None else CONFIRMED
        places = _places(db, {out.script for out in tx.vout if out.script})
        known = _known(db, [OutPoint(txid, vout) for vout in range(len(tx.vout))])
        for vout, out in enumerate(tx.vout):
            was = known.get(OutPoint(txid, vout))
            if was is not None and not (was == CONFIRMED and height is None):
                _coins_of(db, txid, vout=vout, state=state, height=height)
            elif was is None and out.script in places:
                opening = self._wallet.open(out)
                if opening is None:
                    log.warning("a payment to the fee wallet is no L-BTC, or does not open txid=%s vout=%d", txid, vout)
                    continue
                _insert(db, txid, vout, places[out.script], out, opening, state, height)
        spent = _known(db, [txin.prevout for txin in tx.vin])
        if spent:
            here = outpoints.is_one_of(_coins.c.txid, _coins.c.vout)
            if height is None:
                # The mempool listing may have been read before the block.
                here &= _coins.c.spent_height.is_(None)
            db.execute(
                _coins.update().where(here).values(spent_by=bytes(txid), spent_height=height), outpoints.these(spent)
            )
            is_ours = assets.note_sent(db, txid)
            issuing = [txin for txin in tx.vin if txin.issuance is not None and txin.prevout in spent]
            if issuing and not is_ours:
                # A database that is older than its chain, or the same seed in another server.
                behind.note_issuance(db, txid, {one for txin in issuing for one in issued_asset(txin)})
                self._find_change(db, tx, height)

    def _find_change(self, db: Connection, tx: Transaction, height: int | None) -> None:
        """What an issuance that is not on record paid back: the next one may have been paid with it."""
        scripts = {out.script for out in tx.vout}
        first = next_number(db)
        for place in (Place(number, is_change=True) for number in range(first, first + _LOST_SCRIPTS)):
            script = self._wallet.script(place)
            if script in scripts:
                _take_script(db, self._wallet, place, 0)
                self.add(db, tx, height)
                return

    def remove_block(self, db: Connection, height: int) -> None:
        """The tip is disconnected: what was in it is unconfirmed again."""
        db.execute(_coins.update().where(_coins.c.height == height).values(state=MEMPOOL, height=None))
        db.execute(_coins.update().where(_coins.c.spent_height == height).values(spent_height=None))

    def mark_gone(self, db: Connection, txid: Txid) -> None:
        """A transaction is in neither mempool nor block any more. An issuance of this server is only promised again:
        it will be sent again, and nothing else may have its coins."""
        if assets.note_unsent(db, txid):
            _coins_of(db, txid, state=PROMISED, height=None)
            db.execute(_coins.update().where(_coins.c.spent_by == bytes(txid)).values(spent_height=None))
        else:
            _coins_of(db, txid, state=GONE, height=None)
            _free(db, txid)


def _free(db: Connection, txid: Txid) -> None:
    db.execute(_coins.update().where(_coins.c.spent_by == bytes(txid)).values(spent_by=None, spent_height=None))


def _coins_of(db: Connection, txid: Txid, *, vout: int | None = None, state: int, height: int | None) -> None:
    here = _coins.c.txid == bytes(txid)
    if vout is not None:
        here &= _coins.c.vout == vout
    db.execute(_coins.update().where(here).values(state=state, height=height))


def _insert(
    db: Connection,
    txid: Txid,
    vout: int,
    number: int,
    txout: TxOut,
    opening: Opening,
    state: int,
    height: int | None,
) -> None:
    db.execute(
        _coins.insert().values(
            txid=bytes(txid),
            vout=vout,
            number=number,
            satoshi=opening.satoshi,
            abf=opening.abf,
            vbf=opening.vbf,
            asset_field=txout.asset_field,
            value_field=txout.value_field,
            state=state,
            height=height,
        )
    )


def _places(db: Connection, scripts: Collection[bytes]) -> dict[bytes, int]:
    """Script → number of its key, of those that are the wallet's."""
    found: dict[bytes, int] = {}
    for chunk in _chunks(scripts):
        rows = db.execute(
            sa.select(_scripts.c.script_pubkey, _scripts.c.number).where(_scripts.c.script_pubkey.in_(chunk))
        )
        found.update({bytes(row.script_pubkey): row.number for row in rows})
    return found


def _known(db: Connection, wanted: Collection[OutPoint]) -> dict[OutPoint, int]:
    """Outpoint → state, of those that are coins of the wallet."""
    found: dict[OutPoint, int] = {}
    ordered = list(wanted)
    for i in range(0, len(ordered), _CHUNK):
        rows = db.execute(_AT, outpoints.these(ordered[i : i + _CHUNK]))
        found.update({OutPoint(Txid(row.txid), row.vout): row.state for row in rows})
    return found


def _chunks(values: Collection[bytes]) -> Iterable[list[bytes]]:
    ordered = list(values)
    return (ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK))
