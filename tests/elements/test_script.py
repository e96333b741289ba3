"""Script templates."""

from __future__ import annotations

import pytest

from amp0.elements import script
from amp0.elements.script import Script
from amp0.errors import InvalidInput

GREEN = bytes.fromhex("02c2837c640bc710ecd35643102f6fd45c431ac94ff142f9ee2d69efcce5b438b7")
USER = bytes.fromhex("0299ee24d53fdb876924a0688889db9981f5595b40ae3175078f57b6ca21e3b192")


def test_an_amp0_output_script_is_the_one_a_stock_client_derives() -> None:
    """Account 1, pointer 1 of the wallet documented with the Green protocol."""
    witness_script = script.multisig_2of2(GREEN, USER)
    assert script.p2sh_p2wsh(witness_script).hex() == "a9142340c270c4a0d51de1cfdc2b1bc53a89fda2478387"
    assert script.p2sh_p2wsh_script_sig(witness_script)[:3].hex() == "220020"
    assert script.parse_multisig_2of2(witness_script) == (GREEN, USER)


@pytest.mark.parametrize(
    "other",
    [
        script.multisig_2of2(GREEN, USER) + b"\x51",
        script.multisig_2of2(GREEN, USER)[:-1],
        b"\x51" + script.multisig_2of2(GREEN, USER)[1:],
        script.multisig_2of2(GREEN, USER)[:-2] + b"\x53\xae",
        script.push(script.multisig_2of2(GREEN, USER)),
        b"",
    ],
)
def test_nothing_else_parses_as_a_2of2(other: bytes) -> None:
    assert script.parse_multisig_2of2(other) is None


def test_the_time_lock_script_of_account_0() -> None:
    made = script.csv_2of2_then_1(GREEN, USER, 65535)
    assert made.hex() == f"748c6321{GREEN.hex()}ad6703ffff00b2756821{USER.hex()}ac"
    with pytest.raises(InvalidInput):
        script.csv_2of2_then_1(GREEN, USER, 65536)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (1440, "02a005"),
        (65535, "03ffff00"),
    ],
)
def test_script_numbers_are_minimal(n: int, expected: str) -> None:
    assert script.push_number(n).hex() == expected


@pytest.mark.parametrize("size", [0, 1, 75, 76, 255, 256, 520])
def test_pushes_round_trip(size: int) -> None:
    data = b"\x07" * size
    assert script.pushes(script.push(data)) == [data]


@pytest.mark.parametrize("bad", [b"\x05abc", b"\x4c", b"\x4c\x05ab", b"\x4d\x01", b"\xac", b"\x51\xae"])
def test_what_is_not_push_only_is_not_read_as_pushes(bad: bytes) -> None:
    assert script.pushes(bad) is None


def test_unspendable_and_witness_programs() -> None:
    assert script.is_unspendable(b"\x6a")
    assert script.is_unspendable(bytes(10_001))
    assert not script.is_unspendable(b"")
    assert script.witness_program(script.p2wsh(b"x")) == (0, script.p2wsh(b"x")[2:])
    assert script.witness_program(b"\x51\x20" + bytes(32)) == (1, bytes(32))
    assert script.witness_program(script.p2pkh(bytes(20))) is None
    assert script.witness_program(b"\x00\x01\x00") is None


def test_a_script_for_people() -> None:
    shown = Script("6a026869")
    assert str(shown) == "6a026869"
    assert shown.to_asm() == "OP_RETURN OP_PUSHBYTES_2 6869"
    assert shown.is_provably_unspendable()
    assert shown == Script.new_op_return(b"hi") == Script.from_bytes(b"\x6a\x02hi")
    assert shown.bytes() == shown.to_bytes() == b"\x6a\x02hi"
    assert str(Script.empty()) == ""
    assert Script("05aa").to_asm() == "<push past end>"
    with pytest.raises(InvalidInput):
        Script("6a0")
