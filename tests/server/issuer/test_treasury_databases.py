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


def test_limits_what_may_come_back_and_what_is_taken_back(desk: TreasuryDesk) -> None:
    for tag, parameters in (("max_balance", {"satoshi": 500}), ("max_holders", {"holders": 1})):
        desk.api.ok("post", f"{desk.path}/rules/add", {"tag": tag, "parameters": parameters})
    bob, carol = desk.holder("bob")[0], desk.holder("carol")[0]
    for user, satoshi in ((bob, 501), (bob, 400), (carol, 1)):
        desk.assign(user, satoshi)
    file = desk.distribution()
    assert list(file["map_address_amount"].values()) == [0.000004]
    refused = desk.api.refused("get", f"{desk.path}/distributions/create/")["Error"]
    assert "would hold 901 satoshi, more than 500" in refused
    assert "more than 1 holders" in refused

    sent = desk.pay(file)
    desk.unconfirmed(sent.tx)
    desk.gone(sent.tx)
    cancel = f"{desk.path}/distributions/{file['distribution_uuid']}/cancel"
    assert "may come back" in desk.api.refused("delete", cancel)["Error"]
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=1))
    more = reissue(desk)
    desk.mine(more.tx)
    desk.mine()
    desk.api.ok("post", f"{desk.path}/reissue-confirm", of_reissue(more))
    burnt = send(
        [desk.held(sent, 1)], [to(b"\x6a", desk.asset_id, 100, explicit=True), to(CHANGE, desk.asset_id, 999_500)]
    )
    desk.mine(burnt.tx)
    desk.mine()
    desk.api.ok("post", f"{desk.path}/burn-confirm", of_burn(burnt, 1))
    for _ in range(6):
        desk.unmine()
    for tx in (burnt.tx, more.tx, sent.tx):
        desk.gone(tx)
    desk.mine(sent.tx, more.tx, burnt.tx)
    told = [event["action"] for event in reversed(desk.api.ok("get", "/events"))]
    what = ("burn", "reissue", "distribution")
    assert [action for action in told if action.endswith("_reorganised")] == [f"{one}_reorganised" for one in what]
    assert {action for action in told if action.endswith("_dropped")} == {f"{one}_dropped" for one in what}
    assert {action for action in told if action.endswith("_restored")} == {f"{one}_restored" for one in what}
    assert holdings(desk) == (1_004_500, [400], 0)
