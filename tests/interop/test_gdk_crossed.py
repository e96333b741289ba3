"""One account, several kits: what GDK or green-cli makes, LWK and our client open and spend, and the reverse.

"Whichever path you pick, the flow below is the same": the same mnemonic, the same watch-only credentials, the same
AMP ID, the same coins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from amp0.local.stack import Stack
from tests.interop.days import (
    ACCOUNT,
    BROADCAST,
    CLIENTS,
    CONNECT,
    COSIGN,
    LBTC,
    LOGIN,
    RECEIVE,
    SIGN,
    SIGNER,
    SYNC,
    WATCH_ONLY,
    WOLLET,
    Day,
    OwnPeer,
    Peer,
)  # fmt: skip
from tests.interop.gdk_peer import GdkPeer, GreenCli
from tests.interop.gdk_wallets import AMP, GdkWallet, no_error, open_amp, open_wallet, refused, soon, watch
from tests.interop.lwk_peer import LwkPeer

pytestmark = pytest.mark.interop

PASSWORD = "correct horse"
PAY = """
b = network.tx_builder()
b.add_lbtc_recipient(Address(to), satoshi)
amp0pset = b.finish_for_amp0(wollet)
"""


@pytest.fixture(params=["lwk", "amp0"])
def day(request: pytest.FixtureRequest, stack: Stack, lwk: LwkPeer) -> Iterator[Day]:
    """LWK or our client, which runs the seed's scripts."""
    own = OwnPeer(stack.network)
    peer: Peer = lwk.space(request.node.name) if request.param == "lwk" else own
    yield Day(peer, stack, f"user of {request.node.name}", PASSWORD)
    own.close()


def opened_by(day: Day, amp_id: str, mnemonic: str) -> dict[str, Any]:
    """The day goes on with an account that somebody else has made."""
    found: dict[str, Any] = day.run(CONNECT, username=day.username, password=day.password, amp_id=amp_id)
    day.run(SIGNER, CLIENTS["waterfalls"], WOLLET, mnemonic=mnemonic)
    return found


def synced(day: Day) -> dict[str, int]:
    day.run(CONNECT)
    balance: dict[str, int] = day.run(SYNC)["balance"]
    return balance


def pays(day: Day, to: str, satoshi: int) -> tuple[str, int]:
    """(txid, fee) of a payment by the scripts of the seed."""
    day.run(PAY, SIGN, to=to, satoshi=satoshi)
    spent = day.run(COSIGN)
    assert day.run(BROADCAST) == spent["txid"]
    return spent["txid"], spent["fee"]


def spend_in_turn(day: Day, gdk: GdkWallet) -> None:
    """Coins that one receives are spent by the other, and both see the same."""
    stack = day.stack
    stack.dev.faucet(day.run(RECEIVE)["address"], 50_000)
    stack.dev.mine()
    soon(lambda: gdk.balance() == {LBTC: 50_000})
    payee = GdkWallet(gdk.session.peer.open(f"payee of {gdk.session.name}"), stack, gdk.mnemonic)
    payee.mnemonic = payee.session.peer.function("generate_mnemonic_12")
    payee.call("register_user", {}, payee.credentials)
    payee.log_in()
    payee.account = payee.call("create_subaccount", AMP)["pointer"]
    # What the scripts' side received, GDK spends.
    txid = gdk.send((payee.address(), LBTC, 10_000))
    stack.dev.mine()
    soon(lambda: gdk.transactions()[0]["block_height"] > 0)
    fee = gdk.transactions()[0]["fee"]
    assert synced(day) == {LBTC: 40_000 - fee}
    seen = day.run(SYNC)["transactions"]
    assert (seen[0]["txid"], seen[0]["type"], seen[0]["fee"]) == (txid, "outgoing", fee)
    # What GDK received, the scripts' side spends.
    stack.dev.faucet(gdk.address(), 25_000)
    stack.dev.mine()
    assert synced(day) == {LBTC: 65_000 - fee}
    # GDK knows it before the next payment: an answer that is under way while its event comes is kept by GDK as the
    # newest truth, whatever the server does about their order.
    soon(lambda: gdk.balance() == {LBTC: 65_000 - fee})
    txid, second = pays(day, payee.address(), 60_000)
    soon(lambda: gdk.balance() == {LBTC: 5_000 - fee - second})
    assert gdk.transactions()[0]["txhash"] == txid
    soon(lambda: payee.balance() == {LBTC: 70_000})


def test_an_account_made_with_gdk(day: Day, gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, f"maker for {day.username}")
    account = alice.subaccounts()[1]
    alice.call("register_user", {}, {"username": day.username, "password": day.password})
    found = opened_by(day, account["receiving_id"], alice.mnemonic)
    assert found["amp_id"] == account["receiving_id"]
    # Uploads of the second kind of client do not disturb those of the first.
    issued = day.run(RECEIVE)
    assert issued["address"] in {
        row["address"] for row in alice.call("get_previous_addresses", {"subaccount": 1})["list"]
    }
    spend_in_turn(day, alice)


