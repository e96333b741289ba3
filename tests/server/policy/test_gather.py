"""Whose units they were: what is known of inputs, what follows from the balance, and what stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amp0.elements.hashes import Txid, sha256
from amp0.elements.transaction import OutPoint
from amp0.server.policy.facts import Kind, Movement, Source, Target, Transfer
from amp0.server.policy.gather import matters
from amp0.server.store import asset_schema as tables
from tests.server.cosigning import Account
from tests.server.policy.market import STRANGER, TREASURY, Managed, Market


def outpoint(name: str) -> OutPoint:
    return OutPoint(Txid(sha256(name.encode())), 0)


def own(index: int, account: Account) -> Source:
    """A hidden input of an account."""
    return Source(index, outpoint(f"{account.id}/{index}"), account.id, account.script(1))


def foreign(index: int) -> Source:
    return Source(index, outpoint(f"foreign/{index}"))


def gathered(market: Market, share: Managed, sources: list[Source], *paid: tuple[bytes, int]) -> Transfer:
    targets = tuple(Target(vout, script, share.id, satoshi) for vout, (script, satoshi) in enumerate(paid))
    with market.store.snapshot() as db:
        (matter,) = matters(db, Movement(tuple(sources), targets), market.now)
    return matter.transfer


def test_what_the_ledger_knows_is_each_holder_s(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    sources = [own(0, alice), own(1, bob)]
    for source, account, satoshi in zip(sources, (alice, bob), (60, 40), strict=True):
        assert source.prevout is not None
        market.enter(source.prevout, share, satoshi, account, acquired_at=satoshi)
    transfer = gathered(market, share, sources, (bob.script(2), 100))
    assert [(coin.vin, coin.satoshi, coin.party.account_id, coin.acquired_at) for coin in transfer.inputs] == [
        (0, 60, alice.id, 60), (1, 40, bob.id, 40),
    ]  # fmt: skip
    assert transfer.unattributed == 0
    assert [holder.user_id for holder in transfer.senders] == [1]
    assert [holder.user_id for holder in transfer.receivers] == [2]


def test_an_open_input_needs_no_ledger(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    shown = Source(0, outpoint("open"), alice.id, alice.script(1), share.id, 70)
    transfer = gathered(market, share, [shown, own(1, bob)], (TREASURY, 100))
    assert [(coin.satoshi, coin.party.account_id, coin.acquired_at) for coin in transfer.inputs] == [
        (70, alice.id, None), (30, bob.id, None),
    ]  # fmt: skip


def test_an_input_that_shows_another_asset_holds_none_of_this(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    fee = Source(1, outpoint("fee"), bob.id, bob.script(1), b"\xaa" * 32, 500)
    transfer = gathered(market, share, [own(0, alice), fee], (TREASURY, 100))
    assert [(coin.satoshi, coin.party.account_id) for coin in transfer.inputs] == [(100, alice.id)]


def test_an_input_known_to_hold_another_managed_asset_holds_none_of_this(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    bond = market.asset("bond")
    sources = [own(0, alice), own(1, bob)]
    assert sources[1].prevout is not None
    market.enter(sources[1].prevout, bond, 5, bob)
    transfer = gathered(market, share, sources, (TREASURY, 100))
    assert [(coin.satoshi, coin.party.account_id) for coin in transfer.inputs] == [(100, alice.id)]


def test_what_is_left_over_is_the_one_holder_s_whose_inputs_are_dark(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    other = market.holder("alice too", user=False)
    market.register(other, 1)
    sources = [own(0, alice), own(1, other), own(2, bob)]
    assert sources[2].prevout is not None
    market.enter(sources[2].prevout, share, 10, bob)
    transfer = gathered(market, share, sources, (TREASURY, 100))
    assert {coin.party.holder: coin.satoshi for coin in transfer.inputs} == {"user 1": 90, "user 2": 10}
    assert transfer.unattributed == 0


def test_a_coin_that_names_the_asset_and_hides_how_much_holds_what_is_left_over(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """It was taken for an empty one: what it held was counted as somebody else's, or was nobody's and stuck."""
    named = replace(own(0, alice), asset=share.id)
    alone = gathered(market, share, [named], (TREASURY, 100))
    assert [(coin.vin, coin.satoshi, coin.party.account_id) for coin in alone.inputs] == [(0, 100, alice.id)]
    both = gathered(market, share, [named, own(1, bob)], (TREASURY, 100))
    assert (both.inputs, both.unattributed) == ((), 100)


def test_f01_what_is_left_over_between_two_is_nobody_s(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    for others in ([own(1, bob)], [foreign(1)]):
        transfer = gathered(market, share, [own(0, alice), *others], (TREASURY, 100))
        assert (transfer.inputs, transfer.unattributed) == ((), 100)


def test_f01_what_a_stranger_is_known_to_hold_is_nobody_s(market: Market, share: Managed, alice: Account) -> None:
    """A lost output that somebody adds beside their own: the ledger knows the amount, and not whose it is."""
    sources = [own(0, alice), foreign(1)]
    assert sources[0].prevout is not None
    assert sources[1].prevout is not None
    market.enter(sources[0].prevout, share, 60, alice)
    market.enter(sources[1].prevout, share, 40, None, script=STRANGER)
    transfer = gathered(market, share, sources, (alice.script(2), 100))
    assert ([coin.satoshi for coin in transfer.inputs], transfer.unattributed) == ([60], 40)


@pytest.mark.parametrize("satoshi", [100, None])
def test_the_treasury_s_inputs_are_its_own_also_from_addresses_that_it_gave_up(
    market: Market, share: Managed, bob: Account, satoshi: int | None
) -> None:
    market.update(tables.treasury_addresses, tables.treasury_addresses.c.asset == share.row, removed_at=5)
    source = foreign(0)
    assert source.prevout is not None
    market.enter(source.prevout, share, satoshi, None, script=TREASURY)
    # Until it is signed it is a coin that somebody names.
    unsigned = gathered(market, share, [source], (bob.script(2), 100))
    assert (unsigned.inputs, unsigned.unattributed) == ((), 100)
    transfer = gathered(market, share, [replace(source, is_signed=True)], (bob.script(2), 100))
    assert [(coin.satoshi, coin.party.kind) for coin in transfer.inputs] == [(100, Kind.TREASURY)]
    assert transfer.senders == ()


def test_inputs_that_are_known_together_are_as_young_as_the_youngest(
    market: Market, share: Managed, alice: Account
) -> None:
    sources = [own(0, alice), own(1, alice), own(2, alice)]
    for source, since in zip(sources[:2], (50, 70), strict=True):
        assert source.prevout is not None
        market.enter(source.prevout, share, None, alice, acquired_at=since)
    (coin,) = gathered(market, share, sources[:2], (TREASURY, 100)).inputs
    assert (coin.vin, coin.satoshi, coin.acquired_at) == (0, 100, 70)
    # One more that may hold some, and nobody knows since when.
    (coin,) = gathered(market, share, sources, (TREASURY, 100)).inputs
    assert (coin.satoshi, coin.acquired_at) == (100, None)


def test_f08_a_coin_that_is_blacklisted_is_named_whatever_is_known_of_it(
    market: Market, share: Managed, alice: Account
) -> None:
    sources = [own(0, alice), own(1, alice)]
    assert sources[1].prevout is not None
    share.blacklist(sources[1].prevout)
    market.asset("bond").blacklist(outpoint(f"{alice.id}/0"))
    assert gathered(market, share, sources, (TREASURY, 100)).blacklisted == (1,)


def test_facts_that_no_rule_asks_for_are_not_looked_up(market: Market, share: Managed, alice: Account) -> None:
    source = own(0, alice)
    assert source.prevout is not None
    market.enter(source.prevout, share, 100, alice)
    plain = gathered(market, share, [source], (alice.script(2), 100))
    assert plain.holders["user 1"].balance == 0
    share.rule("max_balance", satoshi=500)
    share.rule("period_limit", satoshi=500, seconds=60)
    share.rule("issuer_burn", satoshi=500, until=market.now + 60)
    asked = gathered(market, share, [source], (alice.script(2), 100))
    assert (asked.holders["user 1"].balance, asked.holders["user 1"].sent_within) == (100, {60: 0})
    assert asked.holders["user 1"].burned_since == {}
    assert asked.holder_count is None
