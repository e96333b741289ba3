from __future__ import annotations

import pytest

from amp0.server.store import asset_schema

from .office import PASSWORD, Api, Office


def test_from_a_manager_s_beginning_to_work(office: Office, acme: Api) -> None:
    asset = office.asset(acme)
    mary = acme.ok("post", "/managers/create", {"username": "mary", "password": PASSWORD}, status=201)
    assert mary == {"id": mary["id"], "username": "mary", "is_locked": True, "assets": [], "person": "mary"}
    credentials = {"username": "mary", "password": PASSWORD}
    office.anybody.refused("post", "/user/obtain_token", credentials, status=403)
    path = f"/managers/{mary['id']}"
    assert acme.ok("put", path + "/unlock") == {**mary, "is_locked": False}
    api = Api(office, office.anybody.ok("post", "/user/obtain_token", credentials)["token"])
    assert api.ok("get", "/managers/me") == {**mary, "is_locked": False}
    assert api.ok("get", "/assets") == []
    api.refused("get", f"/assets/{asset.uuid}", status=403)
    for _ in range(2):
        added = acme.ok("put", f"{path}/assets/{asset.uuid}/add")
        assert added["assets"] == [asset.uuid]
    assert api.ok("get", f"/assets/{asset.uuid}")["asset_uuid"] == asset.uuid
    assert acme.ok("get", path) == added
    assert acme.ok("get", "/managers") == [added]
    for method in ("put", "post"):
        assert acme.ok(method, f"{path}/assets/{asset.uuid}/remove", content=b"")["assets"] == []
        api.refused("get", f"/assets/{asset.uuid}", status=403)
        acme.ok("put", f"{path}/assets/{asset.uuid}/add")
    acme.ok("put", path + "/lock")
    api.refused("get", "/managers/me", status=403)


def test_an_issuer_sets_a_manager_s_password(office: Office, acme: Api) -> None:
    mary = office.manager(acme, "mary")
    answer = acme.ok("post", f"/managers/{mary.id}/change-password", {"password": "a new password"})
    assert (answer["username"], answer["password"]) == ("mary", "a new password")
    mary.refused("get", "/managers/me", status=401)
    assert Api(office, answer["token"]).ok("get", "/managers/me")["id"] == mary.id
    assert acme.ok("get", "/managers")[0]["id"] == mary.id


@pytest.mark.parametrize(
    "change",
    [
        {"username": "acme"},
        {"username": ""},
        {"username": " x"},
        {"username": "a\u0007"},
        {"password": "short"},
        {"is_locked": False},
    ],
)
def test_managers_who_cannot_be_made(acme: Api, change: dict[str, object]) -> None:
    acme.refused("post", "/managers/create", {"username": "mary", "password": PASSWORD, **change})
    assert acme.ok("get", "/managers") == []


def test_deleted_assets_are_not_shown(office: Office, acme: Api) -> None:
    asset = office.asset(acme)
    mary = office.manager(acme, "mary", asset.id)
    assert mary.ok("get", "/managers/me")["assets"] == [asset.uuid]
    with office.transaction() as db:
        db.execute(asset_schema.assets.update().values(deleted_at=1))
    assert mary.ok("get", "/managers/me")["assets"] == []


def test_what_is_done_with_managers_is_kept(office: Office, acme: Api) -> None:
    asset = office.asset(acme)
    mary = acme.ok("post", "/managers/create", {"username": "mary", "password": PASSWORD}, status=201)["id"]
    acme.ok("put", f"/managers/{mary}/unlock")
    acme.ok("put", f"/managers/{mary}/assets/{asset.uuid}/add")
    acme.ok("post", f"/managers/{mary}/change-password", {"password": PASSWORD + "2"})
    acme.ok("put", f"/managers/{mary}/lock")
    events = acme.get("/events")
    assert [event["action"] for event in events.json()[::-1]] == [
        "create_manager",
        "unlock_manager",
        "add_manager_asset",
        "change_manager_password",
        "lock_manager",
    ]
    assert events.json()[2]["asset_uuid"] == asset.uuid
    assert all(event["username"] == "acme" and event["principal"] == acme.id for event in events.json())
    assert PASSWORD not in events.text
