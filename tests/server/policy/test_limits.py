"""Limits over time, accounts and rivals: what counts, from when, and until when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from amp0.elements.transaction import OutPoint
from amp0.server import chainindex
from amp0.server.policy import limits
from amp0.server.refusal import AlreadySigned, PolicyRefused
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import STRANGER, Account, Coin, Payment
from tests.server.policy.market import BURN, DAY, TREASURY, Managed, Market


def pay(market: Market, share: Managed, payer: Account, payee: Account | bytes, satoshi: int) -> Payment:
    """A payment of a coin of its own."""
    return market.send([market.fund(payer, share, satoshi)], (payee, share, satoshi))


def test_every_rule_at_once_on_every_database(database_url: str) -> None:
    """What is looked up for each of them, on each kind of database."""
    market = Market(database_url)
    share, alice, bob = market.asset(checks_sender_categories=1), market.holder("alice"), market.holder("bob")
    users = [row.id for row in market.rows(tables.registered_users)]
    accredited = market.category("accredited", *users, required_by=share)
    month = market.now + 30 * DAY
    minute = market.now % DAY // 60
    share.rule("transfer_limit", satoshi=60)
    share.rule("period_limit", satoshi=100, seconds=DAY)
    share.rule("period_limit", satoshi=1_000, seconds=30 * DAY)
    share.rule("max_holders", holders=2)
    share.rule("max_balance", satoshi=200)
    share.rule("lock_up", until=market.now)
    share.rule("holding_period", seconds=DAY)
    share.rule("vesting", user_id=users[0], schedule=[[month, 100]])
    share.rule("frozen_holder", users=[10**6])
    share.rule("time_window", weekdays=[2], start=minute, to=minute + 1)
    share.rule("issuer_burn", created_at=market.now, satoshi=10, until=month)
    coin = market.fund(alice, share, 200)
    market.cosign(market.send([coin], (bob, share, 50), (BURN, share, 10), (alice, share, 140)))
    assert market.codes(pay(market, share, alice, bob, 41)) == ["period_limit"]
    coin = market.fund(bob, share, 100, acquired_at=5)
    carol = market.holder("carol")
    burns = market.send([coin], (carol, share, 1), (alice, share, 59), (BURN, share, 11), (bob, share, 29))
    assert [(one.code, one.index) for one in market.refused(burns)] == [
        ("burn_not_approved", 2), ("transfer_limit", 0), ("recipient_not_allowed", 0), ("recipient_not_allowed", 1),
    ]  # fmt: skip
    assert market.whole() == [
        "burn_not_approved", "recipient_lacks_category", "transfer_limit", "max_holders", "max_balance",
    ]  # fmt: skip
    with market.store.transaction() as db:
        db.execute(tables.category_users.delete().where(tables.category_users.c.category_id == accredited))
    market.cosign(pay(market, share, bob, TREASURY, 10))
    market.store.close()


# --- F05: two at once ----------------------------------------------------------------------------------------------


def at_once(market: Market, payments: list[Payment]) -> list[bool]:
    def attempt(payment: Payment) -> bool:
        try:
            market.cosign(payment)
        except PolicyRefused:
            return False
        return True

    with ThreadPoolExecutor(len(payments)) as pool:
        return list(pool.map(attempt, payments))


def test_f05_of_two_at_once_that_are_above_the_limit_together_one_passes(database_url: str) -> None:
    market = Market(database_url)
    share, alice, bob = market.asset(), market.holder("alice"), market.holder("bob")
    share.rule("period_limit", satoshi=100, seconds=DAY)
    for _ in range(3):
        pair = [pay(market, share, alice, bob, 60), pay(market, share, alice, bob, 60)]
        assert sorted(at_once(market, pair)) == [False, True]
        market.later(5 * DAY)
        for row in market.rows(schema.cosigned):
            for payment in pair:
                if bytes(payment.tx.txid()) == row.txid:
                    market.confirm(payment.tx, at=market.now - 2 * DAY)
    market.store.close()


def test_f05_of_two_at_once_to_one_holder_one_passes(market: Market, share: Managed, bob: Account) -> None:
    share.rule("max_balance", satoshi=100)
    payments = [pay(market, share, market.holder(name), bob, 60) for name in ("carol", "dave", "erin")]
    assert sorted(at_once(market, payments)) == [False, False, True]


def test_f05_of_two_at_once_that_would_make_a_holder_too_many_one_passes(
    market: Market, share: Managed, alice: Account
) -> None:
    market.fund(alice, share, 1)
    share.rule("max_holders", holders=2)
    payments = [pay(market, share, alice, market.holder(name), 60) for name in ("carol", "dave")]
    assert sorted(at_once(market, payments)) == [False, True]


# --- F06: what counts until when -----------------------------------------------------------------------------------


def test_f06_a_refused_transaction_takes_nothing_of_a_limit(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    for _ in range(3):
        assert market.codes(pay(market, share, alice, bob, 101)) == ["period_limit"]
        assert market.codes(pay(market, share, alice, STRANGER, 60)) == ["recipient_not_allowed"]
    market.cosign(pay(market, share, alice, bob, 100))


def test_f06_the_same_transaction_again_counts_once(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    payment = pay(market, share, alice, bob, 50)
    for _ in range(3):
        market.cosign(payment)
    market.cosign(pay(market, share, alice, bob, 50))
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]


def test_f06_what_was_never_broadcast_counts_as_long_as_it_may_be(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """Somebody who keeps a signed transaction in a drawer may send it beside the next ones, whenever."""
    share.rule("period_limit", satoshi=100, seconds=DAY)
    kept = pay(market, share, alice, bob, 60)
    market.cosign(kept)
    for days in (1, 2, 30):
        market.later(days * DAY)
        assert market.codes(pay(market, share, alice, bob, 60)) == ["period_limit"]
    market.gone(kept.tx)
    market.cosign(pay(market, share, alice, bob, 60))


def test_f06_a_limit_is_free_again_a_period_after_the_block(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    first = pay(market, share, alice, bob, 60)
    market.cosign(first)
    market.later(DAY // 2)
    market.confirm(first.tx)
    market.later(DAY - 1)
    assert market.codes(pay(market, share, alice, bob, 60)) == ["period_limit"]
    market.later(1)
    market.cosign(pay(market, share, alice, bob, 60))


def test_f06_a_transaction_that_comes_back_counts_again(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    first = pay(market, share, alice, bob, 60)
    market.cosign(first)
    market.gone(first.tx)
    market.seen(first.tx)
    assert market.codes(pay(market, share, alice, bob, 60)) == ["period_limit"]


def test_f06_a_replacement_does_not_count_beside_what_it_replaces(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    share.rule("max_balance", satoshi=100)
    share.rule("vesting", user_id=market.rows(tables.registered_users)[0].id, schedule=[[market.now + 9 * DAY, 5]])
    coin = market.fund(alice, share)
    first = market.send([coin], (bob, share, 60), (alice, share, 40))
    second = market.send([coin], (bob, share, 95), (alice, share, 5))
    market.cosign(first)
    with pytest.raises(AlreadySigned):
        market.cosign(second)
    market.later(601)
    market.cosign(second)
    assert market.codes(pay(market, share, alice, bob, 6)) == ["period_limit", "recipient_not_allowed"]
    # The first is on its way after all: it counts, and the second as well, which may still overtake it.
    market.seen(first.tx)
    assert market.codes(pay(market, share, alice, bob, 6)) == ["period_limit", "recipient_not_allowed"]
    # When it is final, it alone counts.
    market.confirm(first.tx)
    market.gone(second.tx)
    market.cosign(pay(market, share, alice, bob, 40))


class Drawer:
    """A payment of 100 that its sender keeps, replaced by one of which next to nothing leaves them."""

    def __init__(self, market: Market, share: Managed, sender: Account, to: Account | bytes) -> None:
        coin = market.fund(sender, share)
        self.kept = market.send([coin], (to, share, 100))
        self.small = market.send([coin], (sender, share, 100))
        market.cosign(self.kept)
        market.later(601)
        market.cosign(self.small)


def test_f05_a_replaced_payment_counts_while_it_may_be_sent_instead(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    drawer = Drawer(market, share, alice, bob)
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    # A third in the place of both is free to choose.
    coin = drawer.small.coins[0]
    market.later(601)
    market.cosign(market.send([coin], (bob, share, 90), (alice, share, 10)))
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    market.gone(drawer.kept.tx)
    market.cosign(pay(market, share, alice, bob, 10))


def test_f05_a_payment_whose_rival_is_on_its_way_counts_until_that_is_final(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    coin = market.fund(alice, share)
    small, large = market.send([coin], (alice, share, 100)), market.send([coin], (bob, share, 100))
    market.cosign(small)
    market.later(601)
    market.cosign(large)
    market.seen(small.tx)
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    market.gone(large.tx)
    market.cosign(pay(market, share, alice, bob, 100))


def test_f05_what_was_signed_on_top_of_a_replaced_payment_counts_with_it(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("period_limit", satoshi=100, seconds=DAY)
    coin = market.fund(alice, share)
    first = market.send([coin], (alice, share, 100))
    market.cosign(first)
    onward = market.send([spendable(market, first, alice)], (bob, share, 100))
    market.cosign(onward)
    with market.store.transaction() as db:
        chainindex.mark_gone(db, [first.tx.txid()], market.now)
    del market.world.chain.transactions[first.tx.txid()]
    market.later(601)
    market.cosign(market.send([coin], (alice, share, 100)))
    assert market.codes(pay(market, share, alice, bob, 1)) == ["period_limit"]
    market.gone(first.tx)
    market.cosign(pay(market, share, alice, bob, 100))


def test_d14_an_approved_burn_in_a_drawer_is_no_second_approval(market: Market, share: Managed, alice: Account) -> None:
    share.rule("issuer_burn", satoshi=100, until=market.now + DAY, since=0)
    Drawer(market, share, alice, BURN)
    assert market.codes(pay(market, share, alice, BURN, 1)) == ["burn_not_approved"]


def test_f05_what_vests_does_not_leave_by_way_of_a_drawer(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    user = market.rows(tables.registered_users)[0].id
    share.rule("vesting", user_id=user, schedule=[[market.now + 9 * DAY, 100]])
    rest = market.fund(alice, share, 100)
    drawer = Drawer(market, share, alice, bob)
    payment = market.send([rest], (bob, share, 1), (alice, share, 99))
    assert market.codes(payment) == ["vesting"]
    market.gone(drawer.kept.tx)
    market.cosign(payment)


def test_f05_what_may_never_arrive_does_not_let_go_what_vests(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """A friend signs a payment and keeps it: it makes nothing free of what the receiver really has."""
    user = market.rows(tables.registered_users)[0].id
    share.rule("vesting", user_id=user, schedule=[[market.now + 9 * DAY, 100]])
    promise = pay(market, share, bob, alice, 100)
    market.cosign(promise)
    payment = pay(market, share, alice, bob, 100)
    assert market.codes(payment) == ["vesting"]
    market.confirm(promise.tx)
    market.cosign(payment)


def test_f05_who_signs_away_what_they_have_makes_no_room_before_it_is_gone(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("max_balance", satoshi=100)
    carol = market.holder("carol")
    leaving = pay(market, share, bob, carol, 100)
    market.cosign(leaving)
    assert market.codes(pay(market, share, alice, bob, 1)) == ["recipient_not_allowed"]
    market.confirm(leaving.tx)
    market.cosign(pay(market, share, alice, bob, 100))


def test_f05_a_replaced_payment_is_still_one_to_its_receiver(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("max_balance", satoshi=100)
    Drawer(market, share, alice, bob)
    assert market.codes(pay(market, share, market.holder("carol"), bob, 1)) == ["recipient_not_allowed"]


def test_f05_holders_who_may_stay_and_those_who_may_come_are_counted(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    market.fund(alice, share, 1)
    share.rule("max_holders", holders=2)
    Drawer(market, share, alice, bob)
    assert market.codes(pay(market, share, alice, market.holder("carol"), 5)) == ["recipient_not_allowed"]
    market.cosign(pay(market, share, alice, bob, 5))


# --- F07: one holder, several accounts -----------------------------------------------------------------------------


def test_f07_limits_are_counted_over_all_accounts_of_a_user(market: Market, share: Managed, bob: Account) -> None:
    user = market.user("alice")
    accounts = [market.holder(f"alice {i}", user=False) for i in range(3)]
    for account in accounts:
        market.register(account, user)
    share.rule("period_limit", satoshi=100, seconds=DAY)
    market.cosign(pay(market, share, accounts[0], bob, 60))
    assert market.codes(pay(market, share, accounts[1], bob, 60)) == ["period_limit"]
    # From one's own account to the other is no payment, however much.
    market.cosign(pay(market, share, accounts[1], accounts[2], 500))
    both = [market.fund(accounts[0], share, 30), market.fund(accounts[1], share, 30)]
    market.cosign(market.send(both, (bob, share, 40), (accounts[2], share, 20)))
    assert market.codes(pay(market, share, accounts[2], bob, 1)) == ["period_limit"]


def test_f07_an_account_that_is_registered_later_brings_what_it_sent(
    market: Market, alice: Account, bob: Account
) -> None:
    tracked = market.asset("tracked", transfer_restricted=0)
    tracked.rule("period_limit", satoshi=100, seconds=DAY)
    loose = market.holder("loose", user=False)
    market.cosign(pay(market, tracked, alice, bob, 60))
    market.cosign(pay(market, tracked, loose, bob, 60))
    user = next(row.user_id for row in market.rows(tables.user_gaids) if row.account_id == alice.id)
    market.register(loose, user)
    assert market.codes(pay(market, tracked, loose, bob, 1)) == ["period_limit"]


def test_f07_a_balance_is_that_of_all_accounts(market: Market, share: Managed, alice: Account) -> None:
    user = market.user("bob")
    first, second = market.holder("bob 1", user=False), market.holder("bob 2", user=False)
    market.register(first, user)
    market.register(second, user)
    share.rule("max_balance", satoshi=100)
    market.fund(first, share, 80)
    assert market.codes(pay(market, share, alice, second, 21)) == ["recipient_not_allowed"]
    assert market.whole() == ["max_balance"]
    market.cosign(pay(market, share, alice, second, 20))


def test_f07_a_user_with_several_accounts_is_one_holder(market: Market, share: Managed, alice: Account) -> None:
    user = market.user("bob")
    first, second = market.holder("bob 1", user=False), market.holder("bob 2", user=False)
    market.register(first, user)
    market.register(second, user)
    market.fund(alice, share, 1)
    share.rule("max_holders", holders=2)
    market.cosign(pay(market, share, alice, first, 5))
    market.cosign(pay(market, share, alice, second, 5))
    assert market.codes(pay(market, share, alice, market.holder("carol"), 5)) == ["recipient_not_allowed"]
    assert market.whole() == ["max_holders"]


def test_two_assets_and_two_issuers_do_not_share_a_limit(market: Market, share: Managed, bob: Account) -> None:
    bank = market.issuer("bank")
    bond = market.asset("bond", issuer=bank, transfer_restricted=0)
    alice = market.holder("alice")
    for asset in (share, bond):
        asset.rule("period_limit", satoshi=100, seconds=DAY)
        market.cosign(pay(market, asset, alice, bob, 100))


# --- holders, balances, lots ---------------------------------------------------------------------------------------


def test_the_last_unit_of_one_holder_makes_room_for_another(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("max_holders", holders=1)
    coin = market.fund(alice, share)
    assert market.codes(market.send([coin], (bob, share, 60), (alice, share, 40))) == ["recipient_not_allowed"]
    market.cosign(market.send([coin], (bob, share, 100)))
    # And what was only promised counts: Bob holds it now, Alice holds nothing.
    assert market.codes(pay(market, share, market.holder("carol"), alice, 5)) == ["recipient_not_allowed"]


def test_a_recipient_with_sealed_outputs_is_not_known_to_be_below_the_maximum(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("max_balance", satoshi=1_000)
    market.fund(bob, share, 5, sealed=True, blinded=True)
    assert market.codes(pay(market, share, alice, bob, 5)) == ["recipient_not_allowed"]
    assert market.whole() == ["recipient_unknown_balance"]


def test_f10_paying_oneself_does_not_make_a_coin_older_or_younger(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("holding_period", seconds=DAY)
    young = market.fund(alice, share, 60, acquired_at=market.now - DAY + 100)
    old = market.fund(alice, share, 60, acquired_at=market.now - DAY)
    # Mixed with an old coin, all of it is as young as the younger.
    mixed = market.send([young, old], (alice, share, 120))
    market.cosign(mixed)
    rows = [row for row in market.rows(tables.asset_outputs) if row.txid == bytes(mixed.tx.txid())]
    assert [row.acquired_at for row in rows] == [market.now - DAY + 100]
    # And moved again and again, it is no younger than it was.
    market.later(99)
    assert market.codes(market.send([spendable(market, mixed, alice)], (bob, share, 120))) == ["holding_period"]
    market.later(1)
    market.cosign(market.send([spendable(market, mixed, alice)], (bob, share, 120)))


def spendable(market: Market, payment: Payment, account: Account) -> Coin:
    """The first output of a payment as a coin, once the mempool has it."""
    tx = payment.tx
    market.world.chain.transactions[tx.txid()] = tx
    if not any(row.txid == bytes(tx.txid()) for row in market.rows(schema.transactions)):
        market.world.watch(tx, None, {0: (account, 3)})
        market.seen(tx)
    return Coin(OutPoint(tx.txid(), 0), tx.vout[0], payment.outputs[0].opening, account, 3)


def test_f10_what_somebody_else_sends_is_new(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    share.rule("holding_period", seconds=DAY)
    payment = pay(market, share, alice, bob, 60)
    market.cosign(payment)
    coin = spendable(market, payment, bob)
    assert market.codes(market.send([coin], (alice, share, 60))) == ["holding_period"]
    market.later(DAY)
    market.cosign(market.send([coin], (alice, share, 60)))


def test_f10_vested_units_cannot_be_hidden_in_another_account(market: Market, share: Managed, bob: Account) -> None:
    user = market.user("alice")
    first, second = market.holder("alice 1", user=False), market.holder("alice 2", user=False)
    market.register(first, user)
    market.register(second, user)
    share.rule("vesting", user_id=user, schedule=[[market.now + DAY, 70]])
    payment = pay(market, share, first, second, 100)
    market.cosign(payment)
    coin = spendable(market, payment, second)
    assert market.codes(market.send([coin], (bob, share, 31), (second, share, 69))) == ["vesting"]
    assert market.codes(market.send([coin], (TREASURY, share, 31), (second, share, 69))) == ["vesting"]
    market.cosign(market.send([coin], (bob, share, 30), (second, share, 70)))
    market.later(DAY)
    market.cosign(pay(market, share, first, bob, 1))


def test_a_lock_up_holds_redemption_too(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    share.rule("lock_up", until=market.now + 10)
    payment = pay(market, share, alice, TREASURY, 60)
    assert market.codes(payment) == ["lock_up"]
    market.later(10)
    market.cosign(payment)


def test_a_time_window_is_read_from_the_database_as_it_is_written(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    minute = market.now % DAY // 60
    share.rule("time_window", weekdays=[2], start=minute, to=minute + 1)
    payment = pay(market, share, alice, bob, 60)
    market.later(60)
    assert market.codes(payment) == ["time_window"]
    market.later(-60)
    market.cosign(payment)


def test_moves_are_counted_by_account_and_never_more_than_it_gave(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    coins = [market.fund(alice, share, 30), market.fund(bob, share, 50)]
    carol = market.holder("carol")
    market.cosign(market.send(coins, (carol, share, 60), (bob, share, 20)))
    assert {row.account_id: row.satoshi for row in market.rows(tables.asset_moves)} == {alice.id: 30, bob.id: 30}
    with market.store.snapshot() as db:
        accounts = {alice.id: "user 1", bob.id: "user 2"}
        assert limits.sent_within(db, share.row, accounts, DAY, market.now, ()) == {"user 1": 30, "user 2": 30}
