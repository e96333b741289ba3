"""Distributions: made, paid, confirmed, cancelled; I03: transactions that are not what they are said to be."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from amp0.elements.address import Address
from amp0.server.issuer import assets, confirming, distributions
from amp0.server.ledger import views
from amp0.server.store import asset_schema
from tests.server.issuer.treasury_desk import CHANGE, STRANGER, TreasuryDesk
from tests.server.issuer.treasury_txs import LBTC, coin, send, to


@pytest.fixture
def two(desk: TreasuryDesk) -> dict[str, Any]:
    """A distribution of 600 to Bob and 300 to Carol."""
    for name, satoshi in (("bob", 600), ("carol", 300)):
        desk.assign(desk.holder(name)[0], satoshi)
    return desk.distribution()


def holdings(desk: TreasuryDesk) -> tuple[int, list[int], int]:
    """What the treasury and the holders have, and what is unaccounted for."""
    with desk.office.store.snapshot() as db:
        row = assets.load(db, desk.asset.id)
        treasury, *others = views.ownerships(db, row)
        return treasury.satoshi, [one.satoshi for one in others], views.unaccounted(db, row)


def paid(desk: TreasuryDesk, file: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The transaction of a request file two blocks deep, and the payload of its confirm."""
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    return sent, desk.confirm(sent, payments=len(file["map_address_amount"]))


# --- making --------------------------------------------------------------------------------------------------------


