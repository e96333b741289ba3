"""Registered users and their GAIDs."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from amp0.server.issuer import gaids, holders
from amp0.server.store import asset_schema, schema

from .office import Api, Office


def add(api: Api, name: str = "Bob", **more: object) -> int:
    return int(api.ok("post", "/registered_users/add", {"name": name, **more}, status=201)["id"])


def test_users(office: Office, acme: Api) -> None:
    bob = office.account("bob")
    user = acme.ok("post", "/registered_users/add", {"name": "Bob", "is_company": True, "GAID": bob.gaid}, status=201)
    assert user == {
        "id": user["id"],
        "GAID": bob.gaid,
        "is_company": True,
        "name": "Bob",
        "categories": [],
        "creator": acme.id,
        "is_frozen": False,
    }
    path = f"/registered_users/{user['id']}"
    assert acme.ok("get", path) == user
    assert acme.ok("put", path + "/edit", {"name": None}) == user
    assert acme.ok("put", path + "/edit", {"name": "Robert"}) == {**user, "name": "Robert"}
    acme.refused("put", path + "/edit", {"GAID": None})
    other = acme.ok("post", "/registered_users/add", {"name": "Bob", "is_company": False, "GAID": None}, status=201)
    assert other["GAID"] is None
    assert acme.ok("get", "/registered_users") == [{**user, "name": "Robert"}, other]
    assert acme.ok("delete", path + "/delete", status=204) is None
    acme.refused("get", path, status=404)
    assert acme.ok("get", "/registered_users") == [other]


def test_a_manager_registers_and_is_named(office: Office, acme: Api) -> None:
    mary = office.manager(acme, "mary")
    user = add(mary)
    assert acme.ok("get", f"/registered_users/{user}")["creator"] == mary.id
    for method, path, body in (
        ("put", "edit", {"name": "x"}),
        ("delete", "delete", None),
        ("put", "freeze", None),
        ("post", "gaids/set-default", office.account().gaid),
    ):
        mary.refused(method, f"/registered_users/{user}/{path}", body, status=403)


def test_gaids_of_a_user(office: Office, acme: Api) -> None:
    one, two, three = office.account("bob", 1), office.account("bob", 2), office.account("carol")
    user = add(acme)
    path = f"/registered_users/{user}"
    assert acme.ok("get", path + "/gaids") == []
    assert acme.ok("post", path + "/gaids/add", one.gaid) == {}
    office.clock.now += 1
    assert acme.ok("post", path + "/gaids/add", two.gaid) == {}
    assert acme.ok("post", path + "/gaids/add", two.gaid) == {}, "a retry"
    assert acme.ok("get", path + "/gaids") == [one.gaid, two.gaid]
    assert acme.ok("get", path)["GAID"] == one.gaid, "the first is the default"
    assert acme.ok("post", path + "/gaids/set-default", two.gaid) == {}
    assert acme.ok("get", path)["GAID"] == two.gaid
    assert "Error" in acme.refused("post", path + "/gaids/set-default", three.gaid)
    assert acme.ok("get", path)["GAID"] == two.gaid
    with office.transaction() as db:
        assert holders.default_account(db, user) == two.id
        assert holders.owner_of(db, acme.id, one.id) == user
        assert holders.owner_of(db, acme.id + 1, one.id) is None


def test_a_gaid_has_one_user_of_an_issuer_for_good(office: Office, acme: Api) -> None:
    bob = office.account("bob")
    user, other = add(acme, GAID=bob.gaid), add(acme, "Carol")
    for _ in range(2):
        # Clients look for these words.
        assert "GAID was already created" in acme.post("/registered_users/add", {"name": "x", "GAID": bob.gaid}).text
        assert "GAID was already created" in acme.post(f"/registered_users/{other}/gaids/add", bob.gaid).text
        acme.request("delete", f"/registered_users/{user}/delete")
    acme.refused("get", f"/gaids/{bob.gaid}/registered_user", status=404)
    # To another issuer, it is somebody else.
    rival = office.issuer("rival")
    theirs = add(rival, "Robert", GAID=bob.gaid)
    assert rival.ok("get", f"/gaids/{bob.gaid}/registered_user")["id"] == theirs


def test_gaids_that_are_none(office: Office, acme: Api) -> None:
    bob = office.account("bob")
    with office.transaction() as db:
        table = schema.accounts
        zero = db.execute(sa.select(table.c.receiving_id).where(table.c.pointer == 0)).scalar_one()
        assert gaids.account_of(db, bob.gaid) == bob.id
        assert gaids.account_of(db, zero) is None, "the account that every wallet has is no AMP account"
    user = add(acme)
    for gaid in (zero, bob.gaid[:-1], bob.gaid + "1", "GAbYScu6jkWUND2jo3L4KJxyvo55d", "", "GA", "x", bob.gaid + "\n"):
        assert acme.refused("post", "/registered_users/add", {"name": "x", "GAID": gaid}).keys() == {"GAID"}
        assert acme.refused("post", f"/registered_users/{user}/gaids/add", gaid).keys() == {"non_field_errors"}
    for wrong in (1, [bob.gaid], {"gaid": bob.gaid}, True):
        acme.refused("post", f"/registered_users/{user}/gaids/add", wrong)
    assert [one["id"] for one in acme.ok("get", "/registered_users")] == [user]


def test_a_user_with_something_to_come_stays(office: Office, acme: Api) -> None:
    asset, user = office.asset(acme), add(acme)
    row = {"asset": asset.id, "user_id": user, "creator_id": acme.id, "satoshi": 5, "is_ready": 0, "created_at": 0}
    with office.transaction() as db:
        db.execute(asset_schema.assignments.insert().values(row))
    assert "assignments" in acme.refused("delete", f"/registered_users/{user}/delete")["Error"]
    with office.transaction() as db:
        db.execute(asset_schema.assignments.update().values(distributed_at=1))
    acme.ok("delete", f"/registered_users/{user}/delete", status=204)


@pytest.mark.parametrize(
    ("tag", "parameters"),
    [("frozen_holder", {"users": [0]}), ("vesting", {"user_id": 0, "schedule": [[2_000_000_000, 5]]})],
)
def test_c11_deleting_a_user_is_no_way_around_a_rule_about_them(
    office: Office, acme: Api, tag: str, parameters: dict[str, Any]
) -> None:
    """A rule is ended with time or with others, where its asset wants that; a user was deleted at once."""
    asset, user, other = office.asset(acme), add(acme), add(acme, "Bob")
    parameters = {key: [user] if value == [0] else user if value == 0 else value for key, value in parameters.items()}
    rule = acme.ok("post", f"/assets/{asset.uuid}/rules/add", {"tag": tag, "parameters": parameters})
    assert rule["state"] == "effective"
    assert "Rule" in acme.refused("delete", f"/registered_users/{user}/delete")["Error"]
    acme.ok("delete", f"/registered_users/{other}/delete", status=204)
    (row,) = acme.ok("get", f"/assets/{asset.uuid}/rules")
    acme.ok("delete", f"/assets/{asset.uuid}/rules/{row['id']}/delete")
    acme.ok("delete", f"/registered_users/{user}/delete", status=204)


def test_a_manager_s_word_about_a_user_s_accounts_counts_for_their_assets(office: Office, acme: Api) -> None:
    """Who may put nobody into a category of an asset that is not theirs may put no account into it either."""
    mine, others = office.asset(acme), office.asset(acme)
    mary = office.manager(acme, "mary", mine.id)
    user, category = add(acme), acme.ok("post", "/categories/add", {"name": "c"}, status=201)["id"]
    path = f"/registered_users/{user}/gaids/add"
    mary.ok("post", path, office.account("bob").gaid)
    acme.ok("put", f"/categories/{category}/registered_users/{user}/add")
    acme.ok("put", f"/categories/{category}/assets/{mine.uuid}/add")
    mary.ok("post", path, office.account("carol").gaid)
    acme.ok("put", f"/categories/{category}/assets/{others.uuid}/add")
    gaid = office.account("dave").gaid
    mary.refused("post", path, gaid, status=403)
    acme.ok("post", path, gaid)


def test_deleting_a_user_thaws_nobody(office: Office, acme: Api) -> None:
    user = add(acme)
    acme.ok("put", f"/registered_users/{user}/freeze")
    assert "frozen" in acme.refused("delete", f"/registered_users/{user}/delete")["Error"]


def version(office: Office, asset: int) -> int:
    with office.transaction() as db:
        table = asset_schema.assets
        return int(db.execute(sa.select(table.c.policy_version).where(table.c.id == asset)).scalar_one())


def test_f04_what_may_change_a_verdict_counts_the_policy_up(office: Office, acme: Api) -> None:
    asset, others = office.asset(acme), office.asset(office.issuer("rival"))
    category = acme.ok("post", "/categories/add", {"name": "c"}, status=201)["id"]
    seen = version(office, asset.id)
    user = add(acme)
    assert version(office, asset.id) == seen, "who has no account changes nothing"
    member = f"/categories/{category}/registered_users/{user}"
    for method, path, body in (
        ("post", f"/registered_users/{user}/gaids/add", office.account().gaid),
        ("put", member + "/add", None),
        ("put", f"/registered_users/{user}/freeze", None),
        ("put", f"/registered_users/{user}/unfreeze", None),
        ("put", member + "/remove", None),
        ("put", f"/categories/{category}/assets/{asset.uuid}/add", None),
        ("put", f"/categories/{category}/assets/{asset.uuid}/remove", None),
        ("delete", f"/registered_users/{user}/delete", None),
    ):
        acme.request(method, path, body)
        assert version(office, asset.id) > seen, path
        seen = version(office, asset.id)
    assert version(office, others.id) == 0


def test_freezing(office: Office, acme: Api) -> None:
    user = add(acme)
    for _ in range(2):
        assert acme.ok("put", f"/registered_users/{user}/freeze")["is_frozen"] is True
    assert acme.ok("get", f"/registered_users/{user}")["is_frozen"] is True
    assert acme.ok("put", f"/registered_users/{user}/unfreeze")["is_frozen"] is False
    assert [event["action"] for event in acme.ok("get", "/events")] == ["unfreeze_user", "freeze_user", "add_user"]


def test_lists_do_not_ask_once_for_each_user(office: Office, acme: Api) -> None:
    """A hundred thousand of them have to be listed in a few statements."""
    category = acme.ok("post", "/categories/add", {"name": "c"}, status=201)["id"]
    statements: list[str] = []
    sa.event.listen(office.store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for _ in range(2):
        for _ in range(3):
            user = add(acme)
            acme.ok("put", f"/categories/{category}/registered_users/{user}/add")
        statements.clear()
        listed = acme.ok("get", "/registered_users")
        assert {tuple(one["categories"]) for one in listed} == {(category,)}
        assert acme.ok("get", "/categories")[0]["registered_users"] == [one["id"] for one in listed]
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_a_list_shows_each_user_as_they_are_shown_alone(office: Office, acme: Api) -> None:
    """The list is read in one go, and not the way of a single user."""
    account, other, third = office.account("one"), office.account("two"), office.account("three")
    add(acme, name="One", GAID=account.gaid, is_company=True)
    second = add(acme, name="Two")
    deleted = add(acme, name="Gone", GAID=third.gaid)
    add(office.issuer("rival"), name="Of somebody else", GAID=account.gaid)
    categories = [acme.ok("post", "/categories/add", {"name": name}, status=201)["id"] for name in ("b", "a", "c")]
    for category in reversed(categories):
        acme.ok("put", f"/categories/{category}/registered_users/{second}/add")
    acme.ok("post", f"/registered_users/{second}/gaids/add", other.gaid)
    acme.ok("put", f"/registered_users/{second}/freeze")
    acme.ok("delete", f"/registered_users/{deleted}/delete", status=204)
    listed = acme.ok("get", "/registered_users")
    assert [(one["name"], one["GAID"], one["is_frozen"], one["categories"]) for one in listed] == [
        ("One", account.gaid, False, []),
        ("Two", other.gaid, True, categories),
    ]
    assert listed == [acme.ok("get", f"/registered_users/{one['id']}") for one in listed]


def test_summary_is_an_object_for_one_asset_and_a_list_otherwise(office: Office, acme: Api) -> None:
    asset, other = office.asset(acme), office.asset(acme)
    user, stranger = add(acme), add(acme)
    path = f"/registered_users/{user}/summary"
    assert acme.ok("get", path) == []
    row = {"creator_id": acme.id, "is_ready": 0, "created_at": 0}
    with office.transaction() as db:
        for satoshi, who in ((5, user), (7, user), (100, stranger)):
            values = {**row, "asset": asset.id, "user_id": who, "satoshi": satoshi}
            db.execute(asset_schema.assignments.insert().values(values))
    one = acme.ok("get", path)
    assert (one["asset_uuid"], one["asset_id"]) == (asset.uuid, asset.asset_id[::-1].hex())
    assert (one["assignments_sum"], one["distributions_sum"], one["balance"]) == (12, 0, 0)
    assert [each["amount"] for each in one["assignments"]] == [5, 7]
    with office.transaction() as db:
        values = {**row, "asset": other.id, "user_id": user, "satoshi": 9}
        db.execute(asset_schema.assignments.insert().values(values))
    two = acme.ok("get", path)
    assert [each["asset_uuid"] for each in two] == [asset.uuid, other.uuid]
    mary = office.manager(acme, "mary", other.id)
    assert mary.ok("get", path)["asset_uuid"] == other.uuid


@pytest.mark.parametrize("name", ["\u202egpj.knab", "Bo\u200bb", "Bob\ufeff", "\u2060", "Bob\u2028Eve", "\u2066Bob"])
def test_w01_names_show_what_they_are(acme: Api, name: str) -> None:
    """Two that look alike are not two persons, categories or managers to whoever reads a list of them."""
    for path, more in (("/registered_users", {}), ("/categories", {}), ("/managers", {"password": "a good password"})):
        field, action = ("username", "create") if path == "/managers" else ("name", "add")
        assert acme.refused("post", f"{path}/{action}", {field: name, **more}).keys() == {field}
        assert acme.ok("get", path) == []


@pytest.mark.parametrize(
    "name",
    [
        "Müller & Söhne GmbH",
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
        "株式会社",
        "می\u200cخواهم",
        "👩\u200d🚀",
    ],
)
def test_names_are_kept_as_they_are(acme: Api, name: str) -> None:
    user = add(acme, name)
    assert acme.ok("get", f"/registered_users/{user}")["name"] == name
