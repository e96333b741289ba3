"""amp0 preflight, and amp0 send that asks first: what is said, and the exit codes."""

from __future__ import annotations

import json

import pytest

from amp0.client import preflight
from amp0.client.preflight import Preflight
from amp0.errors import CallFailed
from amp0.local.stack import Stack
from amp0.protocol.issuer_policy import Reason
from tests.cli.conftest import Terminal, deposit

REASONS = (
    Reason(
        code="transfer_limit", side="input", index=None, asset_id="ab" * 32, text="at most 5 satoshi", about="sender"
    ),
    Reason(
        code="recipient_not_allowed", side="output", index=0, asset_id="ab" * 32, about="recipient",
        text="this asset may not be sent to this recipient",
    ),
)  # fmt: skip


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The server says no to every pre-flight; gives what it was asked about."""
    plans: list[object] = []

    async def ask(_call: object, _network: object, _account: int, plan: object) -> Preflight:
        plans.append(plan)
        return Preflight(False, REASONS)

    monkeypatch.setattr(preflight, "ask", ask)
    return plans


def test_a_transfer_that_is_allowed(opened: Terminal, stack: Stack) -> None:
    address = deposit(opened, stack, 20_000)
    asked = opened.venue("preflight", "--to", f"{address}:1000", "--to", f"{address}:5:{'ab' * 32}")
    assert (asked.code, asked.out) == (0, "allowed\n")
    assert opened.venue("preflight", "--to", f"{address}:1", "--json").json() == {"allowed": True, "reasons": []}


def test_a_file_of_tx_build(opened: Terminal, stack: Stack) -> None:
    deposit(opened, stack, 20_000)
    built = opened.venue("tx", "build", "--drain")
    asked = opened.venue("preflight", "--in", "-", stdin=built.out)
    assert (asked.code, asked.out) == (0, "allowed\n"), asked.err


def test_a_transfer_that_is_not_allowed(opened: Terminal, stack: Stack, refusing: list[object]) -> None:
    address = deposit(opened, stack, 20_000)
    said = opened.venue("preflight", "--to", f"{address}:7:{'ab' * 32}")
    assert said.code == 52
    assert said.out.splitlines() == [
        "not allowed",
        f"  transfer_limit: at most 5 satoshi ({'ab' * 32})",
        f"  recipient_not_allowed: output 0: this asset may not be sent to this recipient ({'ab' * 32})",
    ]
    assert refusing == [[(address, 7, "ab" * 32)]]
    said = opened.venue("preflight", "--to", f"{address}:7", "--json")
    assert said.code == 52
    answer = json.loads(said.out)
    assert not answer["allowed"]
    assert [(one["code"], one["index"]) for one in answer["reasons"]] == [
        ("transfer_limit", None),
        ("recipient_not_allowed", 0),
    ]
    assert refusing[1] == [(address, 7, stack.network.policy_asset())]


def test_send_asks_before_it_signs(opened: Terminal, stack: Stack, refusing: list[object]) -> None:
    deposit(opened, stack, 20_000)
    asset_id = stack.dev.issue(1000)
    address = deposit(opened, stack, 600, asset_id)
    order = ("send", "--mnemonic-file", opened.path("mnemonic"), "--to", f"{address}:5:{asset_id}")
    said = opened.venue(*order)
    assert said.code == 52
    assert "recipient_not_allowed: output 0: this asset may not be sent to this recipient" in said.err
    said = opened.venue(*order, "--json")
    assert said.code == 52
    error = json.loads(said.err.splitlines()[-1])["error"]
    assert error["type"] == "CosignRefused"
    assert error["reasons"][1] == {
        "code": "recipient_not_allowed",
        "side": "output",
        "index": 0,
        "asset_id": "ab" * 32,
        "text": "this asset may not be sent to this recipient",
    }
    assert len(refusing) == 2
    assert opened.venue("balance", "--json").json() == {stack.network.policy_asset(): 20_000, asset_id: 600}


def test_send_goes_on_where_the_server_has_no_pre_flight(
    opened: Terminal, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def missing(*_arguments: object) -> Preflight:
        raise CallFailed("no such procedure", name="wamp.error.no_such_procedure")

    monkeypatch.setattr(preflight, "ask", missing)
    deposit(opened, stack, 20_000)
    asset_id = stack.dev.issue(1000)
    address = deposit(opened, stack, 600, asset_id)
    order = ("send", "--mnemonic-file", opened.path("mnemonic"), "--to", f"{address}:5:{asset_id}", "--json")
    assert opened.venue(*order).json()["fee"] > 0
    assert opened.venue("preflight", "--to", f"{address}:5").code == 50


def test_wrong_usage(opened: Terminal) -> None:
    assert opened.venue("preflight").code == 2
    assert opened.venue("preflight", "--to", "x:5", "--in", "-").code == 2
    assert opened.venue("preflight", "--to", "nonsense").code == 20
    assert opened.venue("preflight", "--to", "nonsense:5").code == 20
    assert opened.venue("preflight", "--in", "/nowhere").code == 11