def test_the_request_file(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    amounts = two["map_address_amount"]
    asset_id = desk.asset_id[::-1].hex()
    assert two == {
        "command": "distribute",
        "min_supported_client_script_version": 2,
        "base_url": "http://localhost/api/{}",
        "asset_uuid": desk.asset.uuid,
        "asset_id": asset_id,
        "distribution_uuid": two["distribution_uuid"],
        "map_address_amount": amounts,
        "map_address_asset": dict.fromkeys(amounts, asset_id),
    }
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", two["distribution_uuid"])
    assert list(amounts.values()) == [0.000006, 0.000003]
    assert all(Address(address).is_blinded() for address in amounts)
    (shown,) = desk.api.ok("get", f"{desk.path}/distributions")
    expected = {"distribution_uuid": two["distribution_uuid"], "distribution_status": "UNCONFIRMED", "transactions": []}
    assert shown == expected
    assert desk.api.ok("get", f"{desk.path}/distributions/{two['distribution_uuid']}") == expected
    assert desk.api.ok("get", f"{desk.path}/distributions/{two['distribution_uuid']}/file") == two


def test_the_odd_ways_to_ask_for_one(desk: TreasuryDesk) -> None:
    """With a slash, without one, with a body that decides nothing; a POST is none of them."""
    user, _ = desk.holder("bob")
    body = {"assignments": [{"user_uuid": "x", "amount": 5.0, "address": "y"}]}
    desk.assign(user, 5)
    assert desk.api.ok("get", f"{desk.path}/distributions/create", body)["command"] == "distribute"
    desk.assign(user, 6)
    assert desk.api.ok("get", f"{desk.path}/distributions/create/", content=b"not json")["command"] == "distribute"
    desk.api.refused("post", f"{desk.path}/distributions/create", body, status=405)
    error = desk.api.refused("get", f"{desk.path}/distributions/create/")["Error"]
    assert "nothing to distribute" in error


def test_only_so_many_at_once(desk: TreasuryDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first; the rest in the next ones, which are open at the same time."""
    monkeypatch.setattr(distributions, "MOST_PAYMENTS", 2)
    user, _ = desk.holder("bob")
    for satoshi in (1, 2, 3, 4, 5):
        desk.assign(user, satoshi)
    amounts = [[round(n * 10**8) for n in desk.distribution()["map_address_amount"].values()] for _ in range(3)]
    assert amounts == [[1, 2], [3, 4], [5]]
    listed = desk.api.ok("get", f"{desk.path}/assignments")
    assert len({one["receiving_address"] for one in listed}) == 5
    assert len({one["distribution_uuid"] for one in listed}) == 3


def test_who_cannot_be_paid_is_left_for_later(desk: TreasuryDesk) -> None:
    """And named only when nobody is left."""
    bob, _ = desk.holder("bob", uploaded=0)
    body = {"name": "none", "is_company": False}
    nobody = desk.api.ok("post", "/registered_users/add", body, status=201)["id"]
    dave, _ = desk.holder("dave")
    desk.assign(bob, 1)
    desk.assign(nobody, 2)
    desk.assign(dave, 3)
    desk.api.ok("put", f"/registered_users/{dave}/freeze")
    error = desk.api.refused("get", f"{desk.path}/distributions/create")["Error"]
    assert f"user {bob} cannot be paid: This account has no confidential address left" in error
    assert f"user {nobody} cannot be paid: they have no GAID yet" in error
    assert f"user {dave} cannot be paid: they are frozen" in error
    desk.api.ok("put", f"/registered_users/{dave}/unfreeze")
    assert list(desk.distribution()["map_address_amount"].values()) == [0.00000003]
    assert [one["distribution_uuid"] is None for one in desk.api.ok("get", f"{desk.path}/assignments")] == [
        True,
        True,
        False,
    ]


def test_d16_who_left_a_category_since_is_not_paid(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    desk.assign(user, 5)
    category = desk.api.ok("post", "/categories/add", {"name": "EU", "description": None}, status=201)["id"]
    desk.api.ok("put", f"/categories/{category}/assets/{desk.asset.uuid}/add")
    assert "not in every category" in desk.api.refused("get", f"{desk.path}/distributions/create")["Error"]


# --- confirming ----------------------------------------------------------------------------------------------------


def test_a_distribution_from_its_file_to_its_confirmation(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    sent, body = paid(desk, two)
    assert holdings(desk) == (0, [], 1_000_000)
    answer = desk.api.ok("post", desk.confirm_path(two), body)
    transaction = answer["transactions"][0]
    assert (answer["distribution_uuid"], answer["distribution_status"]) == (two["distribution_uuid"], "CONFIRMED")
    listed = desk.api.ok("get", f"{desk.path}/assignments")
    assert transaction == {
        "txid": sent.txid,
        "transaction_status": "CONFIRMED",
        "included_blockheight": desk.height - 1,
        "confirmed_datetime": transaction["confirmed_datetime"],
        "assignments": [
            {"registered_user": listed[0]["registered_user"], "amount": 600, "vout": 0},
            {"registered_user": listed[1]["registered_user"], "amount": 300, "vout": 1},
        ],
    }
    assert all(one["is_distributed"] for one in listed)
    assert holdings(desk) == (999_100, [600, 300], 0)
    with desk.office.store.snapshot() as db:
        kind = db.execute(sa.select(asset_schema.asset_txs.c.kind).order_by("height")).scalars().all()
        row = assets.load(db, desk.asset.id)
        assert views.treasury(db, row) == 999_100
    assert kind == ["issuance", "distribution"]
    # What came back is the treasury's, and no address to redeem at.
    assert str(Address.from_script(desk.office.desk.network, CHANGE)) not in desk.api.ok(
        "get", f"{desk.path}/treasury-addresses"
    )
    assert desk.assign(listed[0]["registered_user"], 999_100)


def test_confirming_twice_is_one_confirmation(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """As the tool does that lost the answer."""
    _, body = paid(desk, two)
    first = desk.api.ok("post", desk.confirm_path(two), body)
    events = desk.api.ok("get", "/events")
    assert desk.api.ok("post", desk.confirm_path(two), body) == first
    assert desk.api.ok("get", "/events") == events
    assert holdings(desk) == (999_100, [600, 300], 0)


def test_change_that_is_told_later(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """A confirm without ``change_data`` counts; the same again with it finds what was lost."""
    _, body = paid(desk, two)
    desk.api.ok("post", desk.confirm_path(two), body | {"change_data": []})
    assert holdings(desk) == (0, [600, 300], 999_100)
    desk.api.ok("post", desk.confirm_path(two), body)
    assert holdings(desk) == (999_100, [600, 300], 0)


def test_the_next_one_spends_the_change(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    sent, body = paid(desk, two)
    desk.api.ok("post", desk.confirm_path(two), body)
    desk.assign(desk.holder("dave")[0], 100)
    file = desk.distribution()
    more = desk.pay(file, desk.held(sent, 2))
    desk.mine(more.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(more, payments=1))
    assert holdings(desk) == (999_000, [600, 300, 100], 0)


def test_a_confirm_may_come_before_the_block_is_read(
    desk: TreasuryDesk, two: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool's node is ahead of this server by a moment: it waits for a moment."""
    sent = desk.pay(two)
    desk.office.chain[sent.tx.txid()] = sent.tx
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            desk.mine(sent.tx)
        if len(waits) == 5:
            desk.mine()

    monkeypatch.setattr(confirming, "pause", pause)
    answer = desk.api.ok("post", desk.confirm_path(two), desk.confirm(sent, payments=2))
    assert (answer["distribution_status"], len(waits)) == ("CONFIRMED", 5)


def test_a_confirm_that_comes_too_early_can_be_tried_again(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    sent = desk.pay(two)
    body = desk.confirm(sent, payments=2)
    path = desk.confirm_path(two)
    assert "in no block and no mempool" in desk.api.refused("post", path, body)["Error"]
    desk.office.chain[sent.tx.txid()] = sent.tx
    assert "has not read" in desk.api.refused("post", path, body)["Error"]
    desk.unconfirmed(sent.tx)
    assert "has 0 of 2 confirmations here; try again" in desk.api.refused("post", path, body)["Error"]
    desk.mine(sent.tx)
    assert "has 1 of 2" in desk.api.refused("post", path, body)["Error"]
    desk.mine()
    desk.unmine()
    assert "has 1 of 2" in desk.api.refused("post", path, body)["Error"]
    assert holdings(desk)[1] == []
    desk.mine()
    desk.api.ok("post", path, body)
    assert holdings(desk) == (999_100, [600, 300], 0)


def test_g_confirmed_and_then_reorganised(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """It stays confirmed, shows that its transaction waits, and a confirm that is repeated still answers."""
    _, body = paid(desk, two)
    desk.api.ok("post", desk.confirm_path(two), body)
    desk.unmine()
    desk.unmine()
    answer = desk.api.ok("post", desk.confirm_path(two), body)
    (transaction,) = answer["transactions"]
    assert (answer["distribution_status"], transaction["transaction_status"]) == ("CONFIRMED", "UNCONFIRMED")
    assert transaction["included_blockheight"] == 0


# --- I03 -----------------------------------------------------------------------------------------------------------


def refused(desk: TreasuryDesk, file: dict[str, Any], body: dict[str, Any]) -> str:
    """Why a confirm is refused; nothing changed."""
    before = desk.api.ok("get", f"{desk.path}/assignments"), holdings(desk), desk.api.ok("get", "/events")
    error = desk.api.refused("post", desk.confirm_path(file), body)
    assert (desk.api.ok("get", f"{desk.path}/assignments"), holdings(desk), desk.api.ok("get", "/events")) == before
    (text,) = error.values()
    return str(text)


def test_i03_wrong_amounts_and_wrong_receivers(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    (a, _), (b, _) = two["map_address_amount"].items()
    scripts = [Address(one).script for one in (a, b)]
    for outputs, text in (
        ([to(scripts[0], desk.asset_id, 601), to(scripts[1], desk.asset_id, 300)], "asks for 600"),
        ([to(scripts[0], desk.asset_id, 599), to(scripts[1], desk.asset_id, 300)], "asks for 600"),
        ([to(scripts[1], desk.asset_id, 600), to(scripts[0], desk.asset_id, 300)], "asks for 600"),
        ([to(scripts[0], desk.asset_id, 600), to(STRANGER, desk.asset_id, 300)], "does not pay"),
        ([to(scripts[0], desk.asset_id, 600), to(scripts[0], desk.asset_id, 300)], "more than once"),
    ):
        sent = desk.spend(outputs)
        desk.mine(sent.tx)
        desk.mine()
        assert text in refused(desk, two, desk.confirm(sent, payments=2)), text
        desk.unmine()
        desk.unmine()
        desk.gone(sent.tx)


def test_i03_another_asset_in_the_right_amounts(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    other = b"\x77" * 32
    outputs = [to(Address(a).script, other, round(n * 10**8)) for a, n in two["map_address_amount"].items()]
    sent = send([coin(other, 1_000)], [*outputs, to(CHANGE, other, 100)])
    desk.mine(sent.tx)
    desk.mine()
    assert "does not open it as 600 satoshi of this asset" in refused(desk, two, desk.confirm(sent, payments=2))


def test_i03_a_foreign_transaction(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    sent = send([coin(LBTC, 500)], [to(STRANGER, LBTC, 500)])
    desk.office.chain[sent.tx.txid()] = sent.tx
    body = desk.confirm(sent, payments=0, change=False)
    assert "does not pay" in refused(desk, two, body)
    assert "does not pay" in refused(desk, two, desk.confirm(desk.issuance, payments=0, change=False))
    for txid in ("00" * 32, "ff" * 32):
        assert "in no block" in refused(desk, two, {"tx_data": {"txid": txid, "details": []}})
    for no_txid in ("zz" * 32, "00", 5, None, "00" * 33):
        desk.api.refused("post", desk.confirm_path(two), {"tx_data": {"txid": no_txid, "details": []}})


def test_i03_somebody_else_is_paid_as_well(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """Whether the payload tells of it as a payment, or as change that pays a holder."""
    _, eve = desk.holder("eve")
    sent = desk.pay(two, extra=[to(eve.addresses[5].script, desk.asset_id, 50)])
    desk.mine(sent.tx)
    desk.mine()
    body = msgspec.to_builtins({"tx_data": {"txid": sent.txid, "details": sent.details(range(3))}, "change_data": []})
    assert "not part of this distribution" in refused(desk, two, body)
    body = desk.confirm(sent, payments=2)
    assert "pays a holder, not the treasury" in refused(desk, two, body)


def test_i03_one_transaction_pays_one_distribution(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    desk.assign(desk.holder("dave")[0], 100)
    other = desk.distribution()
    both = {"map_address_amount": two["map_address_amount"] | other["map_address_amount"]}
    sent = desk.pay(both)
    desk.mine(sent.tx)
    desk.mine()
    whole = desk.confirm(sent, payments=3)
    assert "not part of this distribution" in refused(desk, two, whole)
    part = msgspec.to_builtins({"tx_data": {"txid": sent.txid, "details": sent.details([0, 1])}})
    desk.api.ok("post", desk.confirm_path(two), part)
    part = msgspec.to_builtins({"tx_data": {"txid": sent.txid, "details": sent.details([2])}})
    assert "already confirmed as a distribution" in refused(desk, other, part)


def test_i03_another_transaction_after_the_confirmation(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    _, body = paid(desk, two)
    desk.api.ok("post", desk.confirm_path(two), body)
    again = desk.pay(two, coin(desk.asset_id, 5_000))
    desk.mine(again.tx)
    desk.mine()
    assert "was already confirmed with" in refused(desk, two, desk.confirm(again, payments=2))


def test_i03_paid_by_a_holder(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """Somebody who knows the addresses pays them out of what they hold: the treasury still owes it."""
    desk.assign(desk.holder("dave")[0], 1_000)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=1))
    theirs = desk.pay(two, desk.held(sent, 0))
    desk.mine(theirs.tx)
    desk.mine()
    body = msgspec.to_builtins({"tx_data": {"txid": theirs.txid, "details": theirs.details([0, 1])}})
    assert "spends what a holder has" in refused(desk, two, body)


def test_i01_another_issuers_distribution_is_not_there(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    _, body = paid(desk, two)
    rival = desk.office.issuer("rival")
    own = desk.office.asset(rival)
    for path in (f"{desk.path}/distributions", f"/assets/{own.uuid}/distributions"):
        one = f"{path}/{two['distribution_uuid']}"
        rival.refused("get", one, status=404)
        rival.refused("get", one + "/file", status=404)
        rival.refused("post", one + "/confirm", body, status=404)
        rival.refused("delete", one + "/cancel", status=404)
    rival.refused("get", f"{desk.path}/distributions/create", status=404)
    for uuid in ("x", "00000000-0000-0000-0000-000000000000", "%00", "' OR 1=1 --"):
        desk.api.refused("get", f"{desk.path}/distributions/{uuid}", status=404)


# --- cancelling ----------------------------------------------------------------------------------------------------


def test_cancelling_frees_the_assignments(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    desk.api.ok("delete", f"{one}/cancel")
    desk.api.ok("delete", f"{one}/cancel/")
    desk.api.refused("get", one, status=404)
    assert desk.api.ok("get", f"{desk.path}/distributions") == []
    assert "cancelled" in desk.api.refused("get", f"{one}/file")["Error"]
    listed = desk.api.ok("get", f"{desk.path}/assignments")
    assert {(row["distribution_uuid"], row["receiving_address"]) for row in listed} == {(None, None)}
    again = desk.distribution()
    assert not again["map_address_amount"].keys() & two["map_address_amount"].keys()
    _, body = paid(desk, again)
    assert "was cancelled" in refused(desk, two, body)
    desk.api.ok("post", desk.confirm_path(again), body)


def test_what_was_sent_cannot_be_cancelled(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """It would be paid a second time."""
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    sent = desk.pay(two)
    desk.unconfirmed(sent.tx)
    assert f"was sent with {sent.txid}" in desk.api.refused("delete", f"{one}/cancel")["Error"]
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(two), desk.confirm(sent, payments=2))
    assert "cannot be taken back" in desk.api.refused("delete", f"{one}/cancel")["Error"]


def test_a_server_that_is_behind_the_chain_cancels_nothing(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """The node has paid, and the server whose chain source is away would say that nobody has."""
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    desk.office.desk.is_current = lambda: False
    assert "does not know whether" in desk.api.refused("delete", f"{one}/cancel", status=503)["detail"]
    desk.office.desk.is_current = lambda: True
    desk.unconfirmed(desk.pay(two).tx)
    assert "was sent with" in desk.api.refused("delete", f"{one}/cancel")["Error"]


def test_what_was_sent_and_dropped_cannot_be_cancelled_while_it_may_come_back(
    desk: TreasuryDesk, two: dict[str, Any]
) -> None:
    """Nodes forget transactions, and whoever has one sends it again: its assignments would be paid twice."""
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    sent = desk.pay(two)
    desk.unconfirmed(sent.tx)
    desk.gone(sent.tx)
    assert f"was sent with {sent.txid}, which is in no block" in desk.api.refused("delete", f"{one}/cancel")["Error"]
    # A rival is not final in its first block.
    rival = desk.spend([to(STRANGER, desk.asset_id, 1)])
    desk.mine(rival.tx)
    assert "may come back" in desk.api.refused("delete", f"{one}/cancel")["Error"]
    desk.mine()
    desk.api.ok("delete", f"{one}/cancel")


def test_what_was_sent_from_change_that_never_came_can_be_cancelled(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    parent = desk.spend([to(STRANGER, desk.asset_id, 1)])
    sent = desk.pay(two, desk.held(parent, 1))
    desk.unconfirmed(parent.tx)
    desk.unconfirmed(sent.tx)
    rival = desk.spend([to(STRANGER, desk.asset_id, 2)])
    desk.mine(rival.tx)
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    assert "may come back" in desk.api.refused("delete", f"{one}/cancel")["Error"]
    desk.mine()
    desk.api.ok("delete", f"{one}/cancel")


def test_a_reorganised_payment_cannot_be_cancelled(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    one = f"{desk.path}/distributions/{two['distribution_uuid']}"
    sent = desk.pay(two)
    desk.mine(sent.tx)
    desk.unmine()
    assert f"was sent with {sent.txid}:" in desk.api.refused("delete", f"{one}/cancel")["Error"]
    desk.gone(sent.tx)
    assert "may come back" in desk.api.refused("delete", f"{one}/cancel")["Error"]


def test_a_holder_cannot_keep_a_distribution_from_being_cancelled(desk: TreasuryDesk, two: dict[str, Any]) -> None:
    """They know where they are to be paid, and may pay themselves there: with other assets, and with what they have."""
    desk.assign(desk.holder("dave")[0], 1_000)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=1))
    script = Address(next(iter(two["map_address_amount"]))).script
    desk.mine(send([coin(LBTC, 5)], [to(script, LBTC, 5)]).tx)
    desk.mine(desk.spend([to(script, desk.asset_id, 1_000)], desk.held(sent, 0)).tx)
    desk.api.ok("delete", f"{desk.path}/distributions/{two['distribution_uuid']}/cancel")
