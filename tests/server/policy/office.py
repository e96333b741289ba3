"""An issuer's office: people with logins, an asset, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.issuer.desk import Call, Desk, Principal, Role
from amp0.server.policy import changes
from amp0.server.policy.apply import Content
from amp0.server.policy.changes import Change
from amp0.server.store import asset_schema as tables

START = 1_700_000_000


@dataclass
class Office:
    """An issuer with two managers, one asset, and a clock that a test moves."""

    db: Connection
    now: int = START
    principals: dict[str, Principal] = field(default_factory=dict)
    asset: int = 0

    def hire(self, name: str, person: str | None = None, *, manager: bool = True) -> Principal:
        issuer = self.principals.get("issuer")
        number = self.db.execute(
            tables.principals.insert()
            .values(
                issuer_id=issuer.id if manager and issuer else None,
                username=name,
                person=person or name,
                salt=bytes(16),
                password_hash=bytes(32),
                token_generation=0,
                is_locked=0,
                created_at=self.now,
            )
            .returning(tables.principals.c.id)
        ).scalar_one()
        assets = frozenset({self.asset}) if manager else frozenset[int]()
        role = Role.MANAGER if manager else Role.ISSUER
        hired = Principal(number, issuer.id if issuer else number, role, name, person or name, assets)
        if manager:
            self.db.execute(tables.manager_assets.insert().values(manager_id=number, asset=self.asset))
        self.principals[name] = hired
        return hired

    def call(self, who: str = "issuer", query: Any = None, **path: object) -> Call:
        desk = cast(Desk, SimpleNamespace(now=lambda: self.now))
        names = {name: str(value) for name, value in path.items()}
        return Call(desk, self.principals[who], names, query=query, connection=self.db)

    @property
    def row(self) -> sa.Row[Any]:
        return self.db.execute(sa.select(tables.assets).where(tables.assets.c.id == self.asset)).one()

    def wants(self, **values: object) -> None:
        self.db.execute(sa.update(tables.assets).values(**values))

    def asks(self, action: str, content: Content, who: str = "issuer") -> Change:
        return changes.request(self.call(who), self.row, action, content)

    def approves(self, change: Change, who: str) -> Change:
        return changes.approve(self.call(who), self.row, change.id, change.content_hash)

    def reads(self, change: Change) -> Change:
        return changes.find(self.db, self.asset, change.id)

    def later(self, seconds: int) -> list[Change]:
        self.now += seconds
        return changes.apply_due(self.db, self.now)

    def rules(self) -> list[str]:
        here = sa.select(tables.asset_rules.c.parameters).where(tables.asset_rules.c.ended_at.is_(None))
        return list(self.db.execute(here).scalars())


def an_asset(issuer: int, number: int = 1) -> Mapping[str, object]:
    """Columns of an asset that was issued."""
    return {
        "uuid": f"00000000-0000-0000-0000-{number:012}",
        "issuer_id": issuer,
        "creator_id": issuer,
        "asset_id": bytes([number]) * 32,
        "entropy": bytes(32),
        "name": "Shares",
        "precision": 0,
        "contract": "{}",
        "is_confidential": 0,
        "transfer_restricted": 1,
        "is_locked": 0,
        "is_authorized": 0,
        "is_registered": 0,
        "memo": "",
        "checks_sender_categories": 0,
        "loosening_delay": 0,
        "required_approvals": 0,
        "policy_version": 1,
        "state": "sent",
        "issue_txid": bytes([number]) * 32,
        "issue_tx": b"",
        "issue_vin": 0,
        "asset_vout": 0,
        "issued": 1000,
        "tokens": 0,
        "destination_address": "",
        "token_address": "",
        "created_at": START,
    }


def opened(db: Connection) -> Office:
    """An office with its people and its asset."""
    made = Office(db)
    issuer = made.hire("issuer", "Ines", manager=False)
    insert = tables.assets.insert().values(an_asset(issuer.id)).returning(tables.assets.c.id)
    made.asset = db.execute(insert).scalar_one()
    made.hire("mara")
    made.hire("noel")
    db.execute(tables.categories.insert().values(id=7, issuer_id=issuer.id, name="a", created_at=START))
    return made
