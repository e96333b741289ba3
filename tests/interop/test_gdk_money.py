"""Coins in the hands of the unmodified GDK against our server: what it sees, what it spends, what it is told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from amp0.local.stack import Stack
from amp0.server import uvicorn_limits
from tests.interop.gdk_peer import GdkPeer
from tests.interop.gdk_wallets import GdkWallet, no_error, open_amp, open_wallet, refused, soon, watch

pytestmark = pytest.mark.interop


def stranger(gdk: GdkPeer, stack: Stack, name: str) -> GdkWallet:
    """Somebody else who can be paid."""
    return open_amp(gdk, stack, f"payee of {name}")


# --- seeing --------------------------------------------------------------------------------------------------------


def test_balances_of_several_assets(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "assets")
    assets = [stack.dev.issue(1_000 + i) for i in range(3)]
    alice.funded(10_000)
    for i, asset in enumerate(assets):
        alice.funded(100 + i, asset=asset)
    assert alice.balance() == {alice.lbtc: 10_000, assets[0]: 100, assets[1]: 101, assets[2]: 102}
    assert alice.balance(confirmations=1) == alice.balance()
    stack.dev.faucet(alice.address(), 7, assets[0])
    soon(lambda: alice.balance()[assets[0]] == 107)
    assert alice.balance(confirmations=1)[assets[0]] == 100


def test_unspent_outputs(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "unspent")
    alice.funded(3_000, 1_000, 2_000)
    stack.dev.faucet(alice.address(), 500)
    soon(lambda: alice.balance() == {alice.lbtc: 6_500})
    (outputs,) = alice.unspent().values()
    assert sorted(one["satoshi"] for one in outputs) == [500, 1_000, 2_000, 3_000]
    assert [one["block_height"] for one in outputs if one["satoshi"] == 500] == [0]
    assert {(one["user_status"], one["address_type"], one["is_blinded"]) for one in outputs} == {(0, "p2wsh", True)}
    for order, first in (("largest", 3_000), ("smallest", 500), ("newest", 500)):
        assert alice.unspent(sort_by=order)[alice.lbtc][0]["satoshi"] == first
    assert sorted(one["satoshi"] for one in alice.unspent(1)[alice.lbtc]) == [1_000, 2_000, 3_000]


def test_a_payment_that_is_not_confidential(gdk: GdkPeer, stack: Stack) -> None:
    """Amount and asset in the open travel as decimal text."""
    alice = open_amp(gdk, stack, "explicit")
    stack.dev.faucet(alice.receive()["unconfidential_address"], 4_000)
    soon(lambda: alice.balance() == {alice.lbtc: 4_000})
    (output,) = alice.unspent()[alice.lbtc]
    assert (output["satoshi"], output["is_blinded"]) == (4_000, False)
    assert alice.transactions()[0]["satoshi"] == {alice.lbtc: 4_000}
    to = stranger(gdk, stack, "explicit").address()
    alice.send((to, alice.lbtc, 1_000))


def test_transactions_page_by_page(gdk: GdkPeer, stack: Stack) -> None:
    """More than the server gives in one answer, confirmed and not, asked for in pages of the client's."""
    alice = open_amp(gdk, stack, "pages")
    address = alice.address()
    paid = [stack.dev.faucet(address, 1_000 + i) for i in range(35)]
    stack.dev.mine()
    paid += [stack.dev.faucet(address, 2_000 + i) for i in range(35)]
    soon(lambda: len(alice.transactions(0, 100)) == 70)
    pages = [alice.transactions(first, 20) for first in range(0, 80, 20)]
    assert [len(page) for page in pages] == [20, 20, 20, 10]
    listed = [row for page in pages for row in page]
    assert {row["txhash"] for row in listed} == {str(txid) for txid in paid}
    heights = [row["block_height"] for row in listed]
    assert heights[:35] == [0] * 35
    assert len(set(heights[35:])) == 1
    stack.dev.mine()
    soon(lambda: 0 not in {row["block_height"] for row in alice.transactions(0, 100)})
    assert len(alice.transactions(0, 100)) == 70


def test_details_of_a_transaction(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "details")
    txid = str(stack.dev.faucet(alice.address(), 1_000))
    soon(lambda: bool(alice.transactions()))
    details = alice.call("get_transaction_details", txid)
    assert details["txhash"] == txid
    assert refused(alice, "get_transaction_details", "ab" * 32)


