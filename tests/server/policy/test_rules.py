"""Each rule by itself: what it lets pass, what it refuses, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.protocol.reasons import sentence
from amp0.server.policy.engine import decide
from amp0.server.policy.facts import Transfer
from amp0.server.policy.rules import (
    ALWAYS,
    MAX_PARAMETERS,
    ONLY_REFUSING,
    SETTABLE,
    FrozenHolder,
    HoldingPeriod,
    IssuerBurn,
    LockUp,
    MaxBalance,
    MaxHolders,
    PeriodLimit,
    TimeWindow,
    TransferLimit,
    Vesting,
    WrongParameters,
    parameters,
    parse,
)
from tests.server.policy.transfers import (
    ALICE,
    ASSET,
    BOB,
    BURN,
    CAROL,
    DAY,
    NOW,
    STRANGER,
    TREASURY,
    codes,
    nobody,
    transfer,
    user,
)

PAYMENT = transfer([(ALICE, 100)], [(BOB, 60), (ALICE, 40)])


def texts(moved: Transfer, *rules: Any) -> list[str]:
    return [sentence(one) for one in decide(moved, rules).reasons]


def test_a_payment_among_registered_users_passes() -> None:
    assert codes(PAYMENT) == []


# --- always --------------------------------------------------------------------------------------------------------


def test_f01_what_nobody_can_attribute_is_refused() -> None:
    moved = transfer([(ALICE, 60)], [(BOB, 100)], unattributed=40)
    assert codes(moved) == ["missing_fact"]
    assert codes(transfer([], [], is_unopened=True)) == ["missing_fact"]


def test_inputs_and_outputs_hold_the_same() -> None:
    assert texts(transfer([(ALICE, 100)], [(BOB, 60)])) == [
        "amounts_differ: the inputs hold 100 satoshi of this asset, and the outputs 60"
    ]


def test_nothing_of_a_locked_asset_moves_not_even_to_oneself() -> None:
    locked = replace(ASSET, is_locked=True)
    for outputs in ([(BOB, 100)], [(ALICE, 100)], [(TREASURY, 100)]):
        assert codes(transfer([(ALICE, 100)], outputs, asset=locked)) == ["asset_locked"]


def test_a_blacklisted_coin_is_named() -> None:
    moved = transfer([(ALICE, 50), (ALICE, 50)], [(TREASURY, 100)], blacklisted=(1,))
    (one,) = decide(moved, ()).reasons
    assert (one.code, one.side, one.index, one.asset_id) == ("output_blacklisted", "input", 1, ASSET.hex)


def test_d16_a_stranger_is_no_destination() -> None:
    (one,) = decide(transfer([(ALICE, 100)], [(ALICE, 40), (STRANGER, 60)]), ()).reasons
    assert (one.code, one.side, one.index, one.about) == ("foreign_destination", "output", 1, "recipient")


def test_d15_change_to_a_stranger_is_a_payment_to_a_stranger() -> None:
    assert codes(transfer([(ALICE, 100)], [(BOB, 60), (STRANGER, 40)])) == ["foreign_destination"]


def test_d14_a_burn_needs_an_approval() -> None:
    assert codes(transfer([(ALICE, 100)], [(BURN, 60), (ALICE, 40)])) == ["burn_not_approved"]


def test_a_token_goes_to_the_treasury_and_back_only() -> None:
    token = replace(ASSET, is_token=True)
    assert codes(transfer([(ALICE, 9)], [(TREASURY, 5), (ALICE, 4)], asset=token)) == []
    assert codes(transfer([(ALICE, 9)], [(BOB, 5), (ALICE, 4)], asset=token)) == ["foreign_destination"]
    swapped = transfer([(ALICE, 9), (BOB, 1)], [(BOB, 5), (ALICE, 5)], asset=token)
    assert codes(swapped) == ["foreign_destination"]


def test_receivers_of_a_restricted_asset_are_registered_and_in_every_category() -> None:
    assert codes(transfer([(ALICE, 100)], [(nobody(9), 60), (ALICE, 40)])) == ["recipient_not_registered"]
    asset = replace(ASSET, requirements=frozenset({5, 6, 7}))
    known = {"user 2": {"categories": frozenset({6})}}
    assert texts(transfer([(ALICE, 100)], [(ALICE, 40), (BOB, 60)], asset=asset, known=known)) == [
        "recipient_lacks_category: output 1: the recipient is not in category 5",
        "recipient_lacks_category: output 1: the recipient is not in category 7",
    ]


def test_senders_are_registered_and_in_the_categories_where_the_asset_asks() -> None:
    assert codes(transfer([(nobody(9), 100)], [(BOB, 100)])) == ["sender_not_registered"]
    asset = replace(ASSET, requirements=frozenset({5}))
    known = {"user 2": {"categories": frozenset({5})}}
    assert codes(transfer([(ALICE, 100)], [(BOB, 100)], asset=asset, known=known)) == []
    asked = replace(asset, checks_sender_categories=True)
    assert codes(transfer([(ALICE, 100)], [(BOB, 100)], asset=asked, known=known)) == ["sender_lacks_category"]


def test_whoever_holds_may_redeem_and_tidy_up() -> None:
    asked = replace(ASSET, requirements=frozenset({5}), checks_sender_categories=True)
    for party in (ALICE, nobody(9)):
        assert codes(transfer([(party, 100)], [(TREASURY, 60), (party, 40)], asset=asked)) == []
        assert codes(transfer([(party, 60), (party, 40)], [(party, 100)], asset=asked)) == []


def test_change_above_what_was_put_in_is_a_payment() -> None:
    """Two who sign together: the one who takes out more is a receiver, whatever they put in."""
    moved = transfer([(ALICE, 100), (nobody(9), 1)], [(nobody(9), 101)])
    assert codes(moved) == ["recipient_not_registered"]


def test_an_issuer_tracked_asset_goes_to_any_amp_account() -> None:
    tracked = replace(ASSET, transfer_restricted=False, requirements=frozenset({5}))
    assert codes(transfer([(nobody(8), 100)], [(nobody(9), 100)], asset=tracked)) == []
    assert codes(transfer([(nobody(8), 100)], [(STRANGER, 100)], asset=tracked)) == ["foreign_destination"]


def test_d16_a_frozen_holder_neither_sends_nor_receives_nor_redeems() -> None:
    frozen = {"user 1": {"is_frozen": True}}
    assert codes(transfer([(ALICE, 100)], [(TREASURY, 100)], known=frozen)) == ["sender_frozen"]
    assert codes(transfer([(ALICE, 100)], [(ALICE, 100)], known=frozen)) == ["sender_frozen"]
    assert codes(transfer([(BOB, 100)], [(ALICE, 100)], known=frozen)) == ["recipient_frozen"]


def test_the_treasury_pays_like_anybody_and_needs_no_registration() -> None:
    assert codes(transfer([(TREASURY, 100)], [(BOB, 60), (TREASURY, 40)])) == []
    assert codes(transfer([(TREASURY, 100)], [(nobody(9), 100)])) == ["recipient_not_registered"]


def test_the_rules_that_always_hold_have_their_order() -> None:
    assert [rule.TAG for rule in ALWAYS] == [
        "missing_fact", "balance", "asset_lock", "output_blacklist", "destination", "registered_holder",
        "frozen_holder",
    ]  # fmt: skip


# --- set by issuers ------------------------------------------------------------------------------------------------


def test_frozen_for_one_asset() -> None:
    assert codes(PAYMENT, FrozenHolder(frozenset({2}))) == ["recipient_frozen"]
    assert codes(PAYMENT, FrozenHolder(frozenset({3}))) == []


def test_an_account_without_a_user_is_in_no_list() -> None:
    tracked = replace(ASSET, transfer_restricted=False)
    assert codes(transfer([(nobody(1), 9)], [(nobody(2), 9)], asset=tracked), FrozenHolder(frozenset({1, 2}))) == []


def test_a_transfer_limit_counts_what_leaves() -> None:
    assert codes(PAYMENT, TransferLimit(60)) == []
    assert texts(PAYMENT, TransferLimit(59)) == [
        "transfer_limit: input 0: at most 59 satoshi of this asset may leave a holder at once, not 60"
    ]


def test_d17_fifty_small_outputs_are_one_large_one() -> None:
    moved = transfer([(ALICE, 100)], [(BOB, 1), (CAROL, 1)] * 25 + [(ALICE, 50)])
    assert codes(moved, TransferLimit(49)) == ["transfer_limit"]
    assert codes(moved, TransferLimit(50)) == []


def test_f07_two_accounts_of_one_user_are_one_sender() -> None:
    moved = transfer([(user(1, 11), 40), (user(1, 12), 40)], [(BOB, 70), (user(1, 13), 10)])
    assert codes(moved, TransferLimit(69)) == ["transfer_limit"]
    assert codes(moved, TransferLimit(70)) == []


def test_limits_are_for_each_sender() -> None:
    moved = transfer([(ALICE, 50), (BOB, 80)], [(CAROL, 100), (BOB, 30)])
    assert codes(moved, TransferLimit(50)) == []
    assert texts(moved, TransferLimit(49))[0].startswith("transfer_limit: input 0: ")
    assert texts(moved, TransferLimit(49))[1].startswith("transfer_limit: input 1: ")


def test_a_period_limit_counts_what_left_before() -> None:
    def moved(before: int) -> Transfer:
        return transfer([(ALICE, 100)], [(BOB, 60), (ALICE, 40)], known={"user 1": {"sent_within": {DAY: before}}})

    assert codes(moved(40), PeriodLimit(100, DAY)) == []
    assert texts(moved(41), PeriodLimit(100, DAY)) == [
        "period_limit: input 0: at most 100 satoshi of this asset may leave a holder in 86400 seconds; 59 are left, "
        "not 60"
    ]
    assert "; 0 are left" in texts(moved(500), PeriodLimit(100, DAY))[0]


def test_no_more_holders_than_that() -> None:
    rule = MaxHolders(10)
    rich, poor = {"user 1": {"balance": 500}}, {"user 1": {"balance": 60}}
    new = transfer([(ALICE, 60)], [(BOB, 60)], known=rich, holder_count=10)
    assert codes(new, rule) == ["max_holders"]
    assert codes(replace(new, holder_count=9), rule) == []
    # Who sends all makes room.
    assert codes(transfer([(ALICE, 60)], [(BOB, 60)], known=poor, holder_count=10), rule) == []
    # Who holds already is no new holder, even where there are too many.
    old = transfer([(ALICE, 60)], [(BOB, 60)], known={**rich, "user 2": {"balance": 1}}, holder_count=99)
    assert codes(old, rule) == []
    two = transfer([(ALICE, 60)], [(BOB, 30), (CAROL, 30)], known=poor, holder_count=10)
    assert codes(two, rule) == ["max_holders", "max_holders"]


def test_nobody_holds_more_than_that() -> None:
    def moved(balance: int, **more: Any) -> Transfer:
        return transfer([(ALICE, 60)], [(BOB, 60)], known={"user 2": {"balance": balance, **more}})

    assert codes(moved(40), MaxBalance(100)) == []
    assert codes(moved(41), MaxBalance(100)) == ["max_balance"]
    assert codes(moved(0, is_sealed=True), MaxBalance(100)) == ["recipient_unknown_balance"]
    assert codes(transfer([(ALICE, 60)], [(TREASURY, 60)]), MaxBalance(1)) == []
    # What the receiver puts in is not held twice.
    both = transfer([(ALICE, 60), (BOB, 40)], [(BOB, 100)], known={"user 2": {"balance": 40}})
    assert codes(both, MaxBalance(100)) == []
    assert codes(both, MaxBalance(99)) == ["max_balance"]
    # Somebody above the maximum may still send, and get change.
    known = {"user 1": {"balance": 900}}
    assert codes(transfer([(ALICE, 900)], [(BOB, 1), (ALICE, 899)], known=known), MaxBalance(100)) == []


def test_a_lock_up_ends() -> None:
    assert codes(PAYMENT, LockUp(NOW)) == []
    assert texts(PAYMENT, LockUp(NOW + 1)) == [
        "lock_up: input 0: this asset may not be sent before 2023-11-14 22:13 UTC"
    ]
    assert codes(transfer([(ALICE, 60)], [(TREASURY, 60)]), LockUp(NOW + 1)) == ["lock_up"]
    assert codes(transfer([(ALICE, 60)], [(ALICE, 60)]), LockUp(NOW + 1)) == []
    assert codes(transfer([(TREASURY, 60)], [(ALICE, 60)]), LockUp(NOW + 1)) == []


def test_a_holding_period_looks_at_the_coins_that_are_spent() -> None:
    rule = HoldingPeriod(DAY)
    old, young = NOW - DAY, NOW - DAY + 1
    assert codes(transfer([(ALICE, 60, old)], [(BOB, 60)]), rule) == []
    assert codes(transfer([(ALICE, 60, young)], [(BOB, 60)]), rule) == ["holding_period"]
    both = [(ALICE, 60, old), (ALICE, 60, young)]
    assert codes(transfer(both, [(BOB, 60), (ALICE, 60)]), rule) == []
    assert "60 satoshi may leave, not 61" in texts(transfer(both, [(BOB, 61), (ALICE, 59)]), rule)[0]
    assert codes(transfer([(ALICE, 60, None)], [(BOB, 60)]), rule) == ["missing_fact"]
    assert codes(transfer([(ALICE, 60, None)], [(ALICE, 60)]), rule) == []


def test_what_is_not_vested_stays() -> None:
    rule = Vesting(1, ((NOW, 50), (NOW + 1, 30), (NOW + DAY, 20)))

    def moved(sent: int) -> Transfer:
        return transfer([(ALICE, sent)], [(BOB, sent)], known={"user 1": {"balance": 100}})

    assert codes(moved(50), rule) == []
    assert texts(moved(51), rule) == [
        "vesting: input 0: 50 satoshi of this holding are still locked: 50 may leave, not 51"
    ]
    assert codes(moved(51), replace_user(rule, 2)) == []
    assert codes(transfer([(ALICE, 100)], [(ALICE, 100)], known={"user 1": {"balance": 100}}), rule) == []
    ended = replace(moved(100), now=NOW + DAY)
    assert codes(ended, rule) == []


def replace_user(rule: Vesting, user_id: int) -> Vesting:
    return Vesting(user_id, rule.schedule)


def test_a_time_window_is_open_from_its_first_minute_to_before_its_last() -> None:
    rule = TimeWindow(frozenset({2}), 9 * 60, 17 * 60)
    midnight = NOW - NOW % DAY

    def at(day: int, minute: int, second: int = 0) -> list[str]:
        return codes(replace(PAYMENT, now=midnight + day * DAY + minute * 60 + second), rule)

    assert at(0, 9 * 60) == at(0, 12 * 60 + 30) == at(0, 16 * 60 + 59, 59) == []
    assert at(0, 8 * 60 + 30) == at(0, 17 * 60 + 30) == ["time_window"]
    assert at(0, 8 * 60 + 59, 59) == at(0, 17 * 60) == at(1, 12 * 60) == ["time_window"]
    assert texts(PAYMENT, TimeWindow(frozenset({5, 1}), 0, 1440)) == [
        "time_window: this asset may be sent on Monday, Friday from 00:00 to 24:00 UTC only"
    ]
    assert codes(transfer([(ALICE, 1)], [(ALICE, 1)]), rule) == []


def test_d14_an_approval_lets_its_user_burn_so_much_until_then() -> None:
    def burn(satoshi: int, before: int = 0, who: Any = ALICE, now: int = NOW) -> Transfer:
        known = {who.holder: {"burned_since": {0: before}}}
        return transfer([(who, 100)], [(BURN, satoshi), (who, 100 - satoshi)], known=known, now=now)

    rule = IssuerBurn(50, NOW + 1, 1)
    assert codes(burn(50), rule) == []
    assert codes(burn(51), rule) == codes(burn(10, before=41), rule) == ["burn_not_approved"]
    assert codes(burn(10, who=BOB), rule) == ["burn_not_approved"]
    assert codes(burn(10, who=BOB), IssuerBurn(50, NOW + 1)) == []
    assert codes(burn(10, now=NOW + 1), rule) == ["burn_not_approved"]
    known = {"user 1": {"burned_since": {NOW: 0}}}
    fresh = transfer([(ALICE, 100)], [(BURN, 50), (ALICE, 50)], known=known)
    assert codes(fresh, IssuerBurn(50, NOW + 1, since=NOW)) == []
    assert codes(replace(fresh, now=NOW - 1), IssuerBurn(50, NOW + 1, since=NOW)) == ["burn_not_approved"]
    # What is burned by several together is nobody's approved burn.
    both = transfer([(ALICE, 10), (BOB, 10)], [(BURN, 10), (BOB, 10)], known={"user 1": {"burned_since": {0: 0}}})
    assert codes(both, rule) == ["burn_not_approved"]


def test_an_approved_burn_counts_as_sent() -> None:
    moved = transfer([(ALICE, 100)], [(BURN, 100)], known={"user 1": {"burned_since": {0: 0}}})
    assert codes(moved, IssuerBurn(100, NOW + 1), TransferLimit(99)) == ["transfer_limit"]


# --- parameters ----------------------------------------------------------------------------------------------------

GOOD: dict[str, dict[str, Any]] = {
    "transfer_limit": {"satoshi": 5},
    "period_limit": {"satoshi": 5, "seconds": 60},
    "max_holders": {"holders": 99},
    "max_balance": {"satoshi": 2_100_000_000_000_000},
    "lock_up": {"until": 1_800_000_000},
    "holding_period": {"seconds": 31_536_000},
    "vesting": {"user_id": 7, "schedule": [[1_800_000_000, 5], [1_900_000_000, 6]]},
    "frozen_holder": {"users": [3, 9]},
    "time_window": {"weekdays": [1, 2, 3, 4, 5], "from": 540, "to": 1020},
    "issuer_burn": {"satoshi": 5, "until": 1_800_000_000, "user_id": 7},
}


def test_every_rule_that_can_be_set_comes_back_from_json() -> None:
    assert GOOD.keys() == SETTABLE.keys()
    for tag, values in GOOD.items():
        rule = parse(tag, values)
        assert json.loads(json.dumps(parameters(rule))) == values
        assert parse(tag, json.loads(json.dumps(parameters(rule)))) == rule


def test_only_an_approval_ever_allows_more() -> None:
    assert SETTABLE.keys() - ONLY_REFUSING == {"issuer_burn"}


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("transfer_limit", {"satoshi": 0}),
        ("transfer_limit", {"satoshi": -1}),
        ("transfer_limit", {"satoshi": 1.0}),
        ("transfer_limit", {"satoshi": "5"}),
        ("transfer_limit", {"satoshi": True}),
        ("transfer_limit", {"satoshi": 2_100_000_000_000_001}),
        ("transfer_limit", {"satoshi": 10**400}),
        ("transfer_limit", {"satoshi": 5, "seconds": 6}),
        ("transfer_limit", {}),
        ("period_limit", {"satoshi": 5, "seconds": 0}),
        ("period_limit", {"satoshi": 5, "seconds": 10**12}),
        ("max_holders", {"holders": 1_000_001}),
        ("lock_up", {"until": 10**15}),
        ("lock_up", {"until": None}),
        ("vesting", {"user_id": 1, "schedule": []}),
        ("vesting", {"user_id": 1, "schedule": [[1, 2, 3]]}),
        ("vesting", {"user_id": 1, "schedule": [[1, 2]] * 201}),
        ("vesting", {"user_id": 10**30, "schedule": [[1, 2]]}),
        ("frozen_holder", {"users": []}),
        ("frozen_holder", {"users": ["7"]}),
        ("frozen_holder", {"users": list(range(1, 1_002))}),
        ("time_window", {"weekdays": [0], "from": 1, "to": 2}),
        ("time_window", {"weekdays": [8], "from": 1, "to": 2}),
        ("time_window", {"weekdays": [], "from": 1, "to": 2}),
        ("time_window", {"weekdays": [1], "from": 2, "to": 2}),
        ("time_window", {"weekdays": [1], "start": 1, "end": 2}),
        ("issuer_burn", {"satoshi": 1}),
        ("missing_fact", {}),
        ("frozen_hоlder", {"users": [1]}),  # a Cyrillic о
        ("", {}),
    ],
)
def test_f09_parameters_are_exact_and_bounded(tag: str, values: dict[str, Any]) -> None:
    with pytest.raises(WrongParameters):
        parse(tag, values)


def test_which_parameter_is_wrong_is_said_in_words() -> None:
    for values, told in (
        ({"satoshi": "5"}, "transfer_limit: satoshi: Expected a whole number, not text"),
        ({}, "transfer_limit: Object missing required field `satoshi`"),
    ):
        with pytest.raises(WrongParameters) as error:
            parse("transfer_limit", values)
        assert str(error.value) == told


def test_f09_a_list_of_ten_megabytes_is_refused_by_its_length() -> None:
    with pytest.raises(WrongParameters):
        parse("frozen_holder", {"users": [2**62] * 1_500_000})
    assert len(json.dumps(parameters(parse("frozen_holder", {"users": [2**62 + i for i in range(1_000)]})))) < (
        MAX_PARAMETERS
    )


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SETTABLE)), st.data())
def test_f09_any_json_is_a_rule_or_wrong(tag: str, data: st.DataObject) -> None:
    fields = sorted(GOOD[tag])
    values = data.draw(st.dictionaries(st.sampled_from([*fields, "since", "x"]), _json, max_size=4))
    try:
        rule = parse(tag, values)
    except WrongParameters:
        return
    assert parse(tag, parameters(rule)) == rule
