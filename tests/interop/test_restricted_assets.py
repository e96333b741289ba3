"""A restricted asset in the hands of LWK, GDK and our own client: received, held, sent, and refused with its reason.

The issuer works over HTTP, with an Elements node's wallet as the treasury. Holders are what their kits make of an AMP
account: none of them knows anything of issuers, and all they ever see of a rule is the error of a payment.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from amp0 import IssuerClient, NodeTreasury
from amp0.errors import CosignRefused
from amp0.local.stack import Stack
from amp0.protocol.issuer import Issue, Issued, Outpoint
from tests.interop.days import (
    BROADCAST,
    CLIENTS,
    CONNECT,
    COSIGN,
    RECEIVE,
    SIGN,
    SYNC,
    WOLLET,
    Day,
    OwnPeer,
)  # fmt: skip
from tests.interop.gdk_peer import GdkPeer
from tests.interop.gdk_wallets import GdkWallet, open_amp, open_wallet, refused, soon
from tests.interop.lwk_peer import LwkFailed, LwkPeer, four_digit_ports

pytestmark = pytest.mark.interop

ISSUED, EACH, FEES = 10_000, 1_000, 20_000
PUBKEY = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
PAY = """
b = network.tx_builder()
b.add_recipient(Address(to), satoshi, asset)
amp0pset = b.finish_for_amp0(wollet)
"""
STRANGER = """
elsewhere = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)
result = str(elsewhere.address(None).address())
"""
KITS = ("lwk", "gdk", "own")
NOT_ALLOWED = "recipient_not_allowed"


class Holder(Protocol):
    """An AMP account in somebody's hands."""

    gaid: str

    def address(self) -> str:
        """A fresh one, given to whoever pays."""
        ...

    def holds(self, asset: str) -> int:
        """What the kit says there is, in satoshi."""
        ...

    def pays(self, to: str, satoshi: int, asset: str) -> str:
        """The txid of a payment that was cosigned and broadcast."""
        ...

    def is_refused(self, to: str, satoshi: int, asset: str) -> str:
        """What the kit shows its user of a payment that is not cosigned."""
        ...