# --- spending ------------------------------------------------------------------------------------------------------


def test_a_payment_both_see(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "payer"), open_amp(gdk, stack, "payee")
    asset = stack.dev.issue(500)
    alice.funded(100_000)
    alice.funded(500, asset=asset)
    alice.session.forget_events()
    txid = alice.send((bob.address(), asset, 200), (bob.address(), alice.lbtc, 3_000))
    assert alice.session.event("transaction") == {"txhash": txid, "subaccounts": [1]}
    assert bob.session.event("transaction") == {"txhash": txid, "subaccounts": [1]}
    assert bob.balance() == {bob.lbtc: 3_000, asset: 200}
    sent, received = alice.transactions()[0], bob.transactions()[0]
    assert (sent["txhash"], sent["type"]) == (received["txhash"], "outgoing")
    assert received["type"] == "incoming"
    assert sent["satoshi"] == {alice.lbtc: -3_000 - sent["fee"], asset: -200}
    stack.dev.mine()
    soon(lambda: alice.transactions()[0]["block_height"] > 0)
    assert alice.balance(1) == {alice.lbtc: 97_000 - sent["fee"], asset: 300}


def test_two_inputs(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "two inputs")
    alice.funded(10_000, 20_000)
    alice.send((stranger(gdk, stack, "two").address(), alice.lbtc, 25_000))
    (spent, *_) = alice.transactions()
    assert len(spent["inputs"]) == 2
    assert spent["type"] == "outgoing"


def test_a_chain_of_unconfirmed_change(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "chain"), stranger(gdk, stack, "chain")
    alice.funded(100_000)
    left = 100_000
    for _ in range(4):
        txid = alice.send((bob.address(), alice.lbtc, 10_000))
        soon(lambda txid=txid: alice.transactions()[0]["txhash"] == txid)  # type: ignore[misc]
        left -= 10_000 + alice.transactions()[0]["fee"]
        assert alice.balance() == {alice.lbtc: left}
    soon(lambda: bob.balance() == {bob.lbtc: 40_000})
    assert alice.balance(1) == {}
    stack.dev.mine()
    soon(lambda: alice.balance(1) == {alice.lbtc: left})
    assert len(alice.transactions()) == 5


def test_everything_of_an_account_is_sent(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "greedy"), stranger(gdk, stack, "greedy")
    alice.funded(5_000, 6_000)
    draft: dict[str, Any] = {
        "addressees": [{"address": bob.address(), "asset_id": alice.lbtc, "satoshi": 0, "is_greedy": True}],
        "utxos": alice.unspent(),
    }
    for step in ("create_transaction", "blind_transaction", "sign_transaction", "send_transaction"):
        draft = no_error(alice.call(step, draft))
    soon(lambda: alice.balance() == {})
    soon(lambda: bob.balance() == {bob.lbtc: 11_000 - draft["fee"]})


def test_a_spend_of_account_zero(gdk: GdkPeer, stack: Stack) -> None:
    """A csv output, without blinding nonces: GDK sends them for AMP accounts only."""
    alice = open_wallet(gdk, stack, "csv")
    alice.account = 0
    alice.funded(50_000)
    (output,) = alice.unspent()[alice.lbtc]
    assert (output["address_type"], output["subtype"]) == ("csv", 65535)
    bob = stranger(gdk, stack, "csv")
    txid = alice.send((bob.address(), alice.lbtc, 20_000))
    soon(lambda: bob.balance() == {bob.lbtc: 20_000})
    spent = alice.transactions()[0]
    assert (spent["txhash"], spent["type"], spent["inputs"][0]["address_type"]) == (txid, "outgoing", "csv")
    stack.dev.mine()
    soon(lambda: alice.balance(1) == {alice.lbtc: 30_000 - spent["fee"]})
    # Change is a csv output again, and is spent as well.
    alice.send((bob.address(), alice.lbtc, 5_000))
    soon(lambda: bob.balance() == {bob.lbtc: 25_000})


def test_an_old_delay_is_still_spent(gdk: GdkPeer, stack: Stack) -> None:
    """Coins on addresses of two delays, spent together."""
    alice = open_wallet(gdk, stack, "two delays")
    alice.account = 0
    alice.funded(10_000)
    alice.call("set_csvtime", {"value": 1440})
    alice.funded(10_000)
    assert {one["subtype"] for one in alice.unspent()[alice.lbtc]} == {65535, 1440}
    alice.send((stranger(gdk, stack, "delays").address(), alice.lbtc, 15_000))
    soon(lambda: alice.transactions()[0]["type"] == "outgoing")


