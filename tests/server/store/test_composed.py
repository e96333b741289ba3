"""Queries composed once give what SQLAlchemy's own execution gives, on every database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.store import asset_schema as tables
from amp0.server.store import outpoints
from amp0.server.store.composed import Query, among, at
from amp0.server.store.engine import Store

_black = tables.blacklisted_outputs
BY_OUTPOINT = sa.select(_black.c.prev_txid, _black.c.prev_vout, _black.c.since).where(
    outpoints.is_one_of(_black.c.prev_txid, _black.c.prev_vout)
)
BY_VOUT: Any = (
    sa.select(sa.func.count().label("many"), sa.literal("x").label("constant"))
    .select_from(_black)
    .where(_black.c.prev_vout.in_(among("vouts")), _black.c.asset == sa.bindparam("asset"), _black.c.since.in_((3, 4)))
)


def outpoint(number: int) -> OutPoint:
    return OutPoint(Txid(bytes([number]) * 32), number)


def test_lists_of_every_length(any_store: Store) -> None:
    with any_store.transaction() as db:
        db.execute(sa.text("INSERT INTO principals VALUES (1, NULL, 'i', 'i', '', '', 0, 0, 0)"))
        db.execute(
            tables.assets.insert().values(
                id=1, uuid="u", issuer_id=1, creator_id=1, asset_id=bytes(32), entropy=bytes(32), name="", precision=0,
                contract="", is_confidential=0, transfer_restricted=0, is_locked=0, is_authorized=0, is_registered=0,
                memo="", checks_sender_categories=0, loosening_delay=0, required_approvals=0, policy_version=0,
                state="sent", issue_txid=bytes(32), issue_tx=b"", issue_vin=0, asset_vout=0, issued=0, tokens=0,
                destination_address="", token_address="", created_at=0,
            )
        )  # fmt: skip
        for number in range(1, 30):
            here = outpoint(number)
            db.execute(_black.insert().values(prev_txid=bytes(here.txid()), prev_vout=number, asset=1, since=number))
    by_outpoint, by_vout = Query(BY_OUTPOINT), Query(BY_VOUT)
    with any_store.snapshot() as db:
        for length in (1, 2, 3, 5, 8, 13, 20):
            wanted = [outpoint(number) for number in range(1, 1 + length)]
            found = {(bytes(row.prev_txid), row.prev_vout, row.since) for row in by_outpoint(db, **at(wanted))}
            assert found == {(bytes(one.txid()), one.vout(), one.vout()) for one in wanted}
            (row,) = by_vout(db, vouts=list(range(1, 1 + length)), asset=1)
            assert (row.many, row.constant) == (max(0, min(2, length - 2)), "x")
        # Other values of the same lengths are other values.
        assert [row.since for row in by_outpoint(db, **at([outpoint(29)]))] == [29]
        assert by_outpoint(db, **at([outpoint(99)])) == []
        assert by_vout(db, vouts=[3], asset=2)[0].many == 0


def test_few_texts_are_kept(store: Store) -> None:
    query = Query(BY_OUTPOINT)
    with store.snapshot() as db:
        for length in range(1, 200):
            query(db, **at([outpoint(1 + number % 250) for number in range(length)]))
    assert len(query._texts) <= 9
