"""What is wrong with a value, as a person would say it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amp0.protocol import issuer as wire
from amp0.protocol.issuer_fields import Gaid, Hex32, Hex33, Uuid
from amp0.protocol.issuer_policy import Tag
from amp0.protocol.wording import in_words


def said(value: Any, kind: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(value, kind)
    return in_words(str(error.value).partition(" - at ")[0])


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("5", int, "Expected a whole number, not text"),
        (2.5, int, "Expected a whole number, not a number with decimals"),
        (5, str | None, "Expected text or null, not a whole number"),
        ([], dict, "Expected an object, not a list"),
        (None, bool, "Expected true or false, not null"),
        (-1, wire.Satoshi, "Expected a whole number >= 0"),
        (wire.MAX_SATOSHI + 1, wire.Satoshi, f"Expected a whole number <= {wire.MAX_SATOSHI}"),
        ("", wire.Name, "Expected text of length >= 1"),
        ("deadbeef", Hex32, "Expected 64 hex digits"),
        ("hunter2", Hex33, "Expected a compressed public key: 66 hex digits, 02 or 03 first"),
        ("hunter2", Uuid, "Expected a UUID"),
        ("hunter2", Gaid, "Expected an AMP ID: GA and some twenty to forty letters and digits"),
        ("Hunter 2", Tag, "This does not have the right form"),
    ],
)
def test_types_and_forms_are_named(value: Any, kind: Any, words: str) -> None:
    assert said(value, kind) == words


def test_a_ticker_says_what_it_may_be() -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(wire.Issue)}
    assert said("E", fields["ticker"]) == "Expected 3 to 24 letters, digits, dots and dashes"
