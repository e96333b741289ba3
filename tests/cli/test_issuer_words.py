"""What an issuer is told: amounts, numbers that are handed in again, what waits, and what was not done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from amp0 import IssuerClient, errors
from amp0.cli.issuer_login import Login, plain
from amp0.cli.secret import SecretSource
from amp0.local.stack import Stack
from tests.cli.conftest import PASSWORD, Terminal
from tests.cli.test_issuer import Desk, addresses, desk, gaid, wait_for_treasury

__all__ = ["desk"]


@pytest.mark.parametrize("amount", ["2.5", "1,000", "1_000", "1e3", "0", "٣", "2100000000000001", "9" * 40])
def test_an_amount_is_a_whole_number_of_satoshi(terminal: Terminal, amount: str) -> None:
    """It was 'is not a valid integer range', which says nothing about amounts."""
    for words in (
        ["assign", "EXB", "1", amount],
        ["asset", "burn", "EXB", amount, "--node-auth-file", "cookie"],
        ["asset", "reissue", "EXB", amount, "--node-auth-file", "cookie"],
    ):
        said = terminal.amp0("issuer", *words, "--username", "x")
        assert said.code == 2
        assert "give a whole number of satoshi, digits only" in said.err.replace("\n", " ")


def test_ids_are_shown_so_that_they_can_be_handed_in(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousandth user was shown as number 1,000, and that number was refused."""
    login = Login("http://127.0.0.1:9/api", "x", SecretSource("password", None, None), False)
    row = {"id": 1234, "amount": 1234567, "is_frozen": True, "vesting_timestamp": 4073500800}
    login.show(row)
    assert re.split(r"\s+", capsys.readouterr().out.strip()) == [
        "id", "1234", "amount", "1,234,567", "is_frozen", "yes", "vesting_timestamp", "4073500800"
    ]  # fmt: skip
    login.show([row], ["id", "amount"])
    assert re.search(r"^ *1234 +1,234,567 *$", capsys.readouterr().out, re.MULTILINE)


def test_times_are_shown_as_they_are_typed() -> None:
    assert plain("2026-11-22T17:01:22.000000Z") == "2026-11-22T17:01:22Z"
    assert plain([[1, [2]]]) == "[[1,[2]]]"


def test_the_number_of_a_rule_is_not_that_of_its_change(desk: Desk) -> None:
    """Adding a rule showed the change's id as 'id'; whoever ended the rule of that number ended another one."""
    desk.json("asset", "lock", desk.ticker)  # A change that makes no rule: from here on the two differ.
    added = desk.amp0("rules", "add", desk.ticker, "transfer_limit", "satoshi=5")
    (rule,) = desk.json("rules", "list", desk.ticker)
    facts = dict(line.split(maxsplit=1) for line in added.out.splitlines())
    assert facts["rule"] == str(rule["id"])
    assert facts["change"] != facts["rule"]
    assert "id" not in facts
    assert facts["content"] == "transfer_limit satoshi=5"

    replaced = desk.amp0("rules", "edit", desk.ticker, facts["rule"], "transfer_limit", "satoshi=4")
    facts = dict(line.split(maxsplit=1) for line in replaced.out.splitlines())
    (rule,) = desk.json("rules", "list", desk.ticker)
    assert facts["rule"] == str(rule["id"])
    assert re.search(rf"^ *{rule['id']} +transfer_limit +satoshi=4", desk.amp0("rules", "list", desk.ticker).out, re.M)
    ended = desk.amp0("rules", "end", desk.ticker, facts["rule"])
    assert ended.code == 0
    assert f"rule_id={facts['rule']}" in desk.amp0("rules", "changes", desk.ticker).out


def test_a_date_is_a_time_and_what_a_rule_would_do_is_a_table(desk: Desk) -> None:
    assert desk.json("rules", "add", desk.ticker, "lock_up", "until=2028-01-01")["content"]["parameters"] == {
        "until": 1830297600
    }
    assert "until=2028-01-01" in desk.amp0("rules", "list", desk.ticker).out
    tried = desk.amp0("rules", "try", desk.ticker, "max_holders", "holders=1")
    assert dict(line.split() for line in tried.out.splitlines())["refused"] == "0"


