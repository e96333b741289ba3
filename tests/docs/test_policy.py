"""docs/policy.md says what the code does: rules in their order, parameters that parse, codes with their sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from amp0.protocol.reasons import in_one_line
from amp0.server.issuer import rules_api
from amp0.server.policy import refusals
from amp0.server.policy.reasons import CODES, REPLACEABLE, public, reason
from amp0.server.policy.rules import ALWAYS, SETTABLE, parameters, parse
from tests.server.policy.transfers import ASSET

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "policy.md").read_text(encoding="utf-8")
ALWAYS_TABLE, SETTABLE_PART = TEXT.split("## What an issuer sets")


def sections() -> Iterator[tuple[str, str]]:
    """Tag and text of each rule that can be set."""
    part = SETTABLE_PART.split("## The issuer's endpoint")[0]
    _, *found = re.split(r"^### `(\w+)`$", part, flags=re.MULTILINE)
    return zip(found[::2], found[1::2], strict=True)


def test_the_rules_that_always_hold_are_listed_in_their_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", ALWAYS_TABLE, re.MULTILINE)
    assert [tag for tag, _ in rows] == [rule.TAG for rule in ALWAYS]
    assert {code for _, codes in rows for code in re.findall(r"`(\w+)`", codes)} <= CODES.keys()


def test_every_rule_that_can_be_set_has_its_section_and_an_example_that_parses() -> None:
    examples = {}
    for tag, text in sections():
        (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        rule = json.loads(example)
        assert rule["tag"] == tag
        assert json.loads(json.dumps(parameters(parse(tag, rule["parameters"])))) == rule["parameters"]
        examples[tag] = rule
    assert examples.keys() == SETTABLE.keys()


def test_every_code_has_its_row_and_its_place() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (asset|sender|recipient) \| (.*) \|$", TEXT, re.MULTILINE)
    assert rows == [(code, one.about, one.text) for code, one in CODES.items()]
    told = TEXT.split("| code | about |")[0]
    explained = set(re.findall(r"`(\w+)`", told))
    assert CODES.keys() - explained == {
        "engine_error", "unknown_rule", "policy_changed", "authorization_refused", "authorization_failed",
    }  # fmt: skip


def test_what_a_yes_replaces_is_said() -> None:
    part = re.search(r"nothing else: (.*?)\. Its no", TEXT, re.DOTALL)
    assert part is not None
    assert set(re.findall(r"`(\w+)`", part[1])) == REPLACEABLE


def test_the_text_of_a_refusal_is_the_one_shown() -> None:
    (shown,) = re.findall(r"^    (transfer_limit: .*)$", TEXT, re.MULTILINE)
    found = [
        reason(ASSET, "recipient_not_registered", "output", 0),
        reason(ASSET, "transfer_limit", "input", 0, limit=5, sent=60),
    ]
    assert shown == in_one_line(public(found))


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"up to {rules_api.MAX_RULES} of them" in TEXT
    assert f"the last {refusals.KEPT:,} refusals" in TEXT
