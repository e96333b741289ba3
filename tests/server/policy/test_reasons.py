"""What is told to whom."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from typing import get_args, get_type_hints

from amp0.protocol.issuer_policy import Reason
from amp0.protocol.reasons import MOST, as_told, in_one_line, parse_line
from amp0.server.policy import reasons as why
from tests.server.policy.transfers import ASSET


def test_codes_fit_the_wire_and_their_sentences_end_without_a_stop() -> None:
    for code, sentence in why.CODES.items():
        assert re.fullmatch(r"[a-z][a-z_]{2,31}", code)
        assert not sentence.text[0].isupper()
        assert not sentence.text.endswith(".")


def test_every_constant_is_in_the_table() -> None:
    constants = {value for name, value in vars(why).items() if name.isupper() and isinstance(value, str)}
    assert constants == why.CODES.keys()


def test_what_concerns_a_recipient_looks_the_same_to_a_venue() -> None:
    values = {"category": 5, "limit": 1, "balance": 9}
    shown = {
        in_one_line(why.public([why.reason(ASSET, code, "output", 0, **values)]))
        for code, sentence in why.CODES.items()
        if sentence.about == "recipient"
    }
    assert shown == {"recipient_not_allowed: output 0: this asset may not be sent to this recipient"}


def test_several_reasons_about_one_recipient_are_one() -> None:
    """How many there are would tell as well."""
    both = [
        why.reason(ASSET, why.RECIPIENT_NOT_REGISTERED, "output", 1),
        why.reason(ASSET, why.MAX_HOLDERS, "output", 1, limit=5),
        why.reason(ASSET, why.ASSET_LOCKED),
    ]
    assert [one.code for one in why.public(both)] == ["asset_locked", "recipient_not_allowed"]


def test_the_order_does_not_tell_which_rule_is_against_a_recipient() -> None:
    """A sender who breaks a limit on purpose could otherwise see whether the recipient was refused before or after."""
    own = why.reason(ASSET, why.TRANSFER_LIMIT, "input", 0, limit=1, sent=2)
    early = [why.reason(ASSET, why.FOREIGN_DESTINATION, "output", n) for n in (2, 0)]
    late = [why.reason(ASSET, why.MAX_BALANCE, "output", n, balance=1, limit=1) for n in (2, 0)]
    assert why.public([*early, own]) == why.public([own, *late]) == why.public([late[1], own, early[0]])
    assert [(one.code, one.index) for one in why.public([*early, own])] == [
        ("transfer_limit", 0), ("recipient_not_allowed", 0), ("recipient_not_allowed", 2),
    ]  # fmt: skip


def test_sentences_about_senders_and_assets_name_no_recipient() -> None:
    for sentence in why.CODES.values():
        if sentence.about != "recipient":
            assert "recipient" not in sentence.text
            names = {name for _, name, _, _ in string.Formatter().parse(sentence.text) if name}
            assert not names & {"balance", "holders"}


def test_an_issuer_s_own_words_cannot_look_like_another_reason() -> None:
    assert why.foreign_text("no;\nasset_locked: x\x1b[31m\u202e") == "no, asset_locked: x [31m"
    assert len(why.foreign_text("x" * 10_000)) == why.MAX_FOREIGN_TEXT


def test_sides_and_subjects_are_those_of_the_wire() -> None:
    hints = get_type_hints(Reason)
    assert get_args(hints["side"]) == get_args(why.Side)
    assert get_args(hints["about"]) == get_args(why.About)


def test_what_is_told_in_one_line_is_read_back() -> None:
    values = {name: 7 for one in why.CODES.values() for _, name, _, _ in string.Formatter().parse(one.text) if name}
    told = [
        why.reason(ASSET, code, side, None if side == "asset" else i, **values)
        for i, code in enumerate(why.CODES)
        for side in get_args(why.Side)
    ]
    for i in range(0, len(told), MOST):
        # An error over WAMP has no place for the asset.
        few = told[i : i + MOST]
        assert parse_line(in_one_line(few)) == tuple(replace(as_told(one), asset_id="") for one in few)


def test_a_line_is_never_longer_than_lwk_takes() -> None:
    """LWK cuts a message of WAMP off at 10,000 bytes, and could not read it then."""
    told = [why.reason(ASSET, why.AUTHORIZATION_REFUSED, "output", i, error="x" * 200) for i in range(250)]
    line = in_one_line(told)
    assert line.endswith("; and 242 more")
    assert len(line) < 4_000
    assert [one.index for one in parse_line(line)] == list(range(MOST))
    assert parse_line(line)[-1].text.endswith("x")


def test_a_line_that_is_none_is_one_reason() -> None:
    (one,) = parse_line("Two factor authentication required")
    assert (str(one), one.code, one.text) == ("Two factor authentication required", "", str(one))
