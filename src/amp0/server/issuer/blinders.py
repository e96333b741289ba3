"""Openings that arrive by hand: the blinders of one output that the server lost track of.

Blinders alone tell no amount. It is concluded: from the issuance, or as what a transaction's other outputs leave; or
the caller says it. Whatever is supposed has to open the output's commitments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.confidential import Opening
from amp0.elements.hashes import Txid, bytes_from_hex
from amp0.elements.transaction import Transaction
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, confirming, events
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.proofs import open_output
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.store.asset_schema import asset_outputs, asset_txs


def update(call: Call, body: wire.UpdateBlinders) -> None:
    """Tell the blinders of one output. They are checked against its commitments; doing it twice is fine."""
    asset = assets.find(call)
    txid = Txid.from_string(body.txid)
    seen = confirming.sighting(call.db, txid)
    if seen is None or body.vout >= len(seen.tx.vout):
        raise OperationRefused(f"This server follows no output {body.vout} of {txid}; try again once it is in a block")
    abf, vbf = (bytes_from_hex(text, length=32)[::-1] for text in (body.asset_blinder, body.amount_blinder))
    amounts = [*([] if body.amount is None else [body.amount]), *_conclusions(call.db, asset, seen.tx, body.vout)]
    opening = open_output(seen.tx.vout[body.vout], confirming.pair_of(asset).ids(), amounts, abf, vbf)
    if opening is None:
        raise OperationRefused(
            f"These blinders do not open output {body.vout} of {txid} as an output of this asset or its token"
            + ("" if body.amount is not None else "; if they are right, say its amount as well (amount, in satoshi)")
        )
    held = _row(call.db, asset, txid, body.vout)
    confirming.record(call, asset, seen.tx, *_sides(held, body.vout, opening))
    events.note(call, "blinders_updated", asset.id, txid=str(txid), vout=body.vout)


def _row(db: Connection, asset: AssetRow, txid: Txid, vout: int) -> sa.Row[Any] | None:
    table = asset_outputs.c
    here = (table.txid == bytes(txid)) & (table.vout == vout) & (table.asset == asset.id)
    return db.execute(sa.select(asset_outputs).where(here)).first()


def _sides(held: sa.Row[Any] | None, vout: int, opening: Opening) -> tuple[dict[int, Opening], dict[int, Opening]]:
    """The opening as of what came back to the treasury, or of what a holder has."""
    is_holders = held is not None and held.account_id is not None
    return ({}, {vout: opening}) if is_holders else ({vout: opening}, {})


def _conclusions(db: Connection, asset: AssetRow, tx: Transaction, vout: int) -> Iterator[int]:
    """Amounts that the output may have, likely ones first."""
    txid = bytes(tx.txid())
    if txid == bytes(asset.issue_txid):
        yield asset.issued
        yield asset.tokens
    outs = asset_outputs.c
    table = asset_txs.c
    issued = db.execute(sa.select(table.issued).where(table.txid == txid, table.asset == asset.id)).scalar_one_or_none()
    rows = db.execute(
        sa.select(outs.txid, outs.vout, outs.is_token, outs.satoshi, outs.spent_by).where(
            outs.asset == asset.id, (outs.txid == txid) | (outs.spent_by == txid)
        )
    ).all()
    for is_token in (0, 1):
        left = 0 if is_token else issued or 0
        for row in rows:
            if row.is_token != is_token:
                continue
            if row.txid == txid and row.vout == vout and row.satoshi is not None:
                yield row.satoshi
            left += (row.satoshi or 0) * (1 if row.spent_by == txid else -1)
        yield max(left, 0)


ENDPOINTS = [
    Endpoint(
        ("POST",),
        "/assets/{asset_uuid}/update-blinders",
        update,
        None,
        body=wire.UpdateBlinders,
        runs=Runs.WRITE,
    ),
]
