"""Outputs that their owner has frozen: no door cosigns them. Owns the table ``frozen_outputs``.

The key is the outpoint, so an output that a reorganisation takes away and brings back is still frozen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.refusal import InvalidRequest
from amp0.server.store import schema

MOST_AT_ONCE = 256

_TXID = re.compile(r"[0-9a-fA-F]{64}")
_frozen = schema.frozen_outputs


def parse(value: dict[str, Any]) -> dict[OutPoint, bool]:
    """Outpoint → whether to freeze it, from the argument of ``set_utxo_status``. Raises :class:`InvalidRequest`."""
    rows = value.get("list")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_AT_ONCE:
        raise InvalidRequest(f"The status of outputs comes as a list of 1 to {MOST_AT_ONCE} of them")
    wanted: dict[OutPoint, bool] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise InvalidRequest("Each output is a map of txhash, pt_idx and user_status")
        txid, vout, status = row.get("txhash"), row.get("pt_idx"), row.get("user_status")
        if not isinstance(txid, str) or not _TXID.fullmatch(txid) or type(vout) is not int or not 0 <= vout < 2**31:
            raise InvalidRequest("An output is named by txhash (hex) and pt_idx (its number)")
        if type(status) is not int or status not in (0, 1):
            raise InvalidRequest("user_status is 1 to freeze an output, 0 to unfreeze it")
        outpoint = OutPoint(Txid(txid), vout)
        if outpoint in wanted:
            raise InvalidRequest(f"The list names {txid}:{vout} twice")
        wanted[outpoint] = status == 1
    return wanted


def set_status(db: Connection, user_id: int, wanted: dict[OutPoint, bool], now: int) -> None:
    """Freeze and unfreeze outputs of a wallet. Raises :class:`InvalidRequest` for outputs that are not its own."""
    outputs, accounts = schema.outputs, schema.accounts
    keys = _keys(wanted)
    freezing = [key for key, freeze in zip(keys, wanted.values(), strict=True) if freeze]
    known = db.execute(
        sa.select(outputs.c.txid, outputs.c.vout)
        .join(accounts, accounts.c.id == outputs.c.account_id)
        .where(sa.tuple_(outputs.c.txid, outputs.c.vout).in_(freezing), accounts.c.user_id == user_id)
    )
    own = {(bytes(row.txid), row.vout) for row in known}
    strange = [key for key in freezing if key not in own]
    if strange:
        raise InvalidRequest(f"The output {Txid(strange[0][0])}:{strange[0][1]} is not one of this wallet's")
    here = sa.tuple_(_frozen.c.prev_txid, _frozen.c.prev_vout).in_(keys)
    db.execute(_frozen.delete().where(here, _frozen.c.user_id == user_id))
    if freezing:
        db.execute(
            _frozen.insert(),
            [{"prev_txid": txid, "prev_vout": vout, "user_id": user_id, "frozen_at": now} for txid, vout in freezing],
        )


def among(db: Connection, outpoints: Sequence[OutPoint]) -> list[OutPoint]:
    """Those of the outpoints that are frozen."""
    here = sa.tuple_(_frozen.c.prev_txid, _frozen.c.prev_vout).in_(_keys(outpoints))
    rows = db.execute(sa.select(_frozen.c.prev_txid, _frozen.c.prev_vout).where(here))
    return [OutPoint(Txid(row.prev_txid), row.prev_vout) for row in rows]


def of_wallet(db: Connection, user_id: int) -> set[tuple[bytes, int]]:
    """(txid, index) of everything the wallet has frozen."""
    rows = db.execute(sa.select(_frozen.c.prev_txid, _frozen.c.prev_vout).where(_frozen.c.user_id == user_id))
    return {(bytes(row.prev_txid), row.prev_vout) for row in rows}


def forget(db: Connection, user_id: int) -> None:
    """Unfreeze everything of a wallet."""
    db.execute(_frozen.delete().where(_frozen.c.user_id == user_id))


def _keys(outpoints: Collection[OutPoint]) -> list[tuple[bytes, int]]:
    return [(bytes(outpoint.txid()), outpoint.vout()) for outpoint in outpoints]
