"""Every endpoint of the reference is there, under its path, for its methods, with its status code and login."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from amp0.server import issuer
from amp0.server.issuer import table
from amp0.server.issuer.endpoint import Who
from amp0.server.issuer.table import by_path

from .office import Api, Office

REFERENCE = """
GET /info 200 -
GET /changelog 200 -
POST /user/obtain_token 200 -
GET /user/refresh-token 200 T
POST /user/refresh-token 200 T
POST /user/change-password 200 T
GET /registered_users 200 T
POST /registered_users/add 201 T
GET /registered_users/{} 200 T
PUT /registered_users/{}/edit 200 T
DELETE /registered_users/{}/delete 204 T
GET /registered_users/{}/summary 200 T
GET /registered_users/{}/gaids 200 T
POST /registered_users/{}/gaids/add 200 T
POST /registered_users/{}/gaids/set-default 200 T
GET /categories 200 T
POST /categories/add 201 T
GET /categories/{} 200 T
PUT /categories/{}/edit 200 T
DELETE /categories/{}/delete 204 T
PUT /categories/{}/registered_users/{}/add 200 T
PUT /categories/{}/registered_users/{}/remove 200 T
PUT /categories/{}/assets/{}/add 200 T
PUT /categories/{}/assets/{}/remove 200 T
GET /assets 200 T
POST /assets/issue 201 T
GET /assets/{} 200 T
PUT /assets/{}/edit 200 T
DELETE /assets/{}/delete 204 T
GET /assets/{}/register 200 T
GET /assets/{}/register-authorized 200 T
PUT /assets/{}/lock 200 T
PUT /assets/{}/unlock 200 T
GET /assets/{}/activities 200 T
GET /assets/{}/txs 200 T
GET /assets/{}/txs/{} 200 T
GET /assets/{}/ownerships 200 T
GET /assets/{}/ownerships/{} 200 T
GET /assets/{}/balance 200 T
GET /assets/{}/lost-outputs 200 T
GET /assets/{}/summary 200 T
GET /assets/{}/utxos 200 T
POST /assets/{}/utxos/blacklist 200 T
POST /assets/{}/utxos/whitelist 200 T
GET /assets/{}/reissuances 200 T
POST /assets/{}/reissue-request 200 T
POST /assets/{}/reissue-confirm 200 T
POST /assets/{}/burn-request 200 T
POST /assets/{}/burn-confirm 200 T
POST /assets/{}/update-blinders 200 T
GET /assets/{}/memo 200 T
POST /assets/{}/memo/set 200 T
GET /assets/{}/treasury-addresses 200 T
POST /assets/{}/treasury-addresses/add 200 T
DELETE /assets/{}/treasury-addresses/delete 200 T
GET /assets/{}/assignments 200 T
POST /assets/{}/assignments/create 200 T
GET /assets/{}/assignments/{} 200 T
PUT /assets/{}/assignments/{}/lock 200 T
PUT /assets/{}/assignments/{}/unlock 200 T
DELETE /assets/{}/assignments/{}/delete 204 T
GET /assets/{}/distributions 200 T
GET /assets/{}/distributions/create 200 T
GET /assets/{}/distributions/{} 200 T
POST /assets/{}/distributions/{}/confirm 200 T
DELETE /assets/{}/distributions/{}/cancel 200 T
GET /gaids/{}/validate 200 T
GET /gaids/{}/address 200 T
GET /gaids/{}/registered_user 200 T
GET /gaids/{}/balance 200 T
GET /gaids/{}/balance/{} 200 T
GET /managers 200 issuer
POST /managers/create 201 issuer
GET /managers/me 200 manager
GET /managers/{} 200 issuer
PUT /managers/{}/lock 200 issuer
PUT /managers/{}/unlock 200 issuer
POST /managers/{}/change-password 200 issuer
PUT /managers/{}/assets/{}/add 200 issuer
PUT /managers/{}/assets/{}/remove 200 issuer
POST /managers/{}/assets/{}/remove 200 issuer
"""
OUR_OWN = """
GET /events
PUT /registered_users/{}/freeze
PUT /registered_users/{}/unfreeze
GET /assets/{}/burns
GET /assets/{}/rules
POST /assets/{}/rules/add
POST /assets/{}/rules/try
PUT /assets/{}/rules/{}/edit
DELETE /assets/{}/rules/{}/delete
GET /assets/{}/changes
POST /assets/{}/changes/{}/approve
POST /assets/{}/changes/{}/cancel
GET /assets/{}/policy
PUT /assets/{}/policy
GET /assets/{}/refusals
GET /assets/{}/distributions/{}/file
"""
TABLE = {
    (method, re.sub(r"{\w+}", "{}", path)): endpoint
    for path, methods in by_path().items()
    for method, endpoint in methods.items()
}


@pytest.mark.parametrize("line", REFERENCE.strip().splitlines())
def test_every_endpoint_of_the_reference_is_there(line: str) -> None:
    method, path, status, login = line.split()
    endpoint = TABLE[method, path]
    assert endpoint.status == int(status)
    assert (endpoint.status == 204) == (method == "DELETE" and status == "204")
    expected = {"-": {Who.ANYBODY}, "T": {Who.TEAM, Who.ISSUER}, "issuer": {Who.ISSUER}, "manager": {Who.MANAGER}}
    assert endpoint.who in expected[login]


def test_what_is_beyond_the_reference_is_known() -> None:
    """An endpoint that is added is added here as well, by somebody who meant it."""
    known = {tuple(line.split()[:2]) for line in (REFERENCE + OUR_OWN).split("\n") if line}
    assert set(TABLE) <= known


def test_every_module_that_has_endpoints_is_in_the_table() -> None:
    names = [module.name for module in pkgutil.iter_modules(issuer.__path__)]
    modules = [importlib.import_module(f"{issuer.__name__}.{name}") for name in names]
    having = [module for module in modules if isinstance(getattr(module, "ENDPOINTS", None), tuple | list)]
    assert {module.__name__ for module in having if module is not table} == {one.__name__ for one in table.MODULES}


@pytest.mark.parametrize(
    "path",
    [
        "/tx/broadcast",
        "/tx/broadcast/00",
        "/asset_groups",
        "/asset_permissions",
        "/audits",
        "/investors",
        "/investors/1",
    ],
)
def test_paths_that_only_one_client_believes_in(acme: Api, path: str) -> None:
    for method in ("get", "post"):
        assert acme.refused(method, path, {}, status=404).keys() == {"detail"}


def test_underscore_spellings_are_not_there_and_change_nothing(office: Office, acme: Api) -> None:
    """One client posts a dummy password to one of them, to see whether the server answers, and expects an error."""
    for path in ("/user/change_password", "/user/refresh_token", "/user/obtain-token"):
        for slash in ("", "/"):
            acme.refused("post", path + slash, {"password": "dummy password"}, status=404)
    user = "/registered_users/1/categories"
    for verb in ("add", "delete"):
        acme.refused("put", f"{user}/{verb}", {"categories": [1]}, status=404)
    credentials = {"username": "acme", "password": "correct horse battery"}
    assert office.anybody.ok("post", "/user/obtain_token", credentials) == {"token": acme.token}
