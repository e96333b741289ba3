"""Assignments: what may be promised to whom, and what may still be changed."""

from __future__ import annotations

from typing import Any

from tests.server.issuer.office import Api, Office
from tests.server.issuer.treasury_desk import TreasuryDesk


def create(desk: TreasuryDesk, *ones: dict[str, Any]) -> Any:
    return desk.api.request("POST", f"{desk.path}/assignments/create", {"assignments": list(ones)})


def test_an_assignment_from_its_making_to_its_deletion(desk: TreasuryDesk) -> None:
    user, account = desk.holder("bob")
    body = {"registered_user": user, "amount": 250_000}
    (made,) = desk.api.ok("post", f"{desk.path}/assignments/create", {"assignments": [body]})
    assert made == {
        "id": made["id"],
        "registered_user": user,
        "amount": 250_000,
        "receiving_address": None,
        "distribution_uuid": None,
        "ready_for_distribution": False,
        "vesting_datetime": None,
        "vesting_timestamp": None,
        "has_vested": True,
        "is_distributed": False,
        "creator": desk.api.id,
        "GAID": account.gaid,
        "investor": user,
    }
    one = f"{desk.path}/assignments/{made['id']}"
    assert desk.api.ok("get", one) == made
    assert desk.api.ok("get", f"{desk.path}/assignments") == [made]
    assert desk.api.ok("put", f"{one}/unlock")["ready_for_distribution"]
    assert desk.api.ok("put", f"{one}/unlock")["ready_for_distribution"]
    assert not desk.api.ok("put", f"{one}/lock")["ready_for_distribution"]
    desk.api.ok("delete", f"{one}/delete", status=204)
    desk.api.refused("get", one, status=404)
    assert desk.api.ok("get", f"{desk.path}/assignments/") == []
    actions = [event["action"] for event in desk.api.ok("get", "/events")]
    assert actions[:4] == ["assignment_deleted", "assignment_locked", "assignment_unlocked", "assignment_created"]


def test_no_more_than_the_treasury_has_free(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    desk.assign(user, 600_000)
    refused = create(desk, {"registered_user": user, "amount": 400_001})
    assert refused.status_code == 400
    assert "not enough in the treasury balance" in refused.json()["Error"]
    assert desk.assign(user, 400_000)["amount"] == 400_000
    assert create(desk, {"registered_user": user, "amount": 1}).status_code == 400


def test_nothing_before_the_issuance_is_in_a_block(office: Office, acme: Api) -> None:
    """Clients wait and try again when they read these words."""
    asset = office.asset(acme)
    user = acme.ok("post", "/registered_users/add", {"name": "Bob", "is_company": False}, status=201)["id"]
    body = {"assignments": [{"registered_user": user, "amount": 1}]}
    error = acme.refused("post", f"/assets/{asset.uuid}/assignments/create", body)
    assert "not enough in the treasury balance" in error["Error"]


def test_i02_amounts_and_lists_that_are_none(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    good = {"registered_user": user, "amount": 5}
    for amount in (0, -1, 1.0, 0.1 + 0.2, "5", None, True, 2_100_000_000_000_001, 10**30, [5]):
        assert create(desk, good | {"amount": amount}).status_code == 400, amount
    for ones in ([], [good, good], [good | {"id": 5}], [good | {"is_distributed": True}], [{"amount": 5}]):
        assert create(desk, *ones).status_code == 400, ones
    for body in (b'{"assignments": [{"registered_user": %d, "amount": 5e0}]}' % user, b"[]", b"{", b""):
        path = f"{desk.path}/assignments/create"
        assert desk.api.request("POST", path, content=body).status_code == 400, body
    assert desk.api.ok("get", f"{desk.path}/assignments") == []


def test_only_who_may_hold_it_gets_it(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    assert create(desk, {"registered_user": 999, "amount": 5}).status_code == 404
    category = desk.api.ok("post", "/categories/add", {"name": "EU", "description": None}, status=201)["id"]
    desk.api.ok("put", f"/categories/{category}/assets/{desk.asset.uuid}/add")
    refused = create(desk, {"registered_user": user, "amount": 5})
    assert "not in every category" in refused.json()["registered_user"][0]
    desk.api.ok("put", f"/categories/{category}/registered_users/{user}/add")
    desk.assign(user, 5)
    desk.api.ok("put", f"/registered_users/{user}/freeze")
    assert "frozen" in create(desk, {"registered_user": user, "amount": 5}).text


def test_an_issuer_tracked_asset_asks_for_no_category(office: Office, acme: Api) -> None:
    desk = TreasuryDesk(office, acme, transfer_restricted=0)
    user, _ = desk.holder("bob")
    category = acme.ok("post", "/categories/add", {"name": "EU", "description": None}, status=201)["id"]
    acme.ok("put", f"/categories/{category}/assets/{desk.asset.uuid}/add")
    desk.assign(user, 5)


def test_vesting(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    at = desk.office.desk.now() + 3600
    made = desk.assign(user, 5, vesting_timestamp=at)
    assert (made["vesting_timestamp"], made["has_vested"]) == (at, False)
    assert made["vesting_datetime"].endswith(".000000Z")
    assert "nothing to distribute" in desk.api.refused("get", f"{desk.path}/distributions/create")["Error"]
    desk.office.clock.now = at
    assert desk.api.ok("get", f"{desk.path}/assignments")[0]["has_vested"]
    assert list(desk.distribution()["map_address_amount"].values()) == [0.00000005]


def test_what_is_in_a_distribution_stays_as_it_is(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    made = desk.assign(user, 5)
    file = desk.distribution()
    one = f"{desk.path}/assignments/{made['id']}"
    for method, end in (("put", "lock"), ("put", "unlock"), ("delete", "delete")):
        assert "cancel the distribution" in desk.api.refused(method, f"{one}/{end}")["Error"]
    shown = desk.api.ok("get", one)
    assert shown["distribution_uuid"] == file["distribution_uuid"]
    assert shown["receiving_address"] in file["map_address_amount"]
    assert desk.api.ok("get", f"{desk.path}/assignments", params={"distributed": "false"}) == [shown]
    assert desk.api.ok("get", f"{desk.path}/assignments", params={"distributed": "true"}) == []


def test_i01_another_issuers_assignments_are_not_there(desk: TreasuryDesk) -> None:
    user, _ = desk.holder("bob")
    made = desk.assign(user, 5)
    rival = desk.office.issuer("rival")
    own = TreasuryDesk.__new__(TreasuryDesk)
    own.api, own.asset = rival, desk.office.asset(rival)
    for method, path in (
        ("get", f"{desk.path}/assignments"),
        ("get", f"{desk.path}/assignments/{made['id']}"),
        ("get", f"{own.path}/assignments/{made['id']}"),
        ("put", f"{own.path}/assignments/{made['id']}/lock"),
        ("delete", f"{own.path}/assignments/{made['id']}/delete"),
    ):
        rival.refused(method, path, status=404)
    body = {"assignments": [{"registered_user": user, "amount": 5}]}
    rival.refused("post", f"{own.path}/assignments/create", body, status=404)
    for number in ("0", "-1", "1e1", "٣", "9" * 30, "x"):
        desk.api.refused("get", f"{desk.path}/assignments/{number}", status=404)
