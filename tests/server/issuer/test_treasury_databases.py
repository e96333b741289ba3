"""Assignments, distributions, reissues, burns and blinders on every kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.issuer.office import Office
from tests.server.issuer.test_burns import payload as of_burn
from tests.server.issuer.test_distributions import holdings
from tests.server.issuer.test_reissuance import make as reissue
from tests.server.issuer.test_reissuance import payload as of_reissue
from tests.server.issuer.treasury_desk import CHANGE, TreasuryDesk
from tests.server.issuer.treasury_txs import send, to


@pytest.fixture
def desk(database_url: str) -> Iterator[TreasuryDesk]:
    office = Office(database_url)
    yield TreasuryDesk(office, office.issuer())
    office.close()


def test_a_treasurys_day(desk: TreasuryDesk) -> None:
    for name, satoshi in (("bob", 600), ("carol", 300)):
        desk.assign(desk.holder(name)[0], satoshi)
    cancelled = desk.distribution()
    desk.api.ok("delete", f"{desk.path}/distributions/{cancelled['distribution_uuid']}/cancel")
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    for _ in range(2):
        desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=2, change=False))
    change = sent.openings[2]
    blinders = {"asset_blinder": change.abf[::-1].hex(), "amount_blinder": change.vbf[::-1].hex()}
    desk.api.ok("post", f"{desk.path}/update-blinders", {"txid": sent.txid, "vout": 2, **blinders})
    assert holdings(desk) == (999_100, [600, 300], 0)
    (shown,) = desk.api.ok("get", f"{desk.path}/distributions")
    assert [row["vout"] for row in shown["transactions"][0]["assignments"]] == [0, 1]
    assert all(row["is_distributed"] for row in desk.api.ok("get", f"{desk.path}/assignments"))

    more = reissue(desk)
    desk.mine(more.tx)
    desk.mine()
    for _ in range(2):
        desk.api.ok("post", f"{desk.path}/reissue-confirm", of_reissue(more))
    assert desk.api.ok("get", f"{desk.path}/reissuances")[0]["reissuance_amount"] == 5_000
    burnt = send(
        [desk.held(sent, 2)], [to(b"\x6a", desk.asset_id, 100, explicit=True), to(CHANGE, desk.asset_id, 999_000)]
    )
    desk.mine(burnt.tx)
    desk.mine()
    for _ in range(2):
        desk.api.ok("post", f"{desk.path}/burn-confirm", of_burn(burnt, 1))
    assert holdings(desk) == (1_004_000, [600, 300], 0)
    assert len(desk.api.ok("get", f"{desk.path}/burns")) == 1