def test_an_account_gdk_opens(day: Day, gdk: GdkPeer, stack: Stack) -> None:
    made = day.open()
    day.run(CONNECT, amp_id=made["amp_id"])
    day.run(CLIENTS["waterfalls"], WOLLET)
    alice = open_wallet(gdk, stack, f"opener for {day.username}", mnemonic=made["mnemonic"])
    assert [row["receiving_id"] for row in alice.subaccounts()[1:]] == [made["amp_id"]]
    assert alice.call("get_watch_only_username") == day.username
    watcher = watch(gdk, stack, f"watcher for {day.username}", day.username, day.password)
    assert [row["receiving_id"] for row in watcher.subaccounts()[1:]] == [made["amp_id"]]
    assert watcher.receive()["pointer"] == alice.receive()["pointer"] - 1
    assert refused(watcher, "create_subaccount", AMP)
    spend_in_turn(day, alice)
    assert watcher.balance() == alice.balance()


def test_each_makes_an_account_of_one_wallet(day: Day, gdk: GdkPeer, stack: Stack) -> None:
    """The list of accounts lives in one encrypted blob that both write."""
    made = day.open()
    alice = open_wallet(gdk, stack, f"second of {day.username}", mnemonic=made["mnemonic"])
    second = alice.call("create_subaccount", AMP | {"name": "by gdk"})
    assert second["pointer"] == 2
    found = opened_by(day, second["receiving_id"], made["mnemonic"])
    assert found["amp_id"] == second["receiving_id"]
    day.run(SIGNER, LOGIN)
    third = day.run(ACCOUNT)
    assert third["pointer"] == 3
    again = open_wallet(gdk, stack, f"third of {day.username}", mnemonic=made["mnemonic"])
    assert [(row["pointer"], row["name"]) for row in again.subaccounts()[1:]] == [(1, ""), (2, "by gdk"), (3, "")]
    watcher = watch(gdk, stack, f"watcher of three {day.username}", day.username, day.password)
    assert len(watcher.subaccounts()) == 4


def test_credentials_set_by_one_count_for_the_other(day: Day, gdk: GdkPeer, stack: Stack) -> None:
    made = day.open()
    alice = open_wallet(gdk, stack, f"changer for {day.username}", mnemonic=made["mnemonic"])
    alice.call("register_user", {}, {"username": day.username, "password": "another password"})
    with pytest.raises(Exception, match="User not found or invalid password"):
        day.run(CONNECT, amp_id=made["amp_id"])
    day.run(CONNECT, password="another password")
    day.run(SIGNER, LOGIN, WATCH_ONLY, password="a third password", mnemonic=made["mnemonic"])
    watch(gdk, stack, f"third password of {day.username}", day.username, "a third password")


def test_a_pset_of_theirs_is_signed_by_gdk(day: Day, gdk: GdkPeer, stack: Stack) -> None:
    """Built and blinded by a watch-only client, signed by the wallet in GDK, cosigned by the server on the way."""
    made = day.open()
    day.run(CONNECT, amp_id=made["amp_id"])
    alice = open_wallet(gdk, stack, f"signer for {day.username}", mnemonic=made["mnemonic"])
    stack.dev.faucet(alice.address(), 30_000)
    stack.dev.mine()
    soon(lambda: alice.balance() == {LBTC: 30_000})
    day.run(CLIENTS["waterfalls"], WOLLET)
    assert synced(day) == {LBTC: 30_000}
    payee = open_amp(gdk, stack, f"payee by pset {day.username}")
    built = day.run(
        PAY,
        'result = {"psbt": str(amp0pset.pset()), "blinding_nonces": amp0pset.blinding_nonces()}',
        to=payee.address(),
        satoshi=12_000,
    )
    coins = [one for outputs in alice.unspent().values() for one in outputs]
    signed = no_error(alice.call("psbt_sign", {**built, "utxos": coins}))
    alice.call("broadcast_transaction", {"psbt": signed["psbt"]})
    soon(lambda: payee.balance() == {LBTC: 12_000})


def test_an_account_made_with_green_cli(day: Day, green_cli: GreenCli, stack: Stack) -> None:
    mnemonic = day.peer.run("result = str(Mnemonic.from_random(12))")
    green_cli.keep(mnemonic=mnemonic)
    green_cli("register")
    account = green_cli.json("createsubaccount", "amp", "2of2_no_recovery")
    green_cli("setwatchonly", day.username, day.password)
    opened_by(day, account["receiving_id"], mnemonic)
    stack.dev.faucet(day.run(RECEIVE)["address"], 40_000)
    stack.dev.mine()
    elsewhere = day.run(
        "elsewhere = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)",
        "result = str(elsewhere.address(None).address())",
    )
    green_cli("sendtoaddress", "--subaccount", "1", elsewhere, LBTC, "0.00010000", "--timeout", "10")
    stack.dev.mine()
    left = synced(day)[LBTC]
    assert 29_800 < left < 30_000
    _, fee = pays(day, elsewhere, 20_000)
    soon(lambda: green_cli.json("getbalance", "--subaccount", "1") == {LBTC: left - 20_000 - fee})
