"""docs/loosening.md: every action is on the page, with what the server makes of it."""

from __future__ import annotations

from pathlib import Path

from amp0.server.issuer.rules_api import MAX_DELAY
from amp0.server.policy.apply import POLICY_FIELDS, Action

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "loosening.md").read_text(encoding="utf-8")


def test_every_action_is_in_the_table() -> None:
    rows = "".join(line for line in TEXT.splitlines() if line.startswith("|"))
    assert [action for action in Action if f"`{action.value}`" not in rows] == []


def test_the_settings_are_named_with_their_bound() -> None:
    assert all(f"`{name}`" in TEXT for name in POLICY_FIELDS if name != "checks_sender_categories")
    assert f"at most {MAX_DELAY // 86_400} days" in TEXT
