"""Reading requests strictly: bodies, queries and ids in paths.

A body is JSON whatever its content type says. What it must not hold is refused here, before any operation sees it: keys
that are not asked for or come twice, numbers in another notation than they should have, text that a database cannot
keep. The texts name the field and never repeat its value, because it may be a secret.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from amp0.protocol import issuer as wire
from amp0.protocol.wording import in_words
from amp0.server.issuer.refusals import NothingHere, WrongFields

MAX_ROW_ID = 2**63 - 1

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_AT = re.compile(r"(?s)(?P<text>.*?)(?: - at `(?P<at>\$.*)`)?")
_FIELD = re.compile(r"\$\.([^.\[]+)")
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_ROW_ID = re.compile(r"[1-9][0-9]{0,18}")
# Of no width, breaks of a line, and directions. The joiners U+200C and U+200D belong to the spelling of some languages.
_UNSEEN = re.compile("[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def body(raw: bytes, kind: Any, content_type: str = "") -> Any:
    """A request's body as ``kind``. Credentials may also come form-encoded, as one client sends them.

    Raises :class:`WrongFields`.
    """
    if kind is wire.Credentials and _is_form(raw, content_type):
        return _convert(_form(raw), kind)
    if not raw.strip():
        raise WrongFields("This needs a JSON body")
    try:
        _refuse_nul(raw)
        value = msgspec.json.decode(raw, type=kind)
        _refuse_keys_twice(raw)
        return value
    except msgspec.ValidationError as error:
        raise wrong(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WrongFields("The body is not JSON in UTF-8") from None


def query(parameters: Mapping[str, str], raw: bytes, kind: type[msgspec.Struct]) -> Any:
    """The parameters of a request as ``kind``: from the query; those absent there from the body, if it is a JSON
    object, because one client sends them so. What is not asked for is ignored.

    Raises :class:`WrongFields`.
    """
    rest = _object(raw)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in parameters:
            values[field.name] = _parameter(name, parameters[name], field.type)
        elif name in rest:
            try:
                values[field.name] = msgspec.convert(rest[name], field.type)
            except msgspec.ValidationError as error:
                raise WrongFields.of(name, in_words(str(error))) from None
    return kind(**values)


def wrong(error: msgspec.ValidationError) -> WrongFields:
    """What is wrong with which field."""
    match = _AT.fullmatch(str(error))
    assert match is not None
    text, at = match["text"], match["at"] or "$"
    field = _FIELD.match(at)
    named = _NAMED.fullmatch(text)
    if named is not None:
        text = "This field is required" if named[1].startswith("missing") else "There is no such field"
        if field is None:
            return WrongFields.of(named[2], text)
        text = f"{text}: {named[2]}"
    if field is None:
        return WrongFields(in_words(text))
    # A client looks for the key that it wrote at the top; where below it, is in the text.
    inside = at[field.end() :]
    return WrongFields.of(field[1], in_words(text) + (f" (at {field[1]}{inside})" if inside else ""))


def row_id(text: str) -> int:
    """The number of a thing, from a path. Raises :class:`NothingHere` for anything that is none."""
    if not _ROW_ID.fullmatch(text) or int(text) > MAX_ROW_ID:
        raise NothingHere("there is no such id")
    return int(text)


def plain_text(text: str, field: str) -> str:
    """A name that people read: not all blank, without control characters, and without those that nobody sees or that
    turn the order of the others around. Raises :class:`WrongFields`."""
    if not text.strip() or _UNSEEN.search(text) or any(unicodedata.category(letter) == "Cc" for letter in text):
        raise WrongFields.of(field, "This must be text in one line, and not blank")
    return text


def _refuse_nul(raw: bytes) -> None:
    if _NUL.search(raw):
        raise WrongFields("Text here has no NUL characters")


def _refuse_keys_twice(raw: bytes) -> None:
    """Of two amounts under one name, whoever else reads the request may take the other one."""
    # Numbers stay text: nobody wants them, and long ones take long.
    json.loads(raw.decode(), object_pairs_hook=_once_each, parse_int=str, parse_float=str)


def _once_each(pairs: Sequence[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise WrongFields("A key comes twice in one object")


def _is_form(raw: bytes, content_type: str) -> bool:
    is_form = content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    # A client that does not say what it sends is said to send a form, whatever it is.
    return is_form and not raw.lstrip().startswith(b"{")


def _form(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), errors="strict", max_num_fields=10
        )
    except ValueError:
        raise WrongFields("The form cannot be read") from None
    if any("\0" in name + value for name, value in pairs):
        raise WrongFields("Text here has no NUL characters")
    _once_each(pairs)
    return dict(pairs)


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise wrong(error) from None


def _object(raw: bytes) -> Mapping[str, Any]:
    """The JSON object that a body is, or an empty one."""
    if not raw.strip():
        return {}
    try:
        _refuse_nul(raw)
        value = msgspec.json.decode(raw)
    except (WrongFields, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _parameter(name: str, text: str, kind: Any) -> Any:
    if "\0" in text:
        raise WrongFields.of(name, "Text here has no NUL characters")
    try:
        value = msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise WrongFields.of(name, in_words(str(error))) from None
    if isinstance(value, int) and not isinstance(value, bool) and not _WHOLE_NUMBER.fullmatch(text):
        raise WrongFields.of(name, "Expected a whole number, written with digits only")
    return value
