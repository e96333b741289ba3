"""Recipients and the files between the four steps of a payment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.cli.spend import Recipient, pset_from_file, read_file, transaction_from_file, write_file
from amp0.errors import Amp0Error, ConfigError, InvalidInput


def test_a_recipient_is_an_address_an_amount_and_perhaps_an_asset() -> None:
    assert Recipient.from_string("el1xyz:1000") == Recipient("el1xyz", 1000, None)
    assert Recipient.from_string(f"el1xyz:1:{'AB' * 32}") == Recipient("el1xyz", 1, "ab" * 32)


@pytest.mark.parametrize("text", ["", "a", "a:", ":1", "a:1:", "a:1:b:c", "a:-1", "a:1.5", "a:1e3", "a:٣", "a: 1"])
def test_anything_else_is_refused_with_the_shape_it_needs(text: str) -> None:
    with pytest.raises(InvalidInput, match="ADDRESS:SATOSHI"):
        Recipient.from_string(text)


@given(st.text())
def test_recipients_parse_or_are_refused(text: str) -> None:
    try:
        recipient = Recipient.from_string(text)
    except InvalidInput:
        return
    assert text.lower().startswith(f"{recipient.address}:".lower())


def test_a_file_is_written_and_read_again(tmp_path: Path) -> None:
    path = str(tmp_path / "step.json")
    write_file(path, {"amp0": "pset", "pset": "x"})
    assert read_file(path) == {"amp0": "pset", "pset": "x"}


@given(st.binary(max_size=200))
def test_a_file_of_anything_is_refused_with_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.json"
    path.write_bytes(data)
    for parse in (pset_from_file, transaction_from_file):
        with pytest.raises(Amp0Error):
            parse(str(path))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"pset": "x"},
        {"pset": 1, "blinding_nonces": []},
        {"pset": "x", "blinding_nonces": [1]},
        {"pset": "x", "blinding_nonces": "aa"},
        {"pset": "not base64", "blinding_nonces": []},
    ],
)
def test_a_file_without_its_parts_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "step.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InvalidInput):
        pset_from_file(str(path))
    with pytest.raises(InvalidInput, match="lacks tx"):
        transaction_from_file(str(path))


def test_a_file_of_another_step_names_the_right_command(tmp_path: Path) -> None:
    path = str(tmp_path / "step.json")
    write_file(path, {"amp0": "transaction", "tx": "00"})
    with pytest.raises(InvalidInput, match="amp0 tx broadcast"):
        pset_from_file(path)
    write_file(path, {"amp0": "pset", "pset": ""})
    with pytest.raises(InvalidInput, match="amp0 tx sign"):
        transaction_from_file(path)


def test_missing_and_unwritable_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_file(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot write"):
        write_file(str(tmp_path / "no" / "folder"), {})
