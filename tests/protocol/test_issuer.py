"""The shapes of the issuer API: keys as clients know them, strict requests, and numbers that lose no satoshi."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.protocol import issuer as wire

TXID = "ab" * 32


@given(st.integers(min_value=0, max_value=wire.MAX_SATOSHI))
def test_decimal_numbers_lose_no_satoshi(satoshi: int) -> None:
    text = msgspec.json.encode(wire.decimal_number(satoshi)).decode()
    assert Decimal(text) * wire.COIN == satoshi
    assert wire.satoshi_of(json.loads(text)) == satoshi
    assert wire.satoshi_of(-json.loads(text)) == -satoshi


@pytest.mark.parametrize(
    "number",
    [
        *(0.1 + 0.2, 1e-9, float("nan"), float("inf"), -float("inf"), 21_000_000.00000001, True, "1", None),
        *(1e300, -1e308, 10**400, -(10**400), 2**63, 21_000_001),
    ],
)
def test_i02_numbers_that_are_no_amount(number: object) -> None:
    """Numbers that no double holds, or only until they are multiplied, were an OverflowError once: a fault of the
    server for whoever confirmed with one."""
    with pytest.raises(ValueError, match="this is"):
        wire.satoshi_of(number)


@pytest.mark.parametrize("amount", ["1.0", "1e3", '"1"', "0", "-1", str(wire.MAX_SATOSHI + 1), "true", "null", "1.5"])
def test_i02_amounts_are_whole_numbers_of_satoshi(amount: str) -> None:
    body = f'{{"amount_to_reissue": {amount}}}'
    with pytest.raises(msgspec.ValidationError, match=r"amount_to_reissue"):
        msgspec.json.decode(body, type=wire.ReissueRequest)


def test_i06_requests_refuse_unknown_keys() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"name": "A", "is_admin": true}', type=wire.UserAdd)


def test_a_line_break_at_the_end_is_no_part_of_an_id() -> None:
    for kind, text in (
        (wire.Hex32, TXID),
        (wire.Uuid, "0" * 8 + "-0000" * 3 + "-" + "0" * 12),
        (wire.Gaid, "GA" + "b" * 28),
    ):
        assert msgspec.convert(text, kind) == text
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text + "\n", kind)


def test_keys_are_those_that_clients_read() -> None:
    activity = wire.Activity(
        type="issuance",
        datetime=wire.date_text(1_700_000_000),
        description="",
        txid=TXID,
        vout=0,
        blockheight=1,
        asset_blinder=wire.UNKNOWN_BLINDER,
        amount_blinder=wire.UNKNOWN_BLINDER,
        registered_user_spaced=7,
        registered_user=7,
        investor=7,
        gaid=None,
        amount=5,
    )
    found = json.loads(msgspec.json.encode(activity))
    assert found["registered user"] == found["registered_user"] == found["investor"] == 7
    assert found["GAID"] is None
    assert found["datetime"] == "2023-11-14T22:13:20.000000Z"
    user = wire.User(id=1, gaid=None, is_company=False, name="A", categories=[], creator=1)
    assert {"id", "GAID", "is_company", "name", "categories", "creator"} <= json.loads(msgspec.json.encode(user)).keys()
    utxo = wire.Utxo(txid=TXID, vout=0, asset=TXID, amount=1, registered_user=None, gaid=None, blacklisted=False)
    assert "gaid" in json.loads(msgspec.json.encode(utxo))


def test_confirm_payloads_take_whatever_a_node_says() -> None:
    body = {
        "tx_data": {
            "txid": TXID,
            "details": [{"vout": 0, "amount": -1.5, "category": "send", "label": "x", "new": {}}],
        },
        "change_data": [{"txid": TXID, "vout": 1, "scriptpubkey": "00", "safe": True}],
        "more": 1,
    }
    confirm = msgspec.json.decode(json.dumps(body), type=wire.DistributeConfirm)
    assert confirm.tx_data.details[0].vout == 0
    assert confirm.change_data[0].amountblinder is None


def test_secrets_are_not_shown() -> None:
    for value in (
        wire.Credentials(username="a", password="hunter2hunter2"),
        wire.PasswordChange(password="hunter2hunter2"),
        wire.PasswordChanged(username="a", password="hunter2hunter2", token="hunter2hunter2"),
        wire.Token(token="hunter2hunter2"),
        wire.ManagerCreate(username="a", password="hunter2hunter2"),
    ):
        assert "hunter2" not in repr(value)
