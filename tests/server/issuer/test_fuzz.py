"""Requests made from the description of the API: whatever they hold, the answer is one that the description knows.

Schemathesis makes the requests and judges the answers: no faults, only statuses, content types and shapes that are
described. Half of them name things that exist, so that they come further than the 404.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis import openapi as reader
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from amp0.server.issuer import principals
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.issuer.table import by_path

from .office import NETWORK, Office
from .samples import things

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NUMBERS = itertools.count(0x1000)
CASES = [
    (method, path, mode)
    for path, methods in by_path().items()
    for method, endpoint in methods.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # Where nothing is taken, nothing can be wrong.
    if mode is GenerationMode.POSITIVE or endpoint.body is not None or endpoint.query is not None or "{" in path
]


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Office, Any]]:
    office = Office(wallet=FeeWallet(bytes(32), NETWORK))
    yield office, reader.from_asgi("/api/openapi.json", office.app)
    office.close()


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "_stretch", lambda password, salt: (salt + password.encode())[:32].ljust(32))


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_answers_are_described_whatever_is_asked(
    world: tuple[Office, Any], method: str, path: str, mode: GenerationMode
) -> None:
    office, schema = world
    operation = schema[path][method]
    # Somebody new for each, because some of the requests delete things.
    acme = things(office, f"{next(NUMBERS):x}")

    @given(st.data())
    @settings(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def play(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if data.draw(st.booleans()):
            known = acme.parameters(path)
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        with office.transaction() as db:
            token = principals.live_token(db, office.desk, acme.api.id)
        response = case.call(headers={"authorization": f"token {token}"})
        case.validate_response(response, checks=CHECKS)

    play()
