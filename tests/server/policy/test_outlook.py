"""What signed transactions may still do: those that are sent late, those that were replaced or have lost a parent, and
those that spend coins of which nobody has told the amount."""

from __future__ import annotations

import pytest

from amp0.server import chainindex
from amp0.server.policy import limits
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import LBTC, Account, Coin
from tests.server.policy.market import BURN, DAY, TREASURY, Managed, Market
from tests.server.policy.test_limits import pay


def vanish(market: Market, coin: Coin) -> None:
    """The transaction that made a coin is in neither block nor mempool any more."""
    with market.store.transaction() as db:
        chainindex.mark_gone(db, [coin.prevout.txid()], market.now)


@pytest.mark.parametrize("seconds", [60, DAY])
def test_f06_what_is_sent_long_after_it_was_signed_counts_for_a_period_from_then(
    market: Market, share: Managed, alice: Account, bob: Account, seconds: int
) -> None:
    """Whoever kept a payment for more than two periods could send it and, at once, another that was as large."""
    share.rule("period_limit", satoshi=100, seconds=seconds)
    kept = pay(market, share, alice, bob, 100)
    market.cosign(kept)
    market.later(3 * seconds + 2 * limits.LATE)
    market.seen(kept.tx)
    market.confirm(kept.tx)
    market.later(seconds - 1)
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    market.later(1)
    market.cosign(pay(market, share, alice, bob, 100))


def test_f05_a_parent_signed_elsewhere_that_is_gone_may_come_back(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """The fee of a payment came from a transaction of another wallet, which its owner took out of the mempool. That was
    held for the end of the payment: it was replaced, did not count any more, and another took its room. Then the owner
    sent all three."""
    share.rule("period_limit", satoshi=100, seconds=DAY)
    coin, fee = market.fund(alice, share), market.world.fund(alice, 10_000, blinded=False, height=None)
    market.cosign(market.send([coin, fee], (bob, share, 100), (alice, LBTC, 10_000)))
    vanish(market, fee)
    market.later(601)
    small = market.send([coin], (alice, share, 100))
    market.cosign(small)
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    # Its owner ends it by having the other one confirmed.
    market.gone(small.tx)
    market.cosign(pay(market, share, alice, bob, 100))


def test_f06_what_waits_for_a_distribution_counts_until_that_was_paid_otherwise(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """Nobody but the issuer can end it: the receiver has no coin there that they could spend."""
    share.rule("period_limit", satoshi=100, seconds=DAY)
    share.rule("max_balance", satoshi=100)
    coin = market.fund(alice, share, height=None)
    distribution = market.world.chain.transactions[coin.prevout.txid()]
    source = distribution.vin[0].prevout
    market.enter(source, share, 1_100, None, script=TREASURY)
    market.cosign(market.send([coin], (bob, share, 100)))
    vanish(market, coin)
    carol = market.holder("carol")
    assert market.codes(pay(market, share, alice, carol, 1)) == ["period_limit"]
    assert market.codes(pay(market, share, carol, bob, 1)) == ["recipient_not_allowed"]
    outs = tables.asset_outputs
    market.update(outs, outs.c.txid == bytes(source.txid()), spent_by=b"\xee" * 32, spent_state=1, spent_height=600)
    for height, is_final in ((600, False), (601, True)):
        market.insert(schema.blocks, height=height, hash=bytes((height % 256,)) * 32, previous_hash=bytes(32), time=0)
        payment = pay(market, share, alice, carol, 1)
        if is_final:
            market.cosign(payment)
            market.cosign(pay(market, share, carol, bob, 1))
        else:
            assert market.codes(payment) == ["period_limit"]


@pytest.mark.parametrize("to_burn", [False, True])
def test_f05_a_drawer_holds_what_a_coin_of_unknown_amount_paid(
    market: Market, share: Managed, alice: Account, bob: Account, to_burn: bool
) -> None:
    """A distribution that its issuer has not confirmed: the ledger does not know what such a coin holds, and a replaced
    payment of it was therefore one of nothing."""
    if to_burn:
        share.rule("issuer_burn", satoshi=100, until=market.now + DAY, since=0)
    else:
        share.rule("period_limit", satoshi=100, seconds=DAY)
    to, code = (BURN, "burn_not_approved") if to_burn else (bob, "period_limit")
    coin = market.fund(alice, share, sealed=True, blinded=True)
    kept = market.send([coin], (to, share, 100), blinded=True)
    market.cosign(kept)
    market.later(601)
    # Another one in its place does not count beside it.
    market.cosign(market.send([coin], (to, share, 90), (alice, share, 10), blinded=True))
    market.later(601)
    market.cosign(market.send([coin], (alice, share, 100), blinded=True))
    assert market.codes(pay(market, share, alice, to, 1)) == [code]
    market.gone(kept.tx)
    market.cosign(pay(market, share, alice, to, 100))
