"""Every endpoint of the server has a method, which asks for it in the server's own words."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import httpx
import msgspec
import pytest

from amp0.errors import IssuerRefused, RemoteProtocolError
from amp0.issuer import Issue, IssuerClient, Outpoint
from amp0.issuer.operations import Operations
from amp0.protocol.issuer import (
    BurnConfirm,
    BurnTxData,
    DistributeConfirm,
    DistributionTxData,
    ReissuanceInput,
    ReissueConfirm,
    UpdateBlinders,
)
from amp0.server.issuer.endpoint import Endpoint
from amp0.server.issuer.table import ENDPOINTS
from tests.issuer.loop import in_a_loop

UUID = "0b1e1ad1-0000-4000-8000-000000000000"
TXID = "77" * 32
GAID = "GA2zxWdhAYtREeYCVFTGRhHQmYMPAP"
WALKS = {name for name in vars(Operations) if not name.startswith("_")}
LOCAL = {"url", "token", "close"}

#: Arguments by name, right for every method that has a parameter of that name.
GIVEN: dict[str, Any] = {
    "asset_uuid": UUID, "distribution_uuid": UUID, "user_id": 7, "category_id": 7, "manager_id": 7, "rule_id": 7,
    "change_id": 7, "assignment_id": 7, "satoshi": 5, "gaid": GAID, "txid": TXID, "name": "Alice", "memo": "x",
    "username": "clerk", "password": "correct horse", "addresses": ["x"], "outpoints": [Outpoint(txid=TXID, vout=0)],
    "tag": "transfer_limit", "parameters": {"satoshi": 5}, "content_hash": TXID, "description": "x",
    "issuer_authorization_endpoint": "https://a.example", "loosening_delay": 5, "height": 5,
    "blinders": UpdateBlinders(txid=TXID, vout=0, asset_blinder=TXID, amount_blinder=TXID),
    "request": Issue(
        name="Bonds", amount=5, destination_address="x", domain="a.example", ticker="BND", pubkey="02" + TXID,
        transfer_restricted=True,
    ),
}  # fmt: skip
CONFIRMS = {
    "confirm_distribution": DistributeConfirm(tx_data=DistributionTxData(txid=TXID)),
    "confirm_reissue": ReissueConfirm(details=[], reissuance_output=ReissuanceInput(txid=TXID, vin=0)),
    "confirm_burn": BurnConfirm(tx_data=BurnTxData(txid=TXID)),
}


def calls() -> list[str]:
    """The client's methods that ask for something."""
    public = {name for name in dir(IssuerClient) if not name.startswith("_")}
    return sorted(public - WALKS - LOCAL)


def matching(request: httpx.Request) -> Endpoint:
    path = request.url.path.removeprefix("/api").rstrip("/")
    found = [
        endpoint
        for endpoint in ENDPOINTS
        if request.method in endpoint.methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", endpoint.path), path)
    ]
    literal = [endpoint for endpoint in found if endpoint.path == path] or found
    assert literal, f"the server has no {request.method} {path}"
    return literal[0]


async def asked_by(name: str, arguments: dict[str, Any]) -> httpx.Request:
    """The one request that a method makes, of a server that says no."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(404, json={"detail": "Not found."})

    transport = httpx.MockTransport(answer)
    async with IssuerClient("https://a.example/api", token="ab" * 20, transport=transport) as client:
        with pytest.raises((IssuerRefused, RemoteProtocolError)):
            await getattr(client, name)(**arguments)
    (request,) = requests
    return request


def arguments_of(name: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(IssuerClient, name)).parameters
    given = {key: GIVEN[key] for key in parameters if key in GIVEN}
    if "done" in parameters:
        given["done"] = CONFIRMS[name]
    return given


@pytest.mark.parametrize("name", calls())
@in_a_loop
async def test_the_server_understands_the_call(name: str) -> None:
    arguments = arguments_of(name)
    request = await asked_by(name, arguments)
    endpoint = matching(request)
    if endpoint.body is not None:
        msgspec.json.decode(request.content, type=endpoint.body)
    else:
        assert request.content == b""
    if endpoint.query is not None:
        known = {field.encode_name for field in msgspec.structs.fields(endpoint.query)}
        assert set(request.url.params) <= known


@in_a_loop
async def test_no_endpoint_is_left_out() -> None:
    asked = set()
    for name in calls():
        arguments = arguments_of(name)
        for left_out in ((), ("height",)):
            kept = {key: value for key, value in arguments.items() if key not in left_out}
            asked.add(matching(await asked_by(name, kept)).path)
    # What logs in, and its way out of the login, are asked for by the session itself.
    assert {endpoint.path for endpoint in ENDPOINTS} - asked == {"/user/obtain_token"}


@in_a_loop
async def test_what_is_not_given_is_not_sent() -> None:
    request = await asked_by("issue", {"request": GIVEN["request"]})
    sent = json.loads(request.content)
    assert None not in sent.values()
    assert sent["transfer_restricted"] is True