def test_two_accounts_pay_together(gdk: GdkPeer, stack: Stack) -> None:
    """Inputs of account 0 and of an AMP account in one transaction."""
    alice = open_amp(gdk, stack, "both kinds")
    alice.funded(10_000)
    alice.account = 0
    alice.funded(10_000)
    zero = alice.unspent()[alice.lbtc]
    alice.account = 1
    both = {alice.lbtc: zero + alice.unspent()[alice.lbtc]}
    bob = stranger(gdk, stack, "both kinds")
    alice.send((bob.address(), alice.lbtc, 18_000), utxos=both, change_subaccount=1)
    soon(lambda: bob.balance() == {bob.lbtc: 18_000})


def test_signing_a_pset(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "pset"), stranger(gdk, stack, "pset")
    alice.funded(10_000, 20_000)
    draft = alice.draft((bob.address(), alice.lbtc, 25_000))
    unsigned = alice.call("psbt_from_json", draft)
    coins = [one for outputs in alice.unspent().values() for one in outputs]
    seen = alice.call("psbt_get_details", {"psbt": unsigned["psbt"], "utxos": coins})
    assert seen["satoshi"] == {alice.lbtc: -25_000}
    signed = no_error(alice.call("psbt_sign", {**unsigned, "utxos": coins}))
    sent = alice.call("broadcast_transaction", {"psbt": signed["psbt"]})
    assert sent["txhash"] == signed["txhash"]
    soon(lambda: bob.balance() == {bob.lbtc: 25_000})


def test_a_pset_without_its_nonces_is_refused(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "pset without nonces")
    alice.funded(10_000)
    unsigned = alice.call("psbt_from_json", alice.draft((alice.address(), alice.lbtc, 1_000)))
    coins = alice.unspent()[alice.lbtc]
    assert "blinding nonces are missing" in refused(alice, "psbt_sign", {"psbt": unsigned["psbt"], "utxos": coins})


def test_a_watcher_drafts_and_sends_what_the_owner_signed(gdk: GdkPeer, stack: Stack) -> None:
    owner = open_amp(gdk, stack, "signing owner")
    credentials = {"username": "drafting watcher", "password": "correct horse"}
    owner.call("register_user", {}, credentials)
    watcher = watch(gdk, stack, "drafting watcher", **credentials)
    owner.funded(30_000)
    soon(lambda: watcher.balance() == {owner.lbtc: 30_000})
    bob = stranger(gdk, stack, "watcher")
    draft = watcher.draft((bob.address(), owner.lbtc, 10_000))
    signed = no_error(owner.call("sign_transaction", draft))
    assert no_error(watcher.call("send_transaction", signed))["txhash"]
    soon(lambda: bob.balance() == {bob.lbtc: 10_000})
    soon(lambda: watcher.transactions()[0]["type"] == "outgoing")


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_second_spend_of_the_same_coins_is_refused_in_words(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "double"), stranger(gdk, stack, "double")
    alice.funded(10_000)
    first = alice.draft((bob.address(), alice.lbtc, 1_000))
    second = alice.signed((bob.address(), alice.lbtc, 2_000))
    cosigned = no_error(alice.call("sign_transaction", {**first, "sign_with": ["user", "green-backend"]}))
    text = refused(alice, "send_transaction", second)
    assert text.startswith("Another transaction for the same coins was signed before: ")
    assert cosigned["txhash"] in text
    alice.call("broadcast_transaction", {"transaction": cosigned["transaction"]})
    soon(lambda: bob.balance() == {bob.lbtc: 1_000})
    assert "was spent already" in refused(alice, "send_transaction", second)


def test_nonces_that_do_not_belong_are_refused_in_words(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "wrong nonces")
    alice.funded(10_000)
    signed = alice.signed((alice.address(), alice.lbtc, 1_000))
    nonces = signed["blinding_nonces"]
    assert "does not open with its blinding nonce" in refused(
        alice, "send_transaction", {**signed, "blinding_nonces": [nonces[1], nonces[0], *nonces[2:]]}
    )
    assert no_error(alice.call("send_transaction", signed))["txhash"]


