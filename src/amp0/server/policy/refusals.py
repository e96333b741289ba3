"""Refusals on record, whole, for the issuer's eyes. Owns the table ``policy_refusals``.

Written after the decision was rolled back, in the same transaction. Who tries the same again and again leaves one row,
and of each asset the newest are kept: a wallet that is refused cannot fill the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.protocol.issuer_policy import Reason
from amp0.server.store.asset_schema import policy_refusals

KEPT = 10_000
"""Refusals of one asset."""
MOST_REASONS = 32
"""Reasons of one refusal: somebody who pays 200 strangers at once has been understood by then."""

_rows = policy_refusals
_NEWEST = (
    sa.select(_rows.c.id, _rows.c.txid, _rows.c.reasons)
    .where(_rows.c.asset == sa.bindparam("asset"))
    .order_by(_rows.c.id.desc())
    .limit(1)
)
_OLDEST_KEPT = (
    sa.select(_rows.c.id)
    .where(_rows.c.asset == sa.bindparam("asset"))
    .order_by(_rows.c.id.desc())
    .limit(1)
    .offset(KEPT - 1)
)


def record(db: Connection, txid: Txid, account_id: int, found: Iterable[tuple[int, Reason]], now: int) -> None:
    """Keep what was found against a transaction: pairs of an asset's row number and a reason, by asset."""
    for asset, pairs in groupby(found, key=lambda pair: pair[0]):
        text = msgspec.json.encode([one for _, one in islice(pairs, MOST_REASONS)]).decode()
        newest = db.execute(_NEWEST, {"asset": asset}).one_or_none()
        if newest is not None and (newest.txid, newest.reasons) == (bytes(txid), text):
            db.execute(sa.update(_rows).where(_rows.c.id == newest.id).values(at=now))
            continue
        db.execute(_rows.insert().values(asset=asset, txid=bytes(txid), account_id=account_id, reasons=text, at=now))
        oldest = db.execute(_OLDEST_KEPT, {"asset": asset}).scalar_one_or_none()
        if oldest is not None:
            db.execute(_rows.delete().where(_rows.c.asset == asset, _rows.c.id < oldest))
