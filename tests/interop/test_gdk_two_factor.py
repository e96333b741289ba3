"""Second factors in the hands of the unmodified GDK: every method, right, wrong and expired codes, limits, reset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from amp0.local.stack import Stack
from tests.interop.gdk_peer import GdkFailed, GdkPeer
from tests.interop.gdk_wallets import GdkWallet, open_amp, watch

pytestmark = pytest.mark.interop

ADDRESSES = {"email": "a@example.com", "sms": "+41791234567", "phone": "+41791234568", "telegram": "alice_x"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """One that sends as many codes as it is asked for."""
    with Stack.on_free_ports(code_requests=1000) as running:
        yield running


class User:
    """Answers GDK's questions, as whoever holds the telephone."""

    def __init__(self, stack: Stack, method: str = "email") -> None:
        self.stack = stack
        self.method = method
        self.totp: pyotp.TOTP | None = None
        self.wrong = 0
        self.late = 0
        self.asked: list[tuple[str, str]] = []

    def __call__(self, status: dict[str, Any]) -> str | None:
        if status["status"] == "request_code":
            return self.method if self.method in status["methods"] else str(status["methods"][0])
        self.asked.append((status["action"], status["method"]))
        if self.wrong:
            self.wrong -= 1
            return "000000"
        if self.late:
            self.stack.clock.offset += self.late
            self.late = 0
        if status["method"] == "gauth":
            assert self.totp is not None
            # Each step is accepted once.
            self.stack.clock.offset += 30
            return self.totp.at(int(self.stack.clock()))
        return str([message.code for message in self.stack.outbox.messages() if message.code][-1])


def change(wallet: GdkWallet, user: User, method: str, data: str = "", **more: Any) -> Any:
    """Enable a method under ``data``, or disable it."""
    details = {"confirmed": bool(data), "enabled": bool(data), "data": data, **more}
    return wallet.call("change_settings_twofactor", method, details, answer=user)


def config(wallet: GdkWallet) -> dict[str, Any]:
    found: dict[str, Any] = wallet.call("get_twofactor_config")
    return found


def enable_gauth(wallet: GdkWallet, user: User) -> None:
    url = config(wallet)["gauth"]["data"]
    user.totp = pyotp.TOTP(parse_qs(urlsplit(url).query)["secret"][0])
    change(wallet, user, "gauth", url)


def paid(wallet: GdkWallet, user: User, satoshi: int = 1_000) -> dict[str, Any]:
    signed = wallet.signed((wallet.address(), wallet.lbtc, satoshi))
    result: dict[str, Any] = wallet.call("send_transaction", signed, answer=user)
    return result


@pytest.mark.parametrize("method", [*ADDRESSES, "gauth"])
def test_each_method_is_enabled_spends_and_is_disabled(gdk: GdkPeer, stack: Stack, method: str) -> None:
    alice, user = open_amp(gdk, stack, f"factor {method}"), User(stack, method)
    alice.funded(50_000)
    if method == "gauth":
        enable_gauth(alice, user)
    else:
        change(alice, user, method, ADDRESSES[method])
    assert config(alice)["enabled_methods"] == [method]
    user.asked.clear()
    user.wrong = 1
    assert paid(alice, user)["txhash"]
    # GDK asks again after a wrong code, because of its exact text.
    assert user.asked == [("send_raw_tx", method)] * 2
    change(alice, user, method)
    assert config(alice)["enabled_methods"] == []
    user.asked.clear()
    paid(alice, user)
    assert user.asked == []


@pytest.mark.parametrize("method", ["email", "gauth"])
def test_a_code_that_is_late_is_wrong(gdk: GdkPeer, stack: Stack, method: str) -> None:
    alice, user = open_amp(gdk, stack, f"late {method}"), User(stack, method)
    alice.funded(50_000)
    if method == "gauth":
        enable_gauth(alice, user)
        totp = user.totp
        user.totp = pyotp.TOTP(totp.secret) if totp else None
        user.wrong = 6
        with pytest.raises(GdkFailed, match="Too many wrong codes"):
            paid(alice, user)
    else:
        change(alice, user, "email", ADDRESSES["email"])
        user.late = 301
        with pytest.raises(GdkFailed, match="id_invalid_twofactor_code"):
            paid(alice, user)
        user.late = 299
        assert paid(alice, user)["txhash"]


