"""Choosing coins: enough, few, always the same ones, and honest about what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.errors import InsufficientFunds, TooManyInputs
from amp0.wallet.coin_selection import MAX_INPUTS, select, take_all

ASSET = "aa" * 32


@dataclass(frozen=True)
class Coin:
    satoshi: int
    order: bytes


def coins(*amounts: int) -> list[Coin]:
    return [Coin(amount, i.to_bytes(2, "big")) for i, amount in enumerate(amounts)]


def amounts(chosen: tuple[Coin, ...]) -> list[int]:
    return [coin.satoshi for coin in chosen]


def test_largest_first_until_covered() -> None:
    selection = select(ASSET, coins(5, 50, 20, 30), 70)
    assert amounts(selection.chosen) == [50, 30]
    assert amounts(selection.left) == [5, 20]
    assert (selection.total, selection.needed, selection.change) == (80, 70, 10)


def test_an_exact_coin_is_taken_alone() -> None:
    selection = select(ASSET, coins(5, 50, 20, 20), 20)
    assert selection.chosen == (Coin(20, b"\x00\x02"),)
    assert selection.change == 0


def test_nothing_needed_takes_nothing() -> None:
    assert select(ASSET, coins(5, 50), 0).chosen == ()


def test_fee_grows_with_the_coins() -> None:
    selection = select(ASSET, coins(50, 50, 50), 90, fee_for=lambda k: 6 * k)
    assert amounts(selection.chosen) == [50, 50, 50]
    assert (selection.needed, selection.change) == (90 + 18, 42)


def test_insufficient_funds_says_how_much() -> None:
    with pytest.raises(InsufficientFunds) as caught:
        select(ASSET, coins(5, 6), 12, fee_for=lambda k: k)
    assert (caught.value.asset_id, caught.value.needed, caught.value.available) == (ASSET, 14, 11)
    with pytest.raises(InsufficientFunds):
        select(ASSET, [], 1)
    with pytest.raises(InsufficientFunds) as caught:
        take_all(ASSET, coins(5, 6), 12)
    assert (caught.value.needed, caught.value.available) == (12, 11)


def test_too_many_inputs_says_what_is_possible() -> None:
    many = coins(*[10] * 310)
    assert len(select(ASSET, many, 2560).chosen) == MAX_INPUTS
    with pytest.raises(TooManyInputs) as caught:
        select(ASSET, many, 2561)
    assert (caught.value.limit, caught.value.spendable) == (256, 2560)
    with pytest.raises(TooManyInputs, match="256"):
        take_all(ASSET, many, 0)
    with pytest.raises(InsufficientFunds):
        select(ASSET, many, 3101)
    assert len(select(ASSET, many, 30, limit=3).chosen) == 3
    with pytest.raises(TooManyInputs):
        select(ASSET, many, 31, limit=3)


def test_take_all() -> None:
    selection = take_all(ASSET, coins(1, 3, 2), 4)
    assert amounts(selection.chosen) == [3, 2, 1]
    assert (selection.left, selection.change) == ((), 2)


@given(values=st.lists(st.integers(1, 1000), max_size=30), needed=st.integers(0, 20_000), data=st.data())
def test_enough_and_not_one_too_many(values: list[int], needed: int, data: st.DataObject) -> None:
    """Whatever the order the coins come in, the same are chosen; without any one it is too little."""
    pool = coins(*values)
    try:
        selection = select(ASSET, pool, needed)
    except InsufficientFunds:
        assert sum(values) < needed
        return
    assert selection.total >= needed
    assert sorted(selection.chosen + selection.left, key=lambda c: c.order) == pool
    assert all(selection.total - coin.satoshi < needed for coin in selection.chosen)
    assert select(ASSET, data.draw(st.permutations(pool)), needed).chosen == selection.chosen
