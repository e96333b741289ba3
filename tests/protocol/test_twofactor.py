"""Two-factor on the wire: what clients send is read, replies have exactly their keys, and a dispute's text its form."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.elements.keys import ExtendedKey
from amp0.errors import InvalidInput, RemoteProtocolError
from amp0.protocol import rpc, twofactor
from amp0.protocol.credentials import challenge_hash

CODE = {"method": "email", "code": "123456"}
NONCE = "ab" * 32
MASTER = ExtendedKey.from_seed(b"\x07" * 64, main=False)

# As GDK 0.78 sends them (green-backend, section 12), and our own two.
SENT: list[tuple[str, list[Any]]] = [
    ("twofactor.get_config", []),
    *[(f"twofactor.request_{method}", ["send_raw_tx", {}]) for method in twofactor.SENT_METHODS],
    *[(f"twofactor.init_enable_{method}", ["+41791234567", CODE]) for method in twofactor.SENT_METHODS],
    *[(f"twofactor.enable_{method}", ["123456"]) for method in twofactor.SENT_METHODS],
    *[(f"twofactor.disable_{method}", [CODE]) for method in twofactor.METHODS],
    ("twofactor.request_proxy", ["gauth", {}]),
    ("twofactor.enable_gauth", ["123456", {"method": "proxy", "code": "cd" * 16}]),
    ("twofactor.set_email", ["a@example.com", {"address": "a@example.com", **CODE}]),
    ("twofactor.activate_email", ["123456"]),
    ("twofactor.request_reset", ["a@example.com"]),
    ("twofactor.confirm_reset", ["a@example.com", False, CODE]),
    ("twofactor.request_undo_reset", ["a@example.com"]),
    ("twofactor.confirm_undo_reset", ["a@example.com", CODE]),
    ("twofactor.cancel_reset", [CODE]),
    ("login.change_settings", ["tx_limits", {"is_fiat": False, "per_tx": 0, "total": 50_000}, None]),
    ("vault.set_utxo_status", [{"list": [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": 1}]}, CODE]),
]
OWN: list[tuple[str, list[Any]]] = [
    ("vault.frozen_outputs", []),
    ("twofactor.dispute_nonce", ["reset"]),
    ("twofactor.resolve_dispute", ["keep", NONCE, "3044"]),
]
CALLS = [(rpc.PREFIX + name, args) for name, args in SENT] + [(rpc.OWN_PREFIX + name, args) for name, args in OWN]


@pytest.mark.parametrize(("uri", "args"), CALLS)
def test_calls_as_clients_send_them(uri: str, args: list[Any]) -> None:
    call = rpc.parse_call(uri, args)
    assert call is not None
    assert uri == call.URI
    assert call.args() == args


def test_every_procedure_is_in_this_list() -> None:
    assert {uri for uri, _ in CALLS} == {kind.URI for kind in twofactor.PROCEDURES}


def test_codes_do_not_show_in_repr() -> None:
    for call in (twofactor.EnableEmail("123456"), twofactor.EnableGauth("123456"), twofactor.ActivateEmail("123456")):
        assert "123456" not in repr(call)


def test_a_config_names_only_what_is_offered() -> None:
    config = twofactor.TwoFactorConfig(gauth_url="otpauth://x", gauth=True, sms=False, sms_number="")
    assert rpc.to_wire(config) == {"gauth_url": "otpauth://x", "gauth": True, "sms": False, "sms_number": ""}
    assert (config.offered(), config.enabled()) == (["sms", "gauth"], ["gauth"])
    read = rpc.parse_result(twofactor.GetTwoFactorConfig(), [{"gauth": False, "gauth_url": "u", "email": True}])
    assert read.enabled() == ["email"]


def test_the_reply_to_a_reset_has_three_keys() -> None:
    """GDK refuses it with one more or less."""
    assert rpc.to_wire(twofactor.ResetReply()) == {
        "reset_2fa_active": False,
        "reset_2fa_days_remaining": -1,
        "reset_2fa_disputed": False,
    }


def test_a_dispute_is_signed_by_the_login_key_over_its_whole_text() -> None:
    text = twofactor.dispute_text("reset", MASTER.public_key, NONCE, 1_700_000_000)
    assert text.startswith("amp0 two-factor dispute\noutcome: reset\nwallet: ")
    signature = bytes.fromhex(twofactor.sign_dispute(MASTER, text))
    assert twofactor.verify_dispute(MASTER.public(), text, signature)
    for other in (
        twofactor.dispute_text("keep", MASTER.public_key, NONCE, 1_700_000_000),
        twofactor.dispute_text("reset", MASTER.public_key, "cd" * 32, 1_700_000_000),
        twofactor.dispute_text("reset", MASTER.public_key, NONCE, 1_700_000_001),
        twofactor.dispute_text("reset", b"\x02" * 33, NONCE, 1_700_000_000),
    ):
        assert not twofactor.verify_dispute(MASTER.public(), other, signature)
    assert not twofactor.verify_dispute(ExtendedKey.from_seed(b"\x08" * 64, main=False).public(), text, signature)
    assert not twofactor.verify_dispute(MASTER.public(), text, b"\x30\x44")
    # No server can have a login signed in its place.
    assert challenge_hash("AAAAA") not in text.encode()


@pytest.mark.parametrize(
    ("outcome", "nonce", "expires"),
    [("steal", NONCE, 1), ("reset", "AB" * 32, 1), ("reset", NONCE + "\n", 1), ("reset", "", 1), ("reset", NONCE, -1)],
)
def test_b11_nothing_but_a_dispute_can_be_made_to_be_signed(outcome: str, nonce: str, expires: int) -> None:
    with pytest.raises(InvalidInput):
        twofactor.dispute_text(outcome, MASTER.public_key, nonce, expires)


def test_out_of_shape_is_refused() -> None:
    for uri, args in (
        (twofactor.ConfirmReset.URI, ["a@example.com", "yes", {}]),
        (twofactor.EnableEmail.URI, [123456]),
        (twofactor.SetUtxoStatus.URI, [[]]),
        (twofactor.RequestEmail.URI, ["x" * 257, {}]),
        (twofactor.ResolveDispute.URI, ["reset", "short", "3044"]),
    ):
        with pytest.raises(RemoteProtocolError):
            rpc.parse_call(uri, args)
