"""Who may do what, for every endpoint of the table: nobody has to remember to test a new one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from amp0.server.issuer.endpoint import Endpoint, Who
from amp0.server.issuer.table import ENDPOINTS

from .office import Office
from .samples import Things, body, things

EACH = [(method, endpoint) for endpoint in ENDPOINTS for method in endpoint.methods]
WITH_LOGIN = [(method, endpoint) for method, endpoint in EACH if endpoint.who is not Who.ANYBODY]
SHARED_BY_ALL = {"/gaids/{gaid}/validate", "/gaids/{gaid}/address", "/gaids/{gaid}/balance"}
"""A GAID is nobody's in particular; what is answered about it is the caller's own."""


def name(case: object) -> str | None:
    return case.path if isinstance(case, Endpoint) else None


def parameters(endpoint: Endpoint) -> list[str]:
    return re.findall(r"{(\w+)}", endpoint.path)


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Office, Things, Things]]:
    """An office with two issuers who have something of everything; nothing here may change it."""
    office = Office()
    yield office, things(office, "acme"), things(office, "rival")
    office.close()


World = tuple[Office, Things, Things]


def _dump(db: Connection) -> list[str]:
    """All there is in the database, as text."""
    driver: Any = db.connection.driver_connection
    return list(driver.iterdump())


@pytest.mark.parametrize(("method", "endpoint"), WITH_LOGIN, ids=name)
def test_no_token_is_401(world: World, method: str, endpoint: Endpoint) -> None:
    office, acme, _ = world
    token = acme.api.token
    assert token is not None
    wrong = [
        None,
        "token",
        "token ",
        f"bearer {token}",
        token,
        f"token {token[:-1]}",
        f"token {token}0",
        "token " + "0" * 40,
    ]
    for header in wrong:
        headers = {} if header is None else {"authorization": header}
        answer = office.anybody.request(method, acme.path(endpoint), body(endpoint, acme), headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == "Token"
        assert answer.json().keys() == {"detail"}


@pytest.mark.parametrize(("method", "endpoint"), WITH_LOGIN, ids=name)
def test_b14_a_token_in_the_url_is_no_token(world: World, method: str, endpoint: Endpoint) -> None:
    office, acme, _ = world
    for parameter in ("token", "access_token", "Authorization", "auth_token"):
        answer = office.anybody.request(
            method, acme.path(endpoint), body(endpoint, acme), params={parameter: f"token {acme.api.token}"}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        (method, endpoint)
        for method, endpoint in WITH_LOGIN
        if parameters(endpoint) and endpoint.path not in SHARED_BY_ALL
    ],
    ids=name,
)
def test_i01_another_issuer_s_things_are_not_there(world: World, method: str, endpoint: Endpoint) -> None:
    """For each name in the path: that one foreign, and all others the caller's own."""
    office, acme, rival = world
    mine, theirs = acme.parameters(endpoint.path), rival.parameters(endpoint.path)
    foreign = [one for one in parameters(endpoint) if mine[one] != theirs[one]]
    if endpoint.path.startswith("/gaids/") and "asset_uuid" in foreign:
        foreign = ["asset_uuid"]
    assert foreign
    with office.store.snapshot() as db:
        before = _dump(db)
    for one in foreign:
        path = endpoint.path.format(**{**mine, one: theirs[one]})
        answer = acme.api.request(method, path, body(endpoint, acme))
        assert answer.status_code == 404, (path, answer.text)
        assert answer.json().keys() == {"detail"}
        unknown = {**mine, one: "0" * 8 + "-0000" * 3 + "-" + "0" * 12 if one.endswith("uuid") else 999_999}
        never = acme.api.request(method, endpoint.path.format(**unknown), body(endpoint, acme))
        assert (never.status_code, never.text) == (404, answer.text), "foreign and unknown look different"
    with office.store.snapshot() as db:
        assert list(db.connection.iterdump()) == before


@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        (method, endpoint)
        for method, endpoint in WITH_LOGIN
        if endpoint.who is Who.ISSUER or "asset_uuid" in parameters(endpoint)
    ],
    ids=name,
)
def test_a_manager_without_the_asset_is_403(world: World, method: str, endpoint: Endpoint) -> None:
    _, acme, _ = world
    answer = acme.manager.request(method, acme.path(endpoint), body(endpoint, acme))
    assert answer.status_code == 403, answer.text
    assert answer.json().keys() == {"detail"}


def test_a_locked_manager_is_403_everywhere(world: World) -> None:
    office, acme, _ = world
    locked = office.manager(acme.api, "locked", acme.asset.id, is_locked=True)
    for method, endpoint in WITH_LOGIN:
        answer = locked.request(method, acme.path(endpoint), body(endpoint, acme))
        assert (answer.status_code, answer.json().keys()) == (403, {"detail"}), endpoint.path


def test_a_manager_with_the_asset_is_let_in(office: Office) -> None:
    acme = things(office, "acme")
    manager = office.manager(acme.api, "trusted", acme.asset.id)
    for method, endpoint in WITH_LOGIN:
        if endpoint.who is Who.ISSUER or endpoint.path in ("/user/change-password", "/user/refresh-token"):
            continue
        answer = manager.request(method, acme.path(endpoint), body(endpoint, acme))
        if answer.status_code == 403 and answer.json()["detail"].startswith("This allows more than before"):
            # About what it does, and not about whose it is.
            continue
        assert answer.status_code not in (401, 403), (endpoint.path, answer.text)
        assert answer.status_code < 500, (endpoint.path, answer.text)


def test_an_issuer_is_no_manager(world: World) -> None:
    _, acme, _ = world
    for method, endpoint in WITH_LOGIN:
        if endpoint.who is Who.MANAGER:
            assert acme.api.request(method, acme.path(endpoint)).status_code == 403


def test_wrong_bodies_are_judged_after_the_login(world: World) -> None:
    """Who has no token learns nothing, not even what a body should hold."""
    office, acme, _ = world
    for method, endpoint in WITH_LOGIN:
        if endpoint.body is not None:
            assert office.anybody.request(method, acme.path(endpoint), {"a": 1}).status_code == 401
            assert acme.api.request(method, acme.path(endpoint), {"a": 1}).status_code in (400, 403), endpoint.path