class Scripted:
    """LWK, or our own client, which runs the same scripts."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self.gaid: str = day.open()["amp_id"]
        self.connect()
        day.run(CLIENTS["waterfalls"], WOLLET)

    def connect(self) -> None:
        """Learn of the addresses that the server handed out to others."""
        self._day.run(CONNECT, amp_id=self.gaid)

    def address(self) -> str:
        address: str = self._day.run(RECEIVE)["address"]
        return address

    def holds(self, asset: str) -> int:
        balance: dict[str, int] = self._day.run(SYNC)["balance"]
        return balance.get(asset, 0)

    def pays(self, to: str, satoshi: int, asset: str) -> str:
        self._day.run(PAY, SIGN, to=to, satoshi=satoshi, asset=asset)
        self._day.run(COSIGN)
        txid: str = self._day.run(BROADCAST)
        return txid

    def is_refused(self, to: str, satoshi: int, asset: str) -> str:
        self._day.run(PAY, SIGN, to=to, satoshi=satoshi, asset=asset)
        with pytest.raises((LwkFailed, CosignRefused)) as caught:
            self._day.run(COSIGN)
        if isinstance(caught.value, CosignRefused):
            assert all(reason.code in str(caught.value) for reason in caught.value.reasons)
            assert caught.value.reasons
        return str(caught.value)


class InGdk:
    """GDK, with all its own habits."""

    def __init__(self, wallet: GdkWallet) -> None:
        self._wallet = wallet
        [row] = [row for row in wallet.subaccounts() if row["pointer"] == wallet.account]
        self.gaid: str = row["receiving_id"]

    def address(self) -> str:
        return self._wallet.address()

    def holds(self, asset: str) -> int:
        return self._wallet.balance().get(asset, 0)

    def pays(self, to: str, satoshi: int, asset: str) -> str:
        return self._wallet.send((to, asset, satoshi))

    def is_refused(self, to: str, satoshi: int, asset: str) -> str:
        return refused(self._wallet, "send_transaction", self._wallet.signed((to, asset, satoshi)))


@dataclass
class Market:
    """An issuer with an asset, and those who hold it: by the name of their kit."""

    stack: Stack
    issuer: Any
    treasury: NodeTreasury
    asset: Issued
    holders: dict[str, Holder]
    users: dict[str, int]

    def __getitem__(self, kit: str) -> Holder:
        return self.holders[kit]

    def register(self) -> dict[str | None, int]:
        """GAID → satoshi; the treasury's is under None."""
        return {row.gaid: row.amount for row in self.issuer.ownerships(self.asset.asset_uuid)}

    def pays(self, kit: str, to: str, satoshi: int) -> str:
        """A payment, in a block that everybody has read."""
        txid = self[kit].pays(to, satoshi, self.asset.asset_id)
        self.settle()
        return txid

    def is_refused(self, kit: str, to: str, satoshi: int = 10) -> str:
        before = self.register()
        text = self[kit].is_refused(to, satoshi, self.asset.asset_id)
        assert self.register() == before
        return text

    def settle(self) -> None:
        """A block, and all agree: kits and register."""
        self.stack.dev.mine()
        soon(lambda: self.seen() == {kit: self.register().get(holder.gaid, 0) for kit, holder in self.holders.items()})
        assert sum(self.register().values()) == ISSUED

    def seen(self) -> dict[str, int]:
        """Kit → what it says that it holds."""
        return {kit: holder.holds(self.asset.asset_id) for kit, holder in self.holders.items()}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Chain, node and server in memory, the server's two doors on ports of four digits."""
    wamp, cosign = four_digit_ports(2)
    with Stack(wamp_port=wamp, cosign_port=cosign, chain_port=0, node_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def market(stack: Stack, lwk: LwkPeer, gdk: GdkPeer) -> Iterator[Market]:
    """Each holder has been distributed the same, and has L-BTC for fees."""
    own = OwnPeer(stack.network)
    wallet = open_amp(gdk, stack, "holder")
    holders: dict[str, Holder] = {
        "lwk": Scripted(Day(lwk.space("holder"), stack, "holder in LWK")),
        "gdk": InGdk(wallet),
        "own": Scripted(Day(own, stack, "holder of ours")),
    }
    stack.dev.create_issuer("acme", "correct horse battery")
    with IssuerClient(stack.api_url, "acme", "correct horse battery") as issuer:
        made = issue(stack, issuer)
        market = Market(stack, issuer, made[0], made[1], holders, {})
        for kit, holder in holders.items():
            stack.dev.faucet(holder.address(), FEES)
            market.users[kit] = issuer.add_user(kit, gaid=holder.gaid).id
            issuer.assign(made[1].asset_uuid, market.users[kit], EACH, ready=True)
        distribute(market)
        yield market
    own.close()


def issue(stack: Stack, issuer: Any) -> tuple[NodeTreasury, Issued]:
    """A restricted asset in the wallet of the stack's node."""
    assert stack.node_url is not None
    treasury = NodeTreasury(stack.node_url, str(stack.to_json()["node_cookie"]))
    destination, fees = (asyncio.run(treasury.new_address()) for _ in range(2))
    stack.dev.faucet(fees, 1_000_000)
    issued = issuer.issue(
        Issue(
            name="Restricted shares",
            amount=ISSUED,
            destination_address=destination,
            domain="example.com",
            ticker="RSTR",
            pubkey=PUBKEY,
            transfer_restricted=True,
        )
    )
    stack.dev.mine(2)
    soon(lambda: sum(row.amount for row in issuer.ownerships(issued.asset_uuid)) == ISSUED)
    return treasury, issued


def distribute(market: Market) -> None:
    """What was assigned, paid by the node and confirmed."""
    market.issuer.distribute(
        market.asset.asset_uuid,
        market.treasury,
        report=lambda progress: market.stack.dev.mine(2) if progress.step == "sent" else None,
        poll_seconds=0.05,
    )
    for holder in market.holders.values():
        if isinstance(holder, Scripted):
            holder.connect()
    market.settle()


# --- who may -------------------------------------------------------------------------------------------------------


def test_each_kit_sees_what_was_distributed(market: Market) -> None:
    assert market.seen() == dict.fromkeys(KITS, EACH)
    register: dict[str | None, int] = {holder.gaid: EACH for holder in market.holders.values()}
    assert market.register() == register | {None: ISSUED - len(KITS) * EACH}


@pytest.mark.parametrize(("giver", "taker"), [("lwk", "gdk"), ("gdk", "own"), ("own", "lwk")])
def test_one_pays_the_other_and_the_register_balances(market: Market, giver: str, taker: str) -> None:
    before = market.register()
    market.pays(giver, market[taker].address(), 123)
    after = market.register()
    changed = {market[giver].gaid: -123, market[taker].gaid: 123}
    assert after == {gaid: satoshi + changed.get(str(gaid), 0) for gaid, satoshi in before.items()}


@pytest.mark.parametrize("kit", KITS)
def test_a_holder_redeems_at_the_treasury(market: Market, kit: str) -> None:
    before = market.register()
    treasury: str = market.issuer.treasury_addresses(market.asset.asset_uuid)[0]
    market.pays(kit, treasury, 7)
    after = market.register()
    assert after[market[kit].gaid] == before[market[kit].gaid] - 7
    assert after[None] == before[None] + 7


# --- who may not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", KITS)
def test_d16_strangers_are_refused_and_all_in_the_same_words(market: Market, stranger: Stranger, kit: str) -> None:
    """A wallet of another kind, an account here that is no AMP account, an AMP account that nobody has registered, and
    a registered user who is frozen."""
    texts = {who: market.is_refused(kit, address) for who, address in stranger.addresses().items()}
    with frozen(market, next(other for other in KITS if other != kit)) as address:
        texts["frozen"] = market.is_refused(kit, address)
    for who, text in texts.items():
        assert f"{NOT_ALLOWED}: output" in text, who
        assert "this asset may not be sent to this recipient" in text, who
    # The number of the output differs, and nothing else does: no kit becomes an oracle on who is registered.
    assert len({re.sub(r"output \d+|[0-9a-f]{64}", "", text) for text in texts.values()}) == 1, texts


@pytest.mark.parametrize("kit", KITS)
def test_a_locked_asset_does_not_move(market: Market, kit: str) -> None:
    to = market[next(other for other in KITS if other != kit)].address()
    market.issuer.lock_asset(market.asset.asset_uuid)
    try:
        assert "asset_locked: its issuer has locked this asset" in market.is_refused(kit, to)
    finally:
        market.issuer.unlock_asset(market.asset.asset_uuid)
    market.pays(kit, to, 10)


@pytest.mark.parametrize("kit", KITS)
def test_blacklisted_coins_do_not_move(market: Market, kit: str) -> None:
    to = market[next(other for other in KITS if other != kit)].address()
    rows = [row for row in market.issuer.utxos(market.asset.asset_uuid) if row.gaid == market[kit].gaid]
    coins = [Outpoint(txid=row.txid, vout=row.vout) for row in rows]
    assert coins
    market.issuer.blacklist(market.asset.asset_uuid, coins)
    try:
        text = market.is_refused(kit, to)
        assert "output_blacklisted: input" in text
        assert "frozen this coin" in text
    finally:
        market.issuer.whitelist(market.asset.asset_uuid, coins)
    market.pays(kit, to, 10)


@pytest.mark.parametrize("kit", KITS)
def test_a_rule_of_the_issuer_is_told_to_the_sender(market: Market, kit: str) -> None:
    to = market[next(other for other in KITS if other != kit)].address()
    uuid = market.asset.asset_uuid
    market.issuer.add_rule(uuid, "transfer_limit", {"satoshi": 20})
    [rule] = market.issuer.rules(uuid)
    try:
        text = market.is_refused(kit, to, 21)
        assert "transfer_limit: input" in text
        assert "at most 20 satoshi" in text
        market.pays(kit, to, 20)
    finally:
        market.issuer.end_rule(uuid, rule.id)
    refusal = market.issuer.refusals(uuid, count=1)[0]
    assert (refusal.gaid, refusal.registered_user) == (market[kit].gaid, market.users[kit])
    assert [reason.code for reason in refusal.reasons] == ["transfer_limit"]


def test_the_issuer_reads_what_holders_were_not_told(market: Market, stranger: Stranger) -> None:
    codes = {
        "wallet": "foreign_destination",
        "account": "foreign_destination",
        "unregistered": "recipient_not_registered",
    }
    for who, address in stranger.addresses().items():
        market.is_refused("own", address)
        refusal = market.issuer.refusals(market.asset.asset_uuid, count=1)[0]
        assert [reason.code for reason in refusal.reasons] == [codes[who]]


def test_f07_accounts_in_two_kits_are_one_holder_to_a_limit(market: Market, stack: Stack, lwk: LwkPeer) -> None:
    own = OwnPeer(stack.network)
    pair: dict[str, Holder] = {
        "first": Scripted(Day(lwk.space("first"), stack, "first of two")),
        "second": Scripted(Day(own, stack, "second of two")),
    }
    user = market.issuer.add_user("Both", gaid=pair["first"].gaid).id
    market.issuer.add_gaid(user, pair["second"].gaid)
    for holder in pair.values():
        stack.dev.faucet(holder.address(), FEES)
    market.holders |= pair
    uuid, to = market.asset.asset_uuid, market["gdk"].address()
    for holder in pair.values():
        market.pays("gdk", holder.address(), 60)
    market.issuer.add_rule(uuid, "period_limit", {"satoshi": 50, "seconds": 3_600})
    [rule] = market.issuer.rules(uuid)
    try:
        market.pays("first", to, 30)
        assert "period_limit: input" in (text := market.is_refused("second", to, 21))
        assert "20 are left, not 21" in text
        market.pays("second", to, 20)
        assert "0 are left" in market.is_refused("first", to, 1)
    finally:
        market.issuer.end_rule(uuid, rule.id)
        for name in pair:
            del market.holders[name]
        own.close()


@pytest.mark.parametrize("kit", KITS)
def test_a_frozen_holder_is_told_so(market: Market, kit: str) -> None:
    to = market[next(other for other in KITS if other != kit)].address()
    with frozen(market, kit):
        assert "sender_frozen: input" in market.is_refused(kit, to)
    market.pays(kit, to, 5)


@contextmanager
def frozen(market: Market, kit: str) -> Iterator[str]:
    """The address of a registered user who is frozen for so long."""
    address = market[kit].address()
    market.issuer.freeze_user(market.users[kit])
    try:
        yield address
    finally:
        market.issuer.unfreeze_user(market.users[kit])


@dataclass
class Stranger:
    """Somebody with a wallet of another kind, an ordinary account, and an AMP account that the issuer does not know."""

    day: Day
    wallet: GdkWallet

    def addresses(self) -> dict[str, str]:
        return {
            "wallet": self.day.run(STRANGER),
            "account": self.wallet.address(),
            "unregistered": self.day.run(RECEIVE)["address"],
        }


@pytest.fixture(scope="module")
def stranger(stack: Stack, gdk: GdkPeer) -> Iterator[Stranger]:
    """Nobody's user."""
    wallet = open_wallet(gdk, stack, "stranger")
    wallet.account = 0
    peer = OwnPeer(stack.network)
    day = Day(peer, stack, "a stranger")
    day.open()
    day.run(CONNECT)
    yield Stranger(day, wallet)
    peer.close()
