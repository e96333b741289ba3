"""Reissues: more of an asset, made with its reissuance token by whoever holds it. Owns ``reissuances``.

A request is a file and leaves nothing behind. A confirm proves on the chain how much was made, and enters where it
and the token went.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Transaction
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, confirming, events, files, proofs
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.proofs import MadeMore
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.ledger import book, views
from amp0.server.store import schema
from amp0.server.store.asset_schema import reissuances


def list_all(call: Call, body: None) -> list[wire.Reissuance]:
    """Confirmed reissues of an asset, oldest first."""
    asset = assets.find(call)
    seen, blocks = schema.transactions, schema.blocks
    query = (
        sa.select(reissuances, blocks.c.hash)
        .select_from(reissuances)
        .join(seen, seen.c.txid == reissuances.c.txid, isouter=True)
        .join(blocks, blocks.c.height == seen.c.height, isouter=True)
        .where(reissuances.c.asset == asset.id)
        .order_by(reissuances.c.created_at, reissuances.c.txid, reissuances.c.vin)
    )
    return [
        wire.Reissuance(
            txid=str(Txid(row.txid)),
            vout=row.vout,
            destination_address=row.address,
            reissuance_amount=row.satoshi,
            # Empty only while a reorganisation has it in no block.
            confirmed_in_block="" if row.hash is None else str(BlockHash(row.hash)),
            created=wire.date_text(row.created_at),
        )
        for row in call.db.execute(query)
    ]


def request(call: Call, body: wire.ReissueRequest) -> wire.ReissueFile:
    """The request file of a reissue."""
    asset = assets.find(call)
    if asset.token_id is None:
        raise OperationRefused("This asset is not reissuable: it was issued without a reissuance token")
    most = wire.MAX_SATOSHI - views.circulating(call.db, asset)
    if body.amount_to_reissue > most:
        raise OperationRefused(f"At most {max(most, 0)} satoshi can still be made: there would be too many")
    tokens = views.treasury_outputs(call.db, asset, is_token=True)
    if not tokens:
        raise OperationRefused(
            "No output with the reissuance token is known in the treasury: it is not confirmed yet, or its blinders "
            "are missing (update-blinders)"
        )
    return files.reissue(call, asset, body.amount_to_reissue, [held.outpoint for held in tokens])


def confirm(call: Call, body: wire.ReissueConfirm) -> wire.Reissued:
    """Tell which input reissued. It is checked against the chain, amounts and outputs; doing it twice is fine."""
    txid, vin = Txid.from_string(body.reissuance_output.txid), body.reissuance_output.vin
    details = proofs.from_details(body.details)
    with call.desk.store.snapshot() as db:
        asset = assets.find(confirming.inside(call, db))
        seen = confirming.sighting(db, txid) if _recorded(db, txid, vin) else None

    def look(tx: Transaction) -> MadeMore:
        return proofs.reissue(tx, vin, confirming.pair_of(asset), details, body.listissuances)

    tx = confirming.wait_for(call.desk, txid, look) if seen is None else seen.tx
    made = look(tx)
    with call.desk.store.transaction() as db:
        return _record(confirming.inside(call, db), tx, vin, made)


def _recorded(db: Connection, txid: Txid, vin: int) -> sa.Row[Any] | None:
    here = (reissuances.c.txid == bytes(txid)) & (reissuances.c.vin == vin)
    return db.execute(sa.select(reissuances).where(here)).one_or_none()


def _record(call: Call, tx: Transaction, vin: int, made: MadeMore) -> wire.Reissued:
    """Write it down, with everything that decides read again."""
    db, txid = call.db, tx.txid()
    asset = assets.find(call)
    confirming.require_strangers(db, tx, (*made.returned, *made.paid))
    if _recorded(db, txid, vin) is None:
        confirming.require_deep(db, call.desk, txid)
        confirming.require_unused(db, txid, but=reissuances)
        confirming.require_treasury(db, asset, tx)
        db.execute(
            reissuances.insert().values(
                txid=bytes(txid),
                vin=vin,
                asset=asset.id,
                satoshi=made.satoshi,
                vout=made.vout,
                address=confirming.address_of(call, tx.vout[made.vout].script),
                creator_id=call.who.id,
                created_at=call.desk.now(),
            )
        )
        events.note(call, "reissue_confirmed", asset.id, txid=str(txid), vin=vin, amount=made.satoshi)
    book.add_issued(db, tx, vin, made.satoshi, made.vbf)
    confirming.record(call, asset, tx, made.returned, made.paid)
    return wire.Reissued(txid=str(txid), vin=vin, reissuance_amount=made.satoshi)


_ASSET = "/assets/{asset_uuid}"
ENDPOINTS = [
    Endpoint(("GET",), _ASSET + "/reissuances", list_all, list[wire.Reissuance]),
    Endpoint(("POST",), _ASSET + "/reissue-request", request, wire.ReissueFile, body=wire.ReissueRequest),
    Endpoint(
        ("POST",),
        _ASSET + "/reissue-confirm",
        confirm,
        wire.Reissued,
        body=wire.ReissueConfirm,
        runs=Runs.OUTSIDE,
    ),
]
