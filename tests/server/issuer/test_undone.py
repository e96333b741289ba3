"""Confirmed, and then the chain takes it back (H06): it stays confirmed, and its issuer hears of it.

A payment of a reorganised block may come back at any time, so nothing is given out to be paid again. But nobody should
find out from a holder who asks where their units are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from amp0.server.issuer import assets
from amp0.server.ledger import views
from tests.server.issuer import test_burns, test_reissuance
from tests.server.issuer.treasury_desk import STRANGER, TreasuryDesk
from tests.server.issuer.treasury_txs import Sent, to


@dataclass
class Done:
    """An operation that was confirmed: what its events tell of it, how its confirm is repeated, and what is shown."""

    sent: Sent
    detail: dict[str, Any]
    again: Callable[[], Any]
    shown: Callable[[], str]


def distribution(desk: TreasuryDesk) -> Done:
    desk.assign(desk.holder("bob")[0], 600)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    one = f"{desk.path}/distributions/{file['distribution_uuid']}"

    def shown() -> str:
        answer = desk.api.ok("get", one)
        assert answer["distribution_status"] == "CONFIRMED"
        return str(answer["transactions"][0]["transaction_status"])

    body = desk.confirm(sent, payments=1)
    detail = {"distribution": file["distribution_uuid"], "txid": sent.txid}
    return Done(sent, detail, lambda: desk.api.ok("post", f"{one}/confirm", body), shown)


def reissue(desk: TreasuryDesk) -> Done:
    sent = test_reissuance.deep(desk, test_reissuance.make(desk))
    body = test_reissuance.payload(sent)

    def shown() -> str:
        (row,) = desk.api.ok("get", f"{desk.path}/reissuances")
        return "CONFIRMED" if row["confirmed_in_block"] else "UNCONFIRMED"

    detail = {"vin": 0, "txid": sent.txid}
    return Done(sent, detail, lambda: desk.api.ok("post", f"{desk.path}/reissue-confirm", body), shown)


def burn(desk: TreasuryDesk) -> Done:
    sent = test_burns.deep(desk, test_burns.make(desk))
    body = test_burns.payload(sent, 1)

    def shown() -> str:
        (row,) = desk.api.ok("get", f"{desk.path}/burns")
        return str(row["transaction_status"])

    return Done(sent, {"txid": sent.txid}, lambda: desk.api.post(f"{desk.path}/burn-confirm", body), shown)


OPERATIONS = {"distribution": distribution, "reissue": reissue, "burn": burn}


def told(desk: TreasuryDesk, since: int) -> list[tuple[str, dict[str, Any]]]:
    """Actions and details of the events after one, oldest first."""
    events = desk.api.ok("get", "/events")
    assert all(event["asset_uuid"] == desk.asset.uuid for event in events if event["id"] > since)
    return [(event["action"], event["detail"]) for event in reversed(events) if event["id"] > since]


def newest(desk: TreasuryDesk) -> int:
    return max((int(event["id"]) for event in desk.api.ok("get", "/events")), default=0)


def adds_up(desk: TreasuryDesk) -> bool:
    with desk.office.store.snapshot() as db:
        row = assets.load(db, desk.asset.id)
        there = sum(one.satoshi for one in views.ownerships(db, row)) + views.unaccounted(db, row)
        return there == views.circulating(db, row)


@pytest.mark.parametrize("what", OPERATIONS)
def test_h06_what_was_confirmed_and_leaves_its_block(
    desk: TreasuryDesk, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its issuer is told when it leaves its block, when it is dropped, and when a block has it again."""
    done = OPERATIONS[what](desk)
    done.again()
    first, height = newest(desk), desk.height - 1
    with caplog.at_level(logging.WARNING, "amp0.server.issuer"):
        desk.unmine()
        assert (told(desk, first), done.shown()) == ([], "CONFIRMED")
        desk.unmine()
    assert told(desk, first) == [(f"{what}_reorganised", {**done.detail, "height": height})]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert done.sent.txid in caplog.text
    assert (done.shown(), adds_up(desk)) == ("UNCONFIRMED", True)
    # A tool that repeats its confirm is answered as before, and nothing is told twice.
    done.again()
    desk.gone(done.sent.tx)
    desk.gone(done.sent.tx)
    assert told(desk, first)[1:] == [(f"{what}_dropped", done.detail)]
    assert (done.shown(), adds_up(desk)) == ("UNCONFIRMED", True)
    desk.unconfirmed(done.sent.tx)
    assert len(told(desk, first)) == 2
    desk.mine(done.sent.tx)
    assert told(desk, first)[2:] == [(f"{what}_restored", {**done.detail, "height": desk.height})]
    assert (done.shown(), adds_up(desk)) == ("CONFIRMED", True)


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_reorganisation_before_the_confirmation_is_nobodys_alarm(
    desk: TreasuryDesk, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    done = OPERATIONS[what](desk)
    first = newest(desk)
    with caplog.at_level(logging.CRITICAL, "amp0.server.issuer"):
        desk.unmine()
        desk.unmine()
        desk.gone(done.sent.tx)
        desk.mine(done.sent.tx)
    desk.mine()
    assert (told(desk, first), caplog.records) == ([], [])
    done.again()
    assert done.shown() == "CONFIRMED"


def test_h06_a_distribution_whose_coins_are_spent_otherwise_stays_on_record(desk: TreasuryDesk) -> None:
    """Its issuer sees that it was dropped, has the units back, and assigns them anew: nothing is paid by itself."""
    done = distribution(desk)
    done.again()
    first = newest(desk)
    desk.unmine()
    desk.unmine()
    rival = desk.spend([to(STRANGER, desk.asset_id, 1)])
    desk.mine(rival.tx)
    desk.mine()
    assert [action for action, _ in told(desk, first)] == ["distribution_reorganised", "distribution_dropped"]
    assert done.shown() == "UNCONFIRMED"
    assert adds_up(desk)
    assert "nothing to distribute" in desk.api.refused("get", f"{desk.path}/distributions/create")["Error"]
    uuid = done.detail["distribution"]
    assert "is confirmed" in desk.api.refused("delete", f"{desk.path}/distributions/{uuid}/cancel")["Error"]


def test_i01_another_issuer_hears_nothing(desk: TreasuryDesk) -> None:
    rival = desk.office.issuer("rival")
    done = distribution(desk)
    done.again()
    desk.unmine()
    desk.unmine()
    assert all("reorganised" not in event["action"] for event in rival.ok("get", "/events"))
