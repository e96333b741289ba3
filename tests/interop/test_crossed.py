"""What LWK makes our client uses, and the reverse: accounts, credentials, addresses, PSETs; and both see the same."""

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
    WOLLET,
    Day,
    OwnPeer,
    Peer,
)  # fmt: skip
from tests.interop.lwk_peer import LwkPeer

pytestmark = pytest.mark.interop

BUILD = "b = network.tx_builder()\n{}\namp0pset = b.finish_for_amp0(wollet)\n"
DRAIN = BUILD.format("b.drain_lbtc_wallet()")
GIVE = 'result = {"pset": str(amp0pset.pset()), "nonces": amp0pset.blinding_nonces()}'
TAKE = "amp0pset = Amp0Pset(Pset(pset), nonces)"
SEE = """
def secrets(output):
    if output is None:
        return None
    found = output.unblinded()
    return {
        "outpoint": str(output.outpoint()), "script": str(output.script_pubkey()), "height": output.height(),
        "index": output.wildcard_index(), "address": str(output.address()), "asset": found.asset(),
        "value": found.value(), "asset_bf": found.asset_bf(), "value_bf": found.value_bf(),
    }
result = {
    "balance": wollet.balance(),
    "transactions": [
        {
            "txid": str(tx.txid()), "tx": str(tx.tx()), "type": tx.type(), "height": tx.height(),
            "timestamp": tx.timestamp(), "fee": tx.fee(), "balance": tx.balance(),
            "inputs": [secrets(one) for one in tx.inputs()], "outputs": [secrets(one) for one in tx.outputs()],
        }
        for tx in wollet.transactions()
    ],
    "utxos": sorted((secrets(one) for one in wollet.utxos()), key=lambda one: one["outpoint"]),
    "txos": sorted((secrets(one) for one in wollet.txos()), key=lambda one: one["outpoint"]),
}
"""
STRANGER = """
elsewhere = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)
result = str(elsewhere.address(None).address())
"""
DETAILS = """
details = wollet.pset_details(Pset(pset))
balance = details.balance()
result = {
    "balances": balance.balances(), "fee": balance.fee(),
    "recipients": [
        [None if one.address() is None else str(one.address()), one.asset(), one.value(), one.vout()]
        for one in balance.recipients()
    ],
    "signatures": [[one.has_signature(), one.missing_signature()] for one in details.signatures()],
    "has": details.fingerprints_has(), "missing": details.fingerprints_missing(),
}
"""


Pair = tuple[Day, Day, dict[str, Any]]
"""The day of the one who made the account, that of the other, and what there is to know of the account."""


@pytest.fixture(scope="module", params=["lwk makes", "amp0 makes"])
def pair(request: pytest.FixtureRequest, stack: Stack, lwk: LwkPeer) -> Iterator[Pair]:
    """An account that several tests share; each finds what the others have left in it."""
    yield from open_pair(request.param, request.param, stack, lwk)


@pytest.fixture(params=["lwk makes", "amp0 makes"])
def new_pair(request: pytest.FixtureRequest, stack: Stack, lwk: LwkPeer) -> Iterator[Pair]:
    """An account of this test's own."""
    yield from open_pair(request.node.name, request.param, stack, lwk)


def open_pair(name: str, who: str, stack: Stack, lwk: LwkPeer) -> Iterator[Pair]:
    own = OwnPeer(stack.network)
    peers: list[Peer] = [lwk.space(name), own]
    if who == "amp0 makes":
        peers.reverse()
    maker, other = (Day(peer, stack, f"user of {name}") for peer in peers)
    made = maker.open()
    credentials = {"username": maker.username, "password": maker.password, "amp_id": made["amp_id"]}
    for day in (maker, other):
        day.run(CONNECT, **credentials)
    yield maker, other, made
    own.close()


def receive(day: Day, satoshi: int, asset: str | None = None) -> None:
    day.stack.dev.faucet(day.run(RECEIVE)["address"], satoshi, asset)
    day.stack.dev.mine()


def test_both_find_the_same_account(pair: Pair) -> None:
    maker, other, made = pair
    ask = "result = [amp0.amp_id(), str(amp0.wollet_descriptor())]"
    assert maker.run(ask) == other.run(ask)
    assert maker.run(ask)[0] == made["amp_id"]


def test_an_address_issued_to_one_is_known_to_the_other(pair: Pair) -> None:
    maker, other, _ = pair
    mine, theirs = maker.run(RECEIVE), other.run(RECEIVE)
    assert theirs["index"] == mine["index"] + 1
    again = "result = [str(amp0.address(index).address()), amp0.address(index).index()]"
    # LWK learns of indexes issued to others only when it connects.
    for day in pair[:2]:
        day.run(CONNECT)
        for issued in (mine, theirs):
            assert day.run(again, index=issued["index"]) == [issued["address"], issued["index"]]


def test_the_other_logs_in_with_the_signer_and_makes_the_second_account(new_pair: Pair) -> None:
    maker, other, made = new_pair
    other.run(SIGNER, LOGIN, mnemonic=made["mnemonic"])
    second = other.run(ACCOUNT)
    assert second["pointer"] == 2
    # The credentials show the new account to both, so both have read the list in the wallet's blob.
    ask = "result = str(amp0.wollet_descriptor())"
    assert maker.run(CONNECT, amp_id=second["amp_id"])["amp_id"] == second["amp_id"]
    other.run(CONNECT, amp_id=second["amp_id"])
    assert maker.run(ask) == other.run(ask)