def test_a_second_method_and_a_backup_of_the_sms(gdk: GdkPeer, stack: Stack) -> None:
    alice, user = open_amp(gdk, stack, "several"), User(stack)
    change(alice, user, "email", ADDRESSES["email"])
    user.asked.clear()
    change(alice, user, "sms", ADDRESSES["sms"])
    assert user.asked == [("enable_2fa", "email"), ("enable_sms", "sms")]
    user.asked.clear()
    change(alice, user, "phone", ADDRESSES["sms"], is_sms_backup=True)
    assert user.asked == [("enable_phone", "phone")]
    enable_gauth(alice, user)
    assert config(alice)["enabled_methods"] == ["email", "sms", "phone", "gauth"]
    assert config(alice)["gauth"]["data"] == "***"
    # GDK wants the code of another method than the one that goes.
    user.asked.clear()
    change(alice, user, "email")
    assert user.asked[0] == ("disable_2fa", "sms")


def test_limits_frozen_outputs_and_settings(gdk: GdkPeer, stack: Stack) -> None:
    alice, user = open_amp(gdk, stack, "limits"), User(stack)
    alice.funded(10_000, 20_000)
    change(alice, user, "email", ADDRESSES["email"])
    user.asked.clear()
    raised = alice.call("twofactor_change_limits", {"is_fiat": False, "satoshi": 50_000}, answer=user)
    assert (raised["satoshi"], user.asked) == (50_000, [("change_tx_limits", "email")])
    user.asked.clear()
    assert (
        alice.call("twofactor_change_limits", {"is_fiat": False, "satoshi": 20_000}, answer=user)["satoshi"] == 20_000
    )
    assert user.asked == []
    coin = next(one for one in alice.unspent()[alice.lbtc] if one["satoshi"] == 20_000)
    row = {"txhash": coin["txhash"], "pt_idx": coin["pt_idx"]}
    alice.call("set_unspent_outputs_status", {"list": [{**row, "user_status": "frozen"}]}, answer=user)
    assert user.asked == [("set_utxo_status", "email")]
    assert [one["satoshi"] for one in alice.unspent()[alice.lbtc]] == [10_000]
    alice.call("set_unspent_outputs_status", {"list": [{**row, "user_status": "default"}]}, answer=user)
    assert len(alice.unspent()[alice.lbtc]) == 2
    for method, value in (("set_csvtime", 65535), ("set_nlocktime", 1_000)):
        alice.call(method, {"value": value}, answer=user)
        assert user.asked[-1] == (method, "email")


def test_reset_dispute_undo_and_cancel(gdk: GdkPeer, stack: Stack) -> None:
    alice, user = open_amp(gdk, stack, "reset"), User(stack)
    change(alice, user, "email", ADDRESSES["email"])

    def state(found: dict[str, Any]) -> tuple[bool, int, bool]:
        row = found["twofactor_reset"]
        return row["is_active"], row["days_remaining"], row["is_disputed"]

    assert state(alice.call("twofactor_reset", "lost@example.com", False, answer=user)) == (True, 90, False)
    stack.clock.offset += 86_400
    assert state(alice.call("twofactor_reset", "other@example.com", True, answer=user)) == (True, 90, True)
    assert state(alice.call("twofactor_undo_reset", "other@example.com", answer=user)) == (True, 89, False)
    assert state(alice.call("twofactor_cancel_reset", answer=user)) == (False, -1, False)
    assert config(alice)["enabled_methods"] == ["email"]


def test_a_watch_only_session_is_told_that_a_code_is_missing(gdk: GdkPeer, stack: Stack) -> None:
    """GDK never supplies one there; our client does."""
    alice, user = open_amp(gdk, stack, "watched"), User(stack)
    alice.funded(50_000)
    change(alice, user, "email", ADDRESSES["email"])
    alice.call("register_user", {}, {"username": "watched wallet", "password": "password"})
    signed = alice.signed((alice.address(), alice.lbtc, 1_000))
    viewer = watch(gdk, stack, "viewer", "watched wallet", "password")
    with pytest.raises(GdkFailed, match="Two factor authentication required"):
        viewer.call("send_transaction", signed)
    assert alice.call("send_transaction", signed, answer=user)["txhash"]