# --- being told ----------------------------------------------------------------------------------------------------


def test_blocks_and_reorganisations_are_told(gdk: GdkPeer, stack: Stack) -> None:
    alice = open_amp(gdk, stack, "blocks")
    alice.session.forget_events()
    height = stack.dev.mine()
    told = alice.session.event("block")
    assert told["block_height"] == height
    alice.funded(9_000)
    address = alice.address()
    stack.dev.faucet(address, 500)
    stack.dev.mine()
    soon(lambda: alice.balance(1) == {alice.lbtc: 9_500})
    alice.session.forget_events()
    new = stack.dev.reorg(2)
    blocks = [alice.session.event("block")]
    while blocks[-1]["block_height"] != new:
        blocks.append(alice.session.event("block"))
    # Both payments wait again, and are still there.
    soon(lambda: alice.balance(1) == {})
    soon(lambda: alice.balance() == {alice.lbtc: 9_500})
    soon(lambda: {row["block_height"] for row in alice.transactions()} == {0})
    stack.dev.mine()
    soon(lambda: alice.balance(1) == {alice.lbtc: 9_500})
    soon(lambda: 0 not in {row["block_height"] for row in alice.transactions()})
    assert len(alice.transactions()) == 2


def test_a_coin_is_spent_although_its_block_was_reorganised(gdk: GdkPeer, stack: Stack) -> None:
    alice, bob = open_amp(gdk, stack, "reorganised"), stranger(gdk, stack, "reorganised")
    alice.funded(9_000)
    stack.dev.reorg(1)
    soon(lambda: alice.balance(1) == {})
    alice.send((bob.address(), alice.lbtc, 1_000))
    soon(lambda: bob.balance() == {bob.lbtc: 1_000})
    # A block makes GDK ask again only where it has seen an unconfirmed transaction.
    assert bob.transactions()[0]["block_height"] == 0
    stack.dev.mine()
    soon(lambda: bob.balance(1) == {bob.lbtc: 1_000})


def test_the_owner_hears_of_what_another_device_does(gdk: GdkPeer, stack: Stack) -> None:
    """Transactions come as events; names and memos with the next look at them."""
    phone = open_amp(gdk, stack, "hearing phone")
    tablet = open_wallet(gdk, stack, "hearing tablet", mnemonic=phone.mnemonic)
    phone.funded(10_000)
    for wallet in (phone, tablet):
        wallet.session.forget_events()
    txid = phone.send((stranger(gdk, stack, "hearing").address(), phone.lbtc, 1_000))
    assert tablet.session.event("transaction") == {"txhash": txid, "subaccounts": [1]}
    soon(lambda: tablet.balance() == phone.balance())
    phone.call("set_transaction_memo", txid, "lunch")
    soon(lambda: tablet.transactions()[0]["memo"] == "lunch")


def test_long_messages_come_in_fragments(gdk: GdkPeer, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of outputs are tens of megabytes: the server sends them as WebSocket fragments, as it does here."""
    monkeypatch.setattr(uvicorn_limits, "PIECE", 700)
    alice = open_amp(gdk, stack, "fragments")
    alice.funded(1_000, 2_000)
    assert len(alice.unspent()[alice.lbtc]) == 2
    assert len(alice.transactions()) == 2


def test_a_price_is_asked_for_once_a_login(gdk: GdkPeer, stack: Stack) -> None:
    """Without an answer GDK asks before every transaction, with its lock held, and a block told meanwhile waits for
    that lock on the thread that the answer needs: one test run of ten hung for good."""
    asked: list[str] = []

    class Prices(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = httpx.get(stack.cosign_url + self.path, trust_env=False)
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Prices) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert gdk.network["price_url"] == stack.cosign_url
        price_url = f"http://127.0.0.1:{server.server_port}"
        alice = open_wallet(gdk, stack, "prices", price_url=price_url)
        alice.account = alice.call("create_subaccount", {"name": "", "type": "2of2_no_recovery"})["pointer"]
        alice.funded(10_000)
        for _ in range(3):
            alice.draft((alice.address(), alice.lbtc, 1_000))
        assert alice.call("convert_amount", {"satoshi": 1_000})["is_current"] is False
        alice.session.close()
        server.shutdown()
    assert asked == ["/v0/venues/BITSTAMP/pairs/XBT/USD", "/v1/liquid/USD"]
