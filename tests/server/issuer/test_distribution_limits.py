"""The issuer's own limits when a distribution is made: their own wallet pays it, and no signature is asked for here.

A limit that transfers keep and distributions break would be broken by the issuer's own hand, and found out when it is
on the chain.
"""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from amp0.server.issuer import distributions
from amp0.server.policy import payouts
from amp0.server.store import asset_schema
from tests.server.issuer.treasury_desk import TreasuryDesk


def rule(desk: TreasuryDesk, tag: str, **parameters: Any) -> None:
    desk.api.ok("post", f"{desk.path}/rules/add", {"tag": tag, "parameters": parameters})


def refusal(desk: TreasuryDesk) -> str:
    """Why nothing can be distributed; no address was spent on it, and nothing else has changed."""
    before = given(desk), desk.api.ok("get", f"{desk.path}/assignments"), desk.api.ok("get", "/events")
    text = desk.api.refused("get", f"{desk.path}/distributions/create/")["Error"]
    assert (given(desk), desk.api.ok("get", f"{desk.path}/assignments"), desk.api.ok("get", "/events")) == before
    assert "nothing to distribute" in text
    return str(text)


def given(desk: TreasuryDesk) -> int:
    """How many addresses issuers were told."""
    with desk.office.store.snapshot() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(asset_schema.given_addresses)).scalar_one())


def amounts(file: dict[str, Any]) -> list[int]:
    return [round(number * 10**8) for number in file["map_address_amount"].values()]


def confirmed(desk: TreasuryDesk, file: dict[str, Any], **source: Any) -> Any:
    """A distribution paid and confirmed."""
    sent = desk.pay(file, **source)
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=len(amounts(file))))
    return sent