def test_credentials_changed_by_the_other_count_for_both(new_pair: Pair) -> None:
    maker, other, made = new_pair
    other.run(SIGNER, LOGIN, mnemonic=made["mnemonic"])
    other.run("amp0.create_watch_only(username, password)", password="another one")
    assert maker.run(CONNECT, password="another one")["amp_id"] == made["amp_id"]


@pytest.mark.parametrize("client", ["waterfalls", "esplora"])
def test_both_see_the_same(pair: Pair, client: str) -> None:
    """Coins in and out, an asset, a payment to oneself, confirmed and not."""
    maker, other, _ = pair
    asset = maker.stack.dev.issue(1_000)
    # What an earlier test left waiting gets a block of its own: within a block the order is by id.
    maker.stack.dev.mine()
    receive(maker, 100_000)
    receive(other, 700, asset)
    maker.run(CLIENTS[client], WOLLET, SYNC)
    to = maker.run(STRANGER)
    pay = "b.add_recipient(Address(to), 300, asset); b.add_lbtc_recipient(Address(to), 1_000)"
    maker.run(BUILD.format(pay), SIGN, to=to, asset=asset)
    maker.run(COSIGN)
    maker.run(BROADCAST)
    maker.stack.dev.mine()
    maker.run(SYNC)
    maker.run(DRAIN, SIGN)
    maker.run(COSIGN)
    maker.run(BROADCAST)
    for day in (maker, other):
        day.run(CONNECT)
        day.run(CLIENTS[client], WOLLET, SYNC)
    seen = [day.run(SEE) for day in (maker, other)]
    assert [tx["type"] for tx in seen[0]["transactions"]][:4] == ["redeposit", "outgoing", "incoming", "incoming"]
    assert seen[0]["balance"][asset] == 400
    assert differences(seen[0], seen[1]) == []


@pytest.mark.parametrize("cosigned_by", ["builder", "signer"])
def test_a_pset_built_by_one_is_signed_by_the_other(pair: Pair, cosigned_by: str) -> None:
    """``maker`` builds without its signer, the other signs; either asks for the service's signature."""
    builder, signer, made = pair
    receive(builder, 50_000)
    builder.run(CONNECT)
    before = builder.run(CLIENTS["waterfalls"], WOLLET, SYNC)["balance"][LBTC]
    built = builder.run(DRAIN, GIVE)
    signer.run(SIGNER, mnemonic=made["mnemonic"])
    signed = signer.run(TAKE, SIGN, GIVE, **built)
    assert signed["nonces"] == built["nonces"]
    assert signed["pset"] != built["pset"]
    last = builder if cosigned_by == "builder" else signer
    last.run(CLIENTS["waterfalls"], TAKE, **signed)
    spent = last.run(COSIGN)
    assert last.run(BROADCAST) == spent["txid"]
    builder.stack.dev.mine()
    after = builder.run(SYNC)
    assert after["balance"][LBTC] == before - spent["fee"]
    assert after["transactions"][0]["type"] == "redeposit"


def test_both_say_the_same_of_a_pset(pair: Pair) -> None:
    maker, other, _ = pair
    asset = maker.stack.dev.issue(500)
    receive(maker, 40_000)
    receive(maker, 500, asset)
    for day in (maker, other):
        day.run(CONNECT)
        day.run(CLIENTS["waterfalls"], WOLLET, SYNC)
    to = maker.run(STRANGER)
    pay = "b.add_recipient(Address(to), 200, asset); b.add_lbtc_recipient(Address(to), 5_000)"
    unsigned = maker.run(BUILD.format(pay), GIVE, to=to, asset=asset)["pset"]
    signed = maker.run(SIGN, GIVE)["pset"]
    for pset in (unsigned, signed):
        mine, theirs = (sortable(day.run(DETAILS, pset=pset)) for day in (maker, other))
        assert mine == theirs


def test_the_same_payment_costs_the_same(new_pair: Pair) -> None:
    """With one coin of each asset: LWK spends every L-BTC coin there is, we spend the fewest that do."""
    maker, other, _ = new_pair
    asset = maker.stack.dev.issue(500)
    receive(maker, 40_000)
    receive(maker, 500, asset)
    for day in (maker, other):
        day.run(CONNECT)
        day.run(CLIENTS["waterfalls"], WOLLET, SYNC)
    to = maker.run(STRANGER)
    payments = [
        "b.drain_lbtc_wallet()",
        "b.add_lbtc_recipient(Address(to), 1_000)",
        "b.add_recipient(Address(to), 100, asset)",
        "b.add_recipient(Address(to), 500, asset); b.add_lbtc_recipient(Address(to), 1_000)",
        "b.fee_rate(1_234.0); b.add_lbtc_recipient(Address(to), 1_000)",
    ]
    fee = "result = wollet.pset_details(amp0pset.pset()).balance().fee()"
    for payment in payments:
        fees = [day.run(BUILD.format(payment), fee, to=to, asset=asset) for day in (maker, other)]
        assert fees[0] == fees[1] > 0


def differences(mine: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, a line each."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            line
            for key in sorted(mine.keys() | theirs.keys())
            for line in differences(mine.get(key), theirs.get(key), f"{where}.{key}")
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [
            line
            for i, (one, other) in enumerate(zip(mine, theirs, strict=True))
            for line in differences(one, other, f"{where}[{i}]")
        ]
    return [] if mine == theirs else [f"{where}: {mine!r:.100} is not {theirs!r:.100}"]


def sortable(details: dict[str, Any]) -> dict[str, Any]:
    """Lists whose order says nothing, in order."""
    return details | {name: sorted(details[name]) for name in ("recipients", "has", "missing")}
