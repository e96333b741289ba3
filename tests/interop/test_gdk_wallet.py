"""Wallets of the unmodified GDK against our server: registration, logins, accounts, addresses, settings."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from amp0.local.stack import Stack
from amp0.server.store import schema
from tests.interop.gdk_peer import GdkPeer
from tests.interop.gdk_wallets import AMP, GdkWallet, open_amp, open_wallet, refused, soon, watch

pytestmark = pytest.mark.interop


def ids(wallet: GdkWallet) -> list[str]:
    """The AMP IDs that GDK shows."""
    return [row["receiving_id"] for row in wallet.subaccounts()]


def count(stack: Stack, query: sa.Select[Any]) -> int:
    server = stack._server
    assert server is not None
    with server.services.store.snapshot() as db:
        found: int = db.execute(query).scalar_one()
    return found


# --- logins --------------------------------------------------------------------------------------------------------


def test_register_and_log_in_and_again(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "register")
    first = alice.log_in()
    alice.call("register_user", {}, alice.credentials)
    assert alice.log_in() == first
    assert first["warnings"] == []
    (zero,) = alice.subaccounts()
    assert (zero["pointer"], zero["type"]) == (0, "2of2")


def test_a_wallet_that_nobody_registered(gdk: GdkPeer, stack: Stack) -> None:
    stranger = GdkWallet(gdk.open("stranger"), stack, gdk.function("generate_mnemonic_12"))
    assert refused(stranger, "login_user", {}, stranger.credentials) == "id_login_failed"


def test_two_devices_of_one_wallet(gdk: GdkPeer, stack: Stack) -> None:
    phone = open_amp(gdk, stack, "phone")
    tablet = open_wallet(gdk, stack, "tablet", mnemonic=phone.mnemonic)
    assert ids(tablet) == ids(phone)
    assert tablet.receive()["pointer"] == phone.receive()["pointer"] - 1


def test_a_session_ends_at_once(gdk: GdkPeer, stack: Stack) -> None:
    """Without an answer to its GOODBYE, GDK waits 30 seconds."""
    assert open_wallet(gdk, stack, "goodbye").session.close() < 5


def test_a_pin_logs_in_until_it_was_wrong_three_times(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "pin maker")
    plain = alice.call("get_credentials", {})
    kept = alice.call("encrypt_with_pin", {"pin": "123456", "device_id": "phone", "plaintext": plain})["pin_data"]
    other = GdkWallet(gdk.open("pin user"), stack)
    other.call("login_user", {}, {"pin": "123456", "pin_data": kept})
    assert [row["pointer"] for row in other.subaccounts()] == [0, 1]
    assert other.call("decrypt_with_pin", {"pin": "123456", "pin_data": kept})["mnemonic"] == alice.mnemonic
    guesser = GdkWallet(gdk.open("pin guesser"), stack)
    for pin in ("000000", "111111", "222222", "123456"):
        assert refused(guesser, "login_user", {}, {"pin": pin, "pin_data": kept}) == "id_invalid_pin"


def test_removing_pins(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "pin remover")
    plain = alice.call("get_credentials", {})
    kept = alice.call("encrypt_with_pin", {"pin": "123456", "device_id": "phone", "plaintext": plain})["pin_data"]
    alice.call("disable_all_pin_logins")
    other = GdkWallet(gdk.open("pin removed"), stack)
    assert refused(other, "login_user", {}, {"pin": "123456", "pin_data": kept}) == "id_invalid_pin"


# --- accounts and addresses ----------------------------------------------------------------------------------------


def test_an_amp_account_comes_with_its_addresses(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "creator")
    made = alice.call("create_subaccount", AMP)
    assert (made["pointer"], made["type"], made["required_ca"]) == (1, "2of2_no_recovery", 0)
    assert alice.call("create_subaccount", AMP | {"name": "second"})["pointer"] == 2
    addresses, accounts = schema.addresses.c, schema.accounts.c
    uploaded = (
        sa.select(sa.func.count())
        .join_from(schema.addresses, schema.accounts, accounts.id == addresses.account_id)
        .where(accounts.receiving_id == made["receiving_id"], addresses.blinding_pubkey.is_not(None))
    )
    # Uploads follow the answer.
    soon(lambda: count(stack, uploaded) == 20)
    again = open_wallet(gdk, stack, "creator again", mnemonic=alice.mnemonic)
    assert [(row["pointer"], row["name"], row["receiving_id"]) for row in again.subaccounts()[1:]] == [
        (1, "amp", made["receiving_id"]),
        (2, "second", again.subaccounts()[2]["receiving_id"]),
    ]


def test_addresses_new_and_previous(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "addresses")
    new = [alice.receive() for _ in range(3)]
    assert [row["pointer"] for row in new] == [21, 22, 23]
    assert {row["address_type"] for row in new} == {"p2wsh"}
    paid = stack.dev.faucet(new[1]["address"], 1_000)
    assert alice.session.event("transaction") == {"txhash": str(paid), "subaccounts": [1]}
    seen: list[dict[str, Any]] = []
    page: dict[str, int] = {}
    while True:
        answer = alice.call("get_previous_addresses", {"subaccount": 1, **page})
        seen += answer["list"]
        if "last_pointer" not in answer:
            break
        page = {"last_pointer": answer["last_pointer"]}
    assert [row["pointer"] for row in seen] == list(range(23, 0, -1))
    assert {row["address"] for row in new} <= {row["address"] for row in seen}
    assert [row["tx_count"] for row in seen[:3]] == [0, 1, 0]


def test_addresses_of_account_zero(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "zero")
    alice.account = 0
    new = alice.receive()
    assert (new["pointer"], new["address_type"], new["subtype"]) == (1, "csv", 65535)
    listed = alice.call("get_previous_addresses", {"subaccount": 0})["list"]
    assert [row["address"] for row in listed] == [new["address"]]


def test_the_delay_of_account_zero_is_chosen(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "delay")
    alice.account = 0
    assert alice.receive()["subtype"] == 65535
    alice.call("set_csvtime", {"value": 20})
    assert alice.receive()["subtype"] == 20
    assert alice.call("get_settings")["csvtime"] == 20
    alice.log_in()
    assert alice.receive()["subtype"] == 20


# --- watch-only ----------------------------------------------------------------------------------------------------


def test_watch_only_made_used_and_deleted(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "watched")
    credentials = {"username": "the watched one", "password": "correct horse"}
    alice.call("register_user", {}, credentials)
    assert alice.call("get_watch_only_username") == "the watched one"
    watcher = watch(gdk, stack, "watcher", **credentials)
    assert [row["receiving_id"] for row in watcher.subaccounts()] == [
        row["receiving_id"] for row in alice.subaccounts()
    ]
    assert watcher.receive()["pointer"] == alice.receive()["pointer"] - 1
    alice.funded(5_000)
    soon(lambda: watcher.balance() == {alice.lbtc: 5_000})
    assert watcher.transactions()[0]["txhash"] == alice.transactions()[0]["txhash"]
    assert refused(watcher, "create_subaccount", AMP)

    alice.call("register_user", {}, {"username": "", "password": ""})
    # The session that watched is over, and nobody gets in any more.
    soon(lambda: "Session expired" in refused(watcher, "get_receive_address", {"subaccount": 1}))
    other = GdkWallet(gdk.open("too late"), stack)
    assert refused(other, "login_user", {}, credentials) == "id_user_not_found_or_invalid"


def test_a_wrong_password_and_an_unknown_name_look_alike(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "guarded")
    alice.call("register_user", {}, {"username": "guarded name", "password": "correct horse"})
    for username in ("guarded name", "a name nobody has"):
        # GDK takes one pair of credentials a session.
        other = GdkWallet(gdk.open(f"guesser of {username}"), stack)
        wrong = {"username": username, "password": "wrong password"}
        assert refused(other, "login_user", {}, wrong) == "id_user_not_found_or_invalid"
    watch(gdk, stack, "who knows it", "guarded name", "correct horse")


# --- blob, settings ------------------------------------------------------------------------------------------------


def test_two_devices_write_the_blob_at_once(gdk: GdkPeer, stack: Stack) -> None:
    """The slower one is told, merges, and both changes stay."""
    phone = open_amp(gdk, stack, "blob phone")
    tablet = open_wallet(gdk, stack, "blob tablet", mnemonic=phone.mnemonic)
    phone.funded(1_000, 2_000)
    first, second = (row["txhash"] for row in phone.transactions())
    phone.call("set_transaction_memo", first, "from the phone")
    tablet.call("set_transaction_memo", second, "from the tablet")
    phone.call("update_subaccount", {"subaccount": 1, "name": "renamed"})

    def memos(wallet: GdkWallet) -> dict[str, str]:
        return {row["txhash"]: row["memo"] for row in wallet.transactions()}

    both = {first: "from the phone", second: "from the tablet"}
    soon(lambda: memos(phone) == both)
    soon(lambda: memos(tablet) == both)
    soon(lambda: tablet.subaccounts()[1]["name"] == "renamed")
    third = open_wallet(gdk, stack, "blob third", mnemonic=phone.mnemonic)
    assert memos(third) == both


def test_settings_come_back(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "settings")
    settings = alice.call("get_settings")
    settings.update(unit="sats", altimeout=10, required_num_blocks=3)
    alice.call("change_settings", settings)
    alice.call("set_nlocktime", {"value": 144})
    other = open_wallet(gdk, stack, "settings again", mnemonic=alice.mnemonic)
    found = other.call("get_settings")
    assert {name: found[name] for name in ("unit", "altimeout", "required_num_blocks", "nlocktime")} == {
        "unit": "sats",
        "altimeout": 10,
        "required_num_blocks": 3,
        "nlocktime": 144,
    }


def test_what_there_is_none_of(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_wallet(gdk, stack, "plain answers")
    assert alice.call("get_system_message") == ""
    assert alice.call("get_available_currencies") == {"all": ["USD"], "per_exchange": {"BITSTAMP": ["USD"]}}
    assert set(alice.call("get_fee_estimates")["fees"]) == {100}
    alice.call("send_nlocktimes")
    config = alice.call("get_twofactor_config")
    assert config["any_enabled"] is False
    alice.account = 0
    assert (alice.balance(), alice.transactions(), alice.unspent()) == ({}, [], {})


def test_a_wallet_is_removed_when_it_is_empty(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "removed")
    alice.funded(1_000)
    assert "still holds 1 unspent outputs" in refused(alice, "remove_account")
    bob = open_wallet(gdk, stack, "removed for good")
    bob.call("remove_account")
    assert refused(bob, "login_user", {}, bob.credentials) == "id_login_failed"
    bob.call("register_user", {}, bob.credentials)
    bob.log_in()
    assert [row["pointer"] for row in bob.subaccounts()] == [0]
