from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.protocol import issuer as wire
from amp0.server.issuer import parsing
from amp0.server.issuer.refusals import NothingHere, WrongFields

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_parsed_or_refused_with_texts_by_field(raw: bytes) -> None:
    for kind in (wire.UserAdd, wire.ReissueConfirm, wire.Credentials, wire.Gaid, wire.AddressList, wire.LongText):
        try:
            parsing.body(raw, kind)
        except WrongFields as refusal:
            body: Any = refusal.body()
            assert body
            assert all(isinstance(name, str) and isinstance(texts, list) for name, texts in body.items())


@given(st.dictionaries(st.sampled_from(["before", "count", "other"]), st.text(max_size=30)), JSON)
def test_any_query_is_parsed_or_refused(parameters: dict[str, str], value: Any) -> None:
    try:
        paging = parsing.query(parameters, json.dumps(value).encode(), wire.EventPaging)
    except WrongFields as refusal:
        wrong = set(refusal.body())
    else:
        wrong = set()
        assert paging.count is None or 1 <= paging.count <= 1000
    assert wrong <= {"before", "count"}


def test_i02_nothing_but_digits_is_a_number_in_a_query() -> None:
    assert parsing.query({"count": "7"}, b"", wire.EventPaging).count == 7
    assert parsing.query({"count": "null"}, b"", wire.EventPaging).count is None
    for text in ("7.0", "7e0", "0x7", " 7", "7 ", "+7", "07", "٧", "", "1_0", "nan", "Infinity"):
        with pytest.raises(WrongFields):
            parsing.query({"count": text}, b"", wire.EventPaging)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("True", True), ("FALSE", False), ("1", True), ("0", False)]
)
def test_switches_in_a_query(text: str, expected: bool) -> None:
    assert parsing.query({"distributed": text}, b"", wire.AssignmentFilter).distributed is expected


def test_i07_columns_are_those_that_there_are() -> None:
    assert parsing.query({"sortcolumn": "blockheight", "sortorder": "desc"}, b"", wire.Paging).sortorder == "desc"
    for wrong in ({"sortcolumn": "id; DROP TABLE assets"}, {"sortorder": "random()"}, {"sortcolumn": ""}):
        with pytest.raises(WrongFields):
            parsing.query(wrong, b"", wire.Paging)
        with pytest.raises(WrongFields):
            parsing.query({}, json.dumps(wrong).encode(), wire.Paging)


@given(st.integers(min_value=1, max_value=parsing.MAX_ROW_ID))
def test_row_ids(number: int) -> None:
    assert parsing.row_id(str(number)) == number


@given(st.text(max_size=25))
def test_what_is_no_row_id(text: str) -> None:
    try:
        number = parsing.row_id(text)
    except NothingHere:
        return
    assert str(number) == text
    assert number > 0


@pytest.mark.parametrize("number", [-math.inf, math.nan])
def test_numbers_that_json_does_not_have(number: float) -> None:
    with pytest.raises(WrongFields):
        parsing.body(json.dumps({"amount": number}).encode(), wire.BurnRequest)
