"""The shapes of a pre-flight: parsed strictly, and no more of a PSET than it takes."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.elements.pset import Pset
from amp0.errors import RemoteProtocolError
from amp0.protocol import preflight, rpc
from tests.vectors import load

CASES = load("lwk-0.19.json")["spends"]["cases"]
TRANSFER = {"address": "el1x", "asset_id": "ab" * 32, "satoshi": 5}
CALLS: list[tuple[str, list[Any]]] = [
    ("com.amp0.vault.preflight", [1, {"transfers": [TRANSFER], "pset": None, "blinding_nonces": None}]),
    ("com.amp0.vault.preflight", [1, {"transfers": None, "pset": "cHNldA==", "blinding_nonces": [""]}]),
    ("com.amp0.vault.preflight_token", [1]),
]


@pytest.mark.parametrize(("uri", "args"), CALLS)
def test_calls(uri: str, args: list[Any]) -> None:
    call = rpc.parse_call(uri, args)
    assert call is not None
    assert call.args() == args


def test_every_procedure_is_in_this_list() -> None:
    assert {uri for uri, _ in CALLS} == {kind.URI for kind in preflight.PROCEDURES}


@pytest.mark.parametrize(
    "question",
    [
        None,
        [],
        "text",
        {"transfers": TRANSFER},
        {"transfers": [TRANSFER | {"satoshi": 0}]},
        {"transfers": [TRANSFER | {"satoshi": -1}]},
        {"transfers": [TRANSFER | {"satoshi": 1.5}]},
        {"transfers": [TRANSFER | {"satoshi": "5"}]},
        {"transfers": [TRANSFER | {"satoshi": True}]},
        {"transfers": [TRANSFER | {"satoshi": 2_100_000_000_000_001}]},
        {"transfers": [TRANSFER | {"asset_id": "ab"}]},
        {"transfers": [TRANSFER | {"address": ""}]},
        {"transfers": [TRANSFER | {"extra": 1}]},
        {"transfers": [TRANSFER] * 101},
        {"pset": "x" * 1_000_001},
        {"unknown": 1},
    ],
)
def test_questions_out_of_shape(question: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        rpc.parse_call(preflight.AskPreflight.URI, [1, question])
    with pytest.raises(RemoteProtocolError):
        preflight.parse_request(rpc.encode_json({"x": question})[5:-1])


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"transfers": [], "transfers": 5}'])
def test_bodies_that_are_no_question(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        preflight.parse_request(body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_slim_pset_is_the_same_transaction_with_its_amounts(case: dict[str, Any]) -> None:
    full = Pset(case["signed_pset"])
    slim = Pset(str(preflight.slim(full)))
    assert len(str(slim)) < len(str(full)) / 10
    assert [one.prevout for one in slim.inputs()] == [one.prevout for one in full.inputs()]
    for mine, theirs in zip(slim.outputs(), full.outputs(), strict=True):
        assert (mine.script, mine.amount(), mine.asset_bytes) == (theirs.script, theirs.amount(), theirs.asset_bytes)
        assert (mine.txout.asset_field, mine.txout.value_field) == (theirs.txout.asset_field, theirs.txout.value_field)
    assert not preflight.needs_nonces(slim)
    assert str(preflight.slim(slim)) == str(slim)


def test_a_token_is_not_printed() -> None:
    assert "secret" not in repr(preflight.PreflightToken("secret", 5))