def test_nobody_is_paid_beyond_the_largest_balance(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    rule(desk, "max_balance", satoshi=500)
    desk.assign(bob, 501)
    assert f"user {bob} cannot be paid: the recipient would hold 501 satoshi, more than 500" in refusal(desk)
    desk.assign(bob, 500)
    assert amounts(desk.distribution()) == [500]


def test_several_assignments_count_together(desk: TreasuryDesk) -> None:
    """Those that fit are paid, the oldest first; the rest is left for later, and named once nobody else is left."""
    bob, _ = desk.holder("bob")
    carol, _ = desk.holder("carol")
    rule(desk, "max_balance", satoshi=500)
    for user, satoshi in ((bob, 300), (bob, 201), (carol, 400), (bob, 200), (bob, 1)):
        desk.assign(user, satoshi)
    assert amounts(desk.distribution()) == [300, 400, 200]
    text = refusal(desk)
    assert "would hold 701 satoshi" in text
    assert "would hold 501 satoshi" in text


def test_f07_the_accounts_of_one_user_count_together(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    other = desk.office.account("bobs other", uploaded=5)
    rule(desk, "max_balance", satoshi=500)
    desk.assign(bob, 300)
    file = desk.distribution()
    desk.api.ok("post", f"/registered_users/{bob}/gaids/add", other.gaid)
    desk.api.ok("post", f"/registered_users/{bob}/gaids/set-default", other.gaid)
    desk.assign(bob, 300)
    assert "would hold 600 satoshi, more than 500" in refusal(desk)
    confirmed(desk, file)
    assert "would hold 600 satoshi, more than 500" in refusal(desk)


def test_open_distributions_count_until_they_are_cancelled(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    rule(desk, "max_balance", satoshi=500)
    desk.assign(bob, 300)
    first = desk.distribution()
    desk.assign(bob, 300)
    assert "would hold 600 satoshi, more than 500" in refusal(desk)
    desk.api.ok("delete", f"{desk.path}/distributions/{first['distribution_uuid']}/cancel")
    assert amounts(desk.distribution()) == [300]
    assert "would hold 600 satoshi, more than 500" in refusal(desk)


def test_what_is_paid_and_not_confirmed_is_not_known_and_then_counts_once(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    rule(desk, "max_balance", satoshi=500)
    desk.assign(bob, 300)
    first = desk.distribution()
    desk.assign(bob, 200)
    sent = desk.pay(first)
    desk.mine(sent.tx)
    desk.mine()
    assert "confirm the distributions that are under way" in refusal(desk)
    desk.api.ok("post", desk.confirm_path(first), desk.confirm(sent, payments=1))
    assert amounts(desk.distribution()) == [200]


def test_what_the_ledger_has_learnt_by_hand_is_not_counted_twice(desk: TreasuryDesk) -> None:
    """The blinders of a payment may come before its distribution is confirmed."""
    bob, _ = desk.holder("bob")
    rule(desk, "max_balance", satoshi=500)
    desk.assign(bob, 300)
    sent = desk.pay(desk.distribution())
    desk.assign(bob, 200)
    desk.mine(sent.tx)
    desk.mine()
    opening = sent.openings[0]
    blinders = {"asset_blinder": opening.abf[::-1].hex(), "amount_blinder": opening.vbf[::-1].hex(), "amount": 300}
    desk.api.ok("post", f"{desk.path}/update-blinders", {"txid": sent.txid, "vout": 0, **blinders})
    assert amounts(desk.distribution()) == [200]


def test_at_most_so_many_holders(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    carol, _ = desk.holder("carol")
    dave, _ = desk.holder("dave")
    eve, _ = desk.holder("eve")
    rule(desk, "max_holders", holders=3)
    desk.assign(bob, 10)
    sent = confirmed(desk, desk.distribution())
    desk.assign(carol, 10)
    file = desk.distribution()
    for user, satoshi in ((dave, 1), (eve, 2), (dave, 3), (carol, 4), (bob, 5)):
        desk.assign(user, satoshi)
    # Bob holds some, Carol is to get some: there is room for one more, who may get it in two parts.
    assert amounts(desk.distribution()) == [1, 3, 4, 5]
    assert f"user {eve} cannot be paid: the asset would have more than 3 holders" in refusal(desk)
    confirmed(desk, file, source=desk.held(sent, 1))
    assert "more than 3 holders" in refusal(desk)


def test_who_is_frozen_for_this_asset_is_not_paid(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    carol, _ = desk.holder("carol")
    rule(desk, "frozen_holder", users=[bob])
    desk.assign(bob, 5)
    assert f"user {bob} cannot be paid: the recipient is frozen" in refusal(desk)
    desk.assign(carol, 6)
    assert amounts(desk.distribution()) == [6]


def test_rules_about_what_leaves_holders_do_not_hold_the_treasury_back(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    for tag, parameters in (
        ("transfer_limit", {"satoshi": 1}),
        ("period_limit", {"satoshi": 1, "seconds": 60}),
        ("lock_up", {"until": 4_000_000_000}),
        ("holding_period", {"seconds": 60}),
        ("vesting", {"user_id": bob, "schedule": [[4_000_000_000, 5]]}),
        ("issuer_burn", {"satoshi": 1, "until": 4_000_000_000}),
    ):
        rule(desk, tag, **parameters)
    for weekday in (1, 2):
        rule(desk, "time_window", weekdays=[weekday], **{"from": 0, "to": 1})
    desk.assign(bob, 500)
    assert amounts(desk.distribution()) == [500]


def test_f01_a_rule_that_nobody_understands_pays_nobody(desk: TreasuryDesk) -> None:
    bob, _ = desk.holder("bob")
    desk.assign(bob, 5)
    with desk.office.transaction() as db:
        (creator,) = db.execute(sa.select(asset_schema.assets.c.creator_id)).scalars()
        row = {"asset": desk.asset.id, "tag": "of_tomorrow", "parameters": "{}", "created_at": 1, "created_by": creator}
        db.execute(asset_schema.asset_rules.insert().values(row))
    assert "this asset has a rule that this server does not know" in refusal(desk)


def test_more_assignments_than_fit_are_looked_at_until_one_is_full(
    desk: TreasuryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that cannot be paid take nobody's place."""
    monkeypatch.setattr(distributions, "MOST_PAYMENTS", 2)
    users = [desk.holder(f"user {number}")[0] for number in range(5)]
    rule(desk, "max_balance", satoshi=10)
    for user, satoshi in zip(users, (11, 12, 13, 4, 5), strict=True):
        desk.assign(user, satoshi)
    assert amounts(desk.distribution()) == [4, 5]
    assert "and 1 more" not in refusal(desk)


def test_without_such_a_rule_nothing_is_asked(desk: TreasuryDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer without limits sees no change."""
    monkeypatch.setattr(payouts.Payouts, "look_up", lambda *_: pytest.fail("asked"))
    bob, _ = desk.holder("bob")
    desk.assign(bob, 900_000)
    assert amounts(desk.distribution()) == [900_000]
