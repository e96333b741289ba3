"""What is wrong with a value, in words: msgspec's texts name Python's types and repeat regular expressions."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping

from amp0.protocol.issuer_fields import Gaid, Hex32, Hex33, Uuid

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_GOT = {**_TYPES, "float": "a number with decimals"}
_TICKER = r"^[A-Za-z0-9.\-]{3,24}$(?!\n)"


def _pattern(kind: object) -> str:
    """The regular expression of one of our text types."""
    (pattern,) = [meta.pattern for meta in typing.get_args(kind) if getattr(meta, "pattern", None)]
    return str(pattern)


_FORMS = {
    _pattern(Hex32): "64 hex digits",
    _pattern(Hex33): "a compressed public key: 66 hex digits, 02 or 03 first",
    _pattern(Uuid): "a UUID",
    _pattern(Gaid): "an AMP ID: GA and some twenty to forty letters and digits",
    _TICKER: "3 to 24 letters, digits, dots and dashes",
}
_NAMES = re.compile(r"`((?:int|float|str|bool|array|object|null)(?: \| [a-z]+)*)`")


def in_words(text: str) -> str:
    """A validation error of msgspec without the place it ends with. What it expects is told, never what it got."""
    if "matching regex" in text:
        forms = [form for pattern, form in _FORMS.items() if repr(pattern) in text]
        return f"Expected {forms[0]}" if forms else "This does not have the right form"
    expected, comma, got = text.partition(", got ")
    named = _named(expected, _TYPES) + (f", not {_named(got, _GOT)}" if comma else "")
    return named[:1].upper() + named[1:]


def _named(text: str, types: Mapping[str, str]) -> str:
    return _NAMES.sub(lambda found: " or ".join(types.get(name, name) for name in found[1].split(" | ")), text)
