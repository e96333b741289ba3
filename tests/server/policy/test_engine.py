"""The decision is total: whatever a rule does, there is an answer, and it is no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.protocol.issuer_policy import Reason
from amp0.server.policy.engine import decide
from amp0.server.policy.facts import Party, Transfer
from amp0.server.policy.rules import IssuerBurn, MaxHolders, PeriodLimit, Rule, TransferLimit, UnknownRule
from tests.server.policy.transfers import ALICE, BOB, BURN, CAROL, NOW, STRANGER, TREASURY, codes, nobody, transfer

PAYMENT = transfer([(ALICE, 100)], [(BOB, 60), (ALICE, 40)])


class Broken(Rule, frozen=True):
    TAG: ClassVar[str] = "broken"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        yield from self._reasons()

    def _reasons(self) -> list[Reason]:
        raise RecursionError("a fault")


class BreaksLate(Rule, frozen=True):
    TAG: ClassVar[str] = "breaks_late"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        yield from TransferLimit(1).verdict(transfer)
        raise ZeroDivisionError


class WaivesBadly(Rule, frozen=True):
    TAG: ClassVar[str] = "waives_badly"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        return iter(())

    def waives(self, transfer: Transfer, one: Reason) -> bool:
        raise KeyError(one.code)


@pytest.mark.parametrize("rule", [Broken(), BreaksLate()])
def test_f01_a_rule_that_fails_refuses(rule: Rule) -> None:
    assert codes(PAYMENT, rule) == ["engine_error"]


def test_f01_a_fact_that_was_not_looked_up_refuses() -> None:
    assert codes(PAYMENT, PeriodLimit(1_000, 60)) == ["engine_error"]
    assert codes(PAYMENT, MaxHolders(1_000)) == ["engine_error"]


def test_f01_a_waiver_that_fails_waives_nothing() -> None:
    assert codes(transfer([(ALICE, 9)], [(BURN, 9)]), WaivesBadly()) == ["burn_not_approved"]
    assert codes(transfer([(ALICE, 9)], [(BURN, 9)]), IssuerBurn(100, NOW + 1)) == ["burn_not_approved"]


def test_f01_an_unknown_rule_refuses() -> None:
    assert codes(PAYMENT, UnknownRule()) == ["unknown_rule"]


def test_f01_without_any_rule_of_the_issuer_the_others_hold() -> None:
    assert codes(transfer([(ALICE, 9)], [(STRANGER, 9)])) == ["foreign_destination"]


def test_f01_the_other_rules_are_told_beside_a_failure() -> None:
    assert codes(transfer([(ALICE, 9)], [(STRANGER, 9)]), Broken()) == ["foreign_destination", "engine_error"]


def test_nothing_is_told_twice() -> None:
    assert codes(PAYMENT, UnknownRule(), UnknownRule()) == ["unknown_rule"]


_parties = st.sampled_from([ALICE, BOB, CAROL, nobody(8), nobody(9), TREASURY, BURN, STRANGER])
_ends = st.lists(st.tuples(_parties, st.integers(1, 50)), max_size=6)


@given(_ends, _ends)
def test_d14_to_d16_nothing_leaves_the_registered_and_the_treasury(
    inputs: list[tuple[Party, int]], outputs: list[tuple[Party, int]]
) -> None:
    """Whatever is put together: where it is allowed, nobody who may not hold has more afterwards."""
    moved = transfer(inputs, outputs)
    if not decide(moved, ()).allowed:
        return
    assert sum(one[1] for one in inputs) == sum(satoshi for _, satoshi in outputs)
    for party, _ in outputs:
        assert party not in (STRANGER, BURN)
        if party.user_id is None and party is not TREASURY:
            assert moved.given[party.holder] <= moved.taken[party.holder]


@given(_ends, _ends, st.integers(1, 100))
def test_d17_no_holder_sends_more_than_the_limit(
    inputs: list[tuple[Party, int]], outputs: list[tuple[Party, int]], limit: int
) -> None:
    moved = transfer(inputs, outputs)
    if decide(moved, [TransferLimit(limit)]).allowed:
        for key, taken in moved.taken.items():
            assert taken - sum(satoshi for party, satoshi in outputs if party.holder == key) <= limit
