"""Who changed what, and when: a row for every change on the issuer's side, written in the change's own transaction."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol import issuer as wire
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Who
from amp0.server.store import asset_schema

MOST = 100
"""Events of one answer, unless more are asked for."""

_events, _principals, _assets = asset_schema.issuer_events, asset_schema.principals, asset_schema.assets


def note(call: Call, action: str, asset: int | None = None, *, db: Connection | None = None, **detail: Any) -> None:
    """Keep that the caller did something: to which asset (row number), and what else there is to know, without secrets.

    ``db`` is the transaction that the change is made in, where that is not the call's own.
    """
    (call.db if db is None else db).execute(
        _events.insert().values(
            issuer_id=call.who.issuer_id,
            principal_id=call.who.id,
            at=call.desk.now(),
            action=action,
            asset=asset,
            detail=msgspec.json.encode(detail, order="sorted").decode(),
        )
    )


def list_events(call: Call, _body: None) -> list[wire.Event]:
    """Who changed what and when: the newest first, page by page."""
    paging: wire.EventPaging = call.query
    rows = (
        sa.select(_events, _principals.c.username, _assets.c.uuid)
        .join(_principals, _principals.c.id == _events.c.principal_id)
        .outerjoin(_assets, _assets.c.id == _events.c.asset)
        .where(_events.c.issuer_id == call.who.issuer_id)
        .order_by(_events.c.id.desc())
        .limit(paging.count or MOST)
    )
    if paging.before is not None:
        rows = rows.where(_events.c.id < paging.before)
    return [
        wire.Event(
            id=row.id,
            at=wire.date_text(row.at),
            principal=row.principal_id,
            username=row.username,
            action=row.action,
            asset_uuid=row.uuid,
            detail=msgspec.json.decode(row.detail),
        )
        for row in call.db.execute(rows)
    ]


ENDPOINTS = (Endpoint(("GET",), "/events", list_events, list[wire.Event], query=wire.EventPaging, who=Who.ISSUER),)
