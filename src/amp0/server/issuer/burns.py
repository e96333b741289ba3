"""Burns: some of the treasury's units destroyed in the open, by whoever holds its keys. Owns ``burns``.

As with reissues, a request is a file and leaves nothing behind; a confirm proves on the chain what was destroyed.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, confirming, events, files, proofs
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.proofs import Destroyed
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.ledger import views
from amp0.server.store import schema
from amp0.server.store.asset_schema import burns


def list_all(call: Call, _body: None) -> list[wire.Burn]:
    """Burns that were confirmed, oldest first. Who resumes one compares these with their wallet."""
    asset = assets.find(call)
    seen = schema.transactions
    query = (
        sa.select(burns, seen.c.height)
        .join(seen, seen.c.txid == burns.c.txid, isouter=True)
        .where(burns.c.asset == asset.id)
        .order_by(burns.c.created_at, burns.c.txid)
    )
    return [
        wire.Burn(
            txid=str(Txid(row.txid)),
            amount=row.satoshi,
            created=wire.date_text(row.created_at),
            transaction_status="UNCONFIRMED" if row.height is None else "CONFIRMED",
        )
        for row in call.db.execute(query)
    ]


def request(call: Call, body: wire.BurnRequest) -> wire.BurnFile:
    """The request file of a burn."""
    asset = assets.find(call)
    free = views.treasury(call.db, asset)
    if body.amount > free:
        raise OperationRefused(
            f"There is not enough in the treasury balance: {free} satoshi are confirmed, {body.amount} were to be burnt"
        )
    held = views.treasury_outputs(call.db, asset, is_token=False)
    return files.burn(call, asset, body.amount, [output.outpoint for output in held])


def confirm(call: Call, body: wire.BurnConfirm) -> None:
    """Tell which transaction burned. It is checked against the chain; doing it twice is fine."""
    txid = Txid.from_string(body.tx_data.txid)
    change = proofs.from_change(body.change_data, body.tx_data.txid)
    with call.desk.store.snapshot() as db:
        asset = assets.find(confirming.inside(call, db))
        seen = confirming.sighting(db, txid) if _recorded(db, txid, asset) else None

    def look(tx: Transaction) -> Destroyed:
        return proofs.burn(tx, confirming.pair_of(asset), change)

    tx = confirming.wait_for(call.desk, txid, look) if seen is None else seen.tx
    destroyed = look(tx)
    with call.desk.store.transaction() as db:
        _record(confirming.inside(call, db), tx, destroyed)


def _recorded(db: Connection, txid: Txid, asset: AssetRow) -> sa.Row[Any] | None:
    here = (burns.c.txid == bytes(txid)) & (burns.c.asset == asset.id)
    return db.execute(sa.select(burns).where(here)).one_or_none()


def _record(call: Call, tx: Transaction, destroyed: Destroyed) -> None:
    """Write it down, with everything that decides read again."""
    db, txid = call.db, tx.txid()
    asset = assets.find(call)
    confirming.require_strangers(db, tx, destroyed.returned)
    if _recorded(db, txid, asset) is None:
        confirming.require_deep(db, call.desk, txid)
        confirming.require_unused(db, txid, but=burns)
        confirming.require_treasury(db, asset, tx)
        db.execute(
            burns.insert().values(
                txid=bytes(txid),
                asset=asset.id,
                satoshi=destroyed.satoshi,
                creator_id=call.who.id,
                created_at=call.desk.now(),
            )
        )
        events.note(call, "burn_confirmed", asset.id, txid=str(txid), amount=destroyed.satoshi)
    confirming.record(call, asset, tx, destroyed.returned)


_ASSET = "/assets/{asset_uuid}"
ENDPOINTS = [
    Endpoint(("GET",), _ASSET + "/burns", list_all, list[wire.Burn]),
    Endpoint(("POST",), _ASSET + "/burn-request", request, wire.BurnFile, body=wire.BurnRequest),
    Endpoint(("POST",), _ASSET + "/burn-confirm", confirm, None, body=wire.BurnConfirm, runs=Runs.OUTSIDE),
]