def test_what_loosens_says_that_it_waits(desk: Desk, stack: Stack) -> None:
    """Unlocking, whitelisting and the like answered with what still held, and looked as if they had been done."""
    wait_for_treasury(desk, 1000)
    (coin,) = desk.json("utxos", desk.ticker)
    outpoint = f"{coin['txid']}:{coin['vout']}"
    category = str(desk.json("category", "add", "checked")["id"])
    for words in (
        ["asset", "lock", desk.ticker],
        ["blacklist", desk.ticker, outpoint],
        ["category", "add-asset", category, desk.ticker],
        ["rules", "add", desk.ticker, "max_holders", "holders=9"],
        ["rules", "policy", desk.ticker, "--delay", "3600"],
    ):
        said = desk.amp0(*words)
        assert (said.code, "waits" in said.err) == (0, False), words
    rule = str(desk.json("rules", "list", desk.ticker)[0]["id"])
    for words in (
        ["asset", "unlock", desk.ticker],
        ["asset", "edit", desk.ticker, "--authorization-endpoint", "https://issuer.example/authorize"],
        ["whitelist", desk.ticker, outpoint],
        ["category", "remove-asset", category, desk.ticker],
        ["treasury", "add", desk.ticker, addresses(stack)[0]],
        ["rules", "end", desk.ticker, rule],
    ):
        said = desk.amp0(*words)
        assert said.code == 0, said.err
        assert f"this loosens, and waits. See: amp0 issuer rules changes {desk.ticker} --state pending" in said.err
    assert len(desk.json("rules", "changes", desk.ticker, "--state", "pending")) == 6


def test_a_treasury_address_that_waits_for_nothing_is_added(desk: Desk, stack: Stack) -> None:
    said = desk.amp0("treasury", "add", desk.ticker, addresses(stack)[0].upper())
    assert (said.code, said.err) == (0, "added\n")


def test_freezing_an_account_that_nobody_has_is_an_error(desk: Desk, opened: Terminal) -> None:
    """A mistyped AMP ID was frozen with exit code 0: the stolen wallet went on paying."""
    said = desk.amp0("blacklist", desk.ticker, "--gaid", "GA2zxWdhAYtREeYCVFTGRhHQmYMPAP")
    assert said.code == 20
    assert "is no AMP ID of an account here; nothing was done" in said.err
    empty = desk.amp0("blacklist", desk.ticker, "--gaid", gaid(opened))
    assert (empty.code, empty.err) == (0, "this account has nothing of the asset: nothing was done\n")


def test_a_distribution_under_way_shows_what_it_pays(desk: Desk, opened: Terminal) -> None:
    user = str(desk.json("user", "add", "Alice", "--gaid", gaid(opened))["id"])
    wait_for_treasury(desk, 1000)
    desk.json("assign", desk.ticker, user, "234")
    with IssuerClient(desk.stack.api_url, desk.name, PASSWORD) as client:
        client.create_distribution(client.assets()[0].asset_uuid)
    assert re.search(r"UNCONFIRMED +234 +–", desk.amp0("distributions", desk.ticker).out)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ConnectionFailed("gone"), "whether it was issued is not known. The same command again with --key only"),
        (errors.ServerBusy("the fee wallet is empty"), "the server was busy. The same command again with --key only"),
    ],
)
def test_an_issuance_without_an_answer_says_how_to_ask_again(
    desk: Desk, stack: Stack, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fails(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(IssuerClient, "issue", fails)
    said = desk.amp0(
        "asset", "issue", "Test Bond", "--ticker", "ONCE", "--domain", "example.com", "--pubkey", "02" * 33,
        "--amount", "5", "--destination", addresses(stack)[0], "--key", "only",
    )  # fmt: skip
    assert said.code in (40, 42)
    assert told in said.err


def test_nothing_lost_is_said(desk: Desk) -> None:
    assert desk.amp0("lost-outputs", desk.ticker).out == "nothing is lost\n"


@pytest.mark.parametrize(
    "error", [errors.BackendUnavailable("away"), errors.ConnectionFailed("away"), KeyboardInterrupt()]
)
def test_who_is_stopped_in_the_middle_is_told_to_go_on(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(as_json: bool) -> str:
        login = Login("http://127.0.0.1:9/api", "x", SecretSource("password", None, None), as_json)
        with pytest.raises(type(error)), login.resumable():
            raise error
        return capsys.readouterr().err

    assert "run the same command again to go on: what was sent is finished, not sent twice" in stopped(False)
    assert stopped(True) == ""


def test_with_json_wrong_usage_is_one_object_too(terminal: Terminal) -> None:
    cases: list[Callable[[], Any]] = [
        lambda: terminal.amp0("issuer", "assign", "EXB", "1", "2.5", "--username", "x", "--json"),
        lambda: terminal.amp0("issuer", "asset", "list", "--json"),
        lambda: terminal.amp0("nonsense", "--json"),
    ]
    for case in cases:
        said = case()
        told = json.loads(said.err)["error"]
        assert (said.code, told["exit_code"]) == (2, 2)
        assert told["message"]


@pytest.mark.parametrize(
    ("recipient", "told"),
    [
        ("address:1.5", "'1.5' is not an amount: give ADDRESS:SATOSHI[:ASSET_ID], satoshi in digits only"),
        ("address:1:EXB", "'EXB' is not an asset id: 64 hex digits"),
        ("address", "is not ADDRESS:SATOSHI"),
    ],
)
def test_a_recipient_that_cannot_be_read_says_which_part(opened: Terminal, recipient: str, told: str) -> None:
    said = opened.venue("preflight", "--to", recipient)
    assert said.code == 20
    assert told in said.err
