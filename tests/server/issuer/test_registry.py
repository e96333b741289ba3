from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, registry
from amp0.server.issuer.endpoint import Runs
from amp0.server.issuer.refusals import NothingHere, OperationRefused
from amp0.server.refusal import ChainUnavailable
from tests.server.issuer.house import House

URL = "https://registry.example/contracts"


@pytest.fixture
def house() -> Iterator[House]:
    made = House(asset_registry_url=URL)
    made.fund(50_000)
    yield made
    made.close()


@dataclass
class Registry:
    """What was asked, and what is answered."""

    asked: list[httpx.Request] = field(default_factory=list)
    answer: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answer is None:
            raise httpx.ConnectError("no route")
        return self.answer


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry that the server reaches."""
    made, real = Registry(answer=httpx.Response(201, text="ok")), httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: real(transport=httpx.MockTransport(made), **options))
    return made


def _register(house: House, uuid: str) -> wire.Asset:
    return house.call(registry.register, runs=Runs.OUTSIDE, asset_uuid=uuid)


def test_the_registry_gets_the_contract_and_the_asset_is_registered(house: House, there: Registry) -> None:
    issued = house.issue()
    assert _register(house, issued.asset_uuid).is_registered
    (request,) = there.asked
    assert (request.method, str(request.url)) == ("POST", URL)
    body = json.loads(request.content)
    assert body.keys() == {"asset_id", "contract"}
    assert body["asset_id"] == issued.asset_id
    assert body["contract"]["entity"] == {"domain": "silver.example"}


def test_a_second_time_is_refused_in_the_words_that_clients_look_for(house: House, there: Registry) -> None:
    uuid = house.issue().asset_uuid
    _register(house, uuid)
    with pytest.raises(OperationRefused, match="already registered"):
        _register(house, uuid)
    assert len(there.asked) == 1


def test_a_server_without_a_registry_says_so() -> None:
    house = House()
    house.fund(50_000)
    with pytest.raises(OperationRefused, match="no registry"):
        _register(house, house.issue().asset_uuid)
    house.close()


@pytest.mark.parametrize("status", [400, 404, 500])
def test_what_the_registry_refuses_is_not_registered(house: House, there: Registry, status: int) -> None:
    there.answer = httpx.Response(status, text="failed verifying domain link")
    uuid = house.issue().asset_uuid
    with pytest.raises(OperationRefused, match=f"{status}.*domain link"):
        _register(house, uuid)
    there.answer = httpx.Response(200)
    assert _register(house, uuid).is_registered


def test_a_registry_that_is_away_can_be_asked_again(house: House, there: Registry) -> None:
    there.answer = None
    uuid = house.issue().asset_uuid
    with pytest.raises(OperationRefused, match="try again"):
        _register(house, uuid)
    there.answer = httpx.Response(200)
    assert _register(house, uuid).is_registered


def test_an_answer_without_end_is_cut_off(house: House, there: Registry) -> None:
    there.answer = httpx.Response(400, content=b"x" * 10_000_000)
    with pytest.raises(OperationRefused) as refusal:
        _register(house, house.issue().asset_uuid)
    assert len(str(refusal.value)) < 500


def test_what_the_registry_has_already_is_registered(house: House, there: Registry) -> None:
    """The answer to an earlier request was lost on its way."""
    there.answer = httpx.Response(400, text="Asset already registered")
    assert _register(house, house.issue().asset_uuid).is_registered


def test_an_issuance_that_waits_for_the_chain_is_not_registered(house: House, there: Registry) -> None:
    house.is_down = True
    with pytest.raises(ChainUnavailable):
        house.issue()
    with house.store.snapshot() as db:
        uuid = assets.load(db, 1).uuid
    with pytest.raises(OperationRefused, match="chain"):
        _register(house, uuid)
    assert there.asked == []


def test_i01_another_issuer_registers_nothing(house: House, there: Registry) -> None:
    uuid = house.issue().asset_uuid
    with pytest.raises(NothingHere):
        house.call(registry.register, runs=Runs.OUTSIDE, who=house.hire("other"), asset_uuid=uuid)
    assert there.asked == []
