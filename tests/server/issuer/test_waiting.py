"""Operations that wait: who calls is asked again when they go on."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from amp0.server.issuer import confirming
from amp0.server.store import asset_schema

from .office import Api, Office
from .test_burns import make, payload
from .treasury_desk import TreasuryDesk


def test_b14_a_manager_who_is_locked_during_a_confirm(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = TreasuryDesk(office, acme)
    mary = office.manager(acme, "mary", desk.asset.id)
    sent = make(desk)
    desk.mine(sent.tx)

    def pause(_seconds: float) -> None:
        """Meanwhile the transaction gets deep enough, and mary is locked out."""
        desk.mine()
        with office.transaction() as db:
            table = asset_schema.principals
            db.execute(sa.update(table).where(table.c.id == mary.id).values(is_locked=1))

    monkeypatch.setattr(confirming, "pause", pause)
    mary.refused("post", f"{desk.path}/burn-confirm", payload(sent, 1), status=403)
    assert acme.ok("get", f"{desk.path}/burns") == []
    acme.ok("post", f"{desk.path}/burn-confirm", payload(sent, 1))
    assert len(acme.ok("get", f"{desk.path}/burns")) == 1
