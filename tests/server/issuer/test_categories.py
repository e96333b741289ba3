from __future__ import annotations

import sqlalchemy as sa

from amp0.server.issuer import holders
from amp0.server.store import asset_schema

from .office import Api, Office


def category(api: Api, name: str = "Accredited") -> int:
    return int(api.ok("post", "/categories/add", {"name": name, "description": None}, status=201)["id"])


def user(api: Api) -> int:
    return int(api.ok("post", "/registered_users/add", {"name": "Bob"}, status=201)["id"])


def test_categories(office: Office, acme: Api) -> None:
    made = acme.ok("post", "/categories/add", {"name": "A", "description": "text"}, status=201)
    expected = {
        "id": made["id"],
        "name": "A",
        "description": "text",
        "registered_users": [],
        "assets": [],
        "investors": [],
    }
    assert made == expected
    path = f"/categories/{made['id']}"
    assert acme.ok("get", path) == expected
    assert acme.ok("put", path + "/edit", {}) == expected
    assert acme.ok("put", path + "/edit", {"name": "B"}) == {**expected, "name": "B"}
    assert acme.ok("put", path + "/edit", {"name": "B", "description": ""})["description"] == ""
    assert acme.ok("delete", path + "/delete", status=204) is None
    acme.refused("get", path, status=404)
    assert acme.ok("get", "/categories") == []


def test_names_are_the_only_ones_of_an_issuer(office: Office, acme: Api) -> None:
    first, second = category(acme, "A"), category(acme, "B")
    assert acme.refused("post", "/categories/add", {"name": "A"}).keys() == {"name"}
    assert acme.refused("put", f"/categories/{second}/edit", {"name": "A"}).keys() == {"name"}
    acme.ok("put", f"/categories/{first}/edit", {"name": "A", "description": "x"})
    category(office.issuer("rival"), "A")


def test_who_is_in_and_what_requires_it(office: Office, acme: Api) -> None:
    one, two, bob, asset = category(acme, "A"), category(acme, "B"), user(acme), office.asset(acme)
    for _ in range(2):
        shown = acme.ok("put", f"/categories/{one}/registered_users/{bob}/add")
        assert shown["registered_users"] == shown["investors"] == [bob]
        assert acme.ok("put", f"/categories/{one}/assets/{asset.uuid}/add")["assets"] == [asset.uuid]
    assert acme.ok("get", f"/registered_users/{bob}")["categories"] == [one]
    assert acme.ok("get", f"/assets/{asset.uuid}")["requirements"] == [one]
    with office.transaction() as db:
        assert holders.qualifies(db, bob, asset.id)
    # All of them, not one of them.
    acme.ok("put", f"/categories/{two}/assets/{asset.uuid}/add")
    with office.transaction() as db:
        assert not holders.qualifies(db, bob, asset.id)
    acme.ok("put", f"/categories/{two}/registered_users/{bob}/add")
    with office.transaction() as db:
        assert holders.qualifies(db, bob, asset.id)
    for _ in range(2):
        assert acme.ok("put", f"/categories/{one}/registered_users/{bob}/remove")["registered_users"] == []
        assert acme.ok("put", f"/categories/{two}/assets/{asset.uuid}/remove")["assets"] == []
    with office.transaction() as db:
        assert not holders.qualifies(db, bob, asset.id)
    assert acme.ok("get", f"/registered_users/{bob}")["categories"] == [two]


def test_without_requirements_every_registered_user_qualifies(office: Office, acme: Api) -> None:
    bob, asset = user(acme), office.asset(acme)
    with office.transaction() as db:
        assert holders.qualifies(db, bob, asset.id)
        assert not holders.qualifies(db, bob + 1, asset.id)
    acme.ok("delete", f"/registered_users/{bob}/delete", status=204)
    with office.transaction() as db:
        assert not holders.qualifies(db, bob, asset.id)


def test_deleting_a_category_is_no_way_to_loosen(office: Office, acme: Api) -> None:
    one, bob = category(acme), user(acme)
    free, guarded = office.asset(acme), office.asset(acme, loosening_delay=60)
    acme.ok("put", f"/categories/{one}/registered_users/{bob}/add")
    acme.ok("put", f"/categories/{one}/assets/{free.uuid}/add")
    acme.ok("put", f"/categories/{one}/assets/{guarded.uuid}/add")
    acme.refused("delete", f"/categories/{one}/delete")
    assert acme.ok("get", f"/categories/{one}")["assets"] == [free.uuid, guarded.uuid], "nothing was done by halves"
    changes = acme.ok("get", f"/assets/{guarded.uuid}/changes")
    assert [change["action"] for change in changes] == ["add_requirement"]
    # Removing the requirement waits as well.
    assert guarded.uuid in acme.ok("put", f"/categories/{one}/assets/{guarded.uuid}/remove")["assets"]
    with office.transaction() as db:
        table = asset_schema.category_assets
        db.execute(sa.delete(table).where(table.c.asset == guarded.id))
    acme.ok("delete", f"/categories/{one}/delete", status=204)
    assert acme.ok("get", f"/assets/{free.uuid}")["requirements"] == []
    assert acme.ok("get", f"/registered_users/{bob}")["categories"] == []


def test_a_category_that_holders_needed_stays(office: Office, acme: Api) -> None:
    one, asset, bob = category(acme), office.asset(acme), office.account("bob")
    acme.ok("put", f"/categories/{one}/assets/{asset.uuid}/add")
    txid = b"\x01" * 32
    with office.transaction() as db:
        row = {
            "txid": txid,
            "vout": 0,
            "asset": asset.id,
            "is_token": 0,
            "satoshi": 5,
            "account_id": bob.id,
            "pointer": 1,
            "is_burnt": 0,
            "state": 1,
            "height": 5,
            "acquired_at": 0,
            "script_pubkey": b"",
            "abf": bytes(32),
            "vbf": bytes(32),
        }
        db.execute(asset_schema.asset_outputs.insert().values(row))
    acme.refused("delete", f"/categories/{one}/delete")
    with office.transaction() as db:
        table = asset_schema.asset_outputs
        db.execute(sa.update(table).values(spent_by=txid, spent_vin=0, spent_state=1, spent_height=6))
    acme.ok("delete", f"/categories/{one}/delete", status=204)


def test_a_manager_s_word_counts_for_their_assets(office: Office, acme: Api) -> None:
    """A category may be what somebody else's asset requires: letting a user in there is not for everybody."""
    one, bob, asset, other = category(acme), user(acme), office.asset(acme), office.asset(acme)
    mary = office.manager(acme, "mary", asset.id)
    path = f"/categories/{one}/registered_users/{bob}/add"
    acme.ok("put", f"/categories/{one}/assets/{asset.uuid}/add")
    mary.ok("put", path)
    acme.ok("put", f"/categories/{one}/assets/{other.uuid}/add")
    mary.refused("put", path, status=403)
    mary.refused("put", f"/categories/{one}/assets/{asset.uuid}/remove", status=403)
    mary.refused("put", f"/categories/{one}/registered_users/{bob}/remove", status=403)
    assert mary.ok("get", "/categories")[0]["registered_users"] == [bob]
    mary.ok("post", "/categories/add", {"name": "of mary"}, status=201)
