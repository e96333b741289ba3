"""The demo: its steps in order, each with an answer and a time, and money that adds up."""

from __future__ import annotations

from pathlib import Path

import pytest

from amp0.local.demo import ASSET_DEPOSIT, DEPOSIT, PAYMENT, Exchange, Step, walk
from amp0.local.demo_issuer import ASSIGNED, BURNED, ISSUED, REISSUED
from amp0.local.demo_issuer import PAYMENT as SENT
from tests.devchain.node_stack import STACKS, stack_of


@pytest.mark.parametrize("kind", STACKS)
def test_the_day_has_its_steps_its_money_adds_up_and_no_secret_is_told(kind: str, tmp_path: Path) -> None:
    events: list[Step | Exchange] = []
    with stack_of(kind, tmp_path) as stack:
        outcome = walk(stack, events.append)
        policy_asset = stack.network.policy_asset()
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.number for step in steps] == list(range(1, 16))
    exchanges = [event for event in events if isinstance(event, Exchange)]
    assert {exchange.step for exchange in exchanges} == set(range(1, 16))
    assert all(exchange.answered and exchange.seconds >= 0 for exchange in exchanges)

    assert outcome.balances == {policy_asset: DEPOSIT - outcome.fee, outcome.asset_id: ASSET_DEPOSIT - PAYMENT}
    assert outcome.recipient_balances.get(outcome.asset_id) == PAYMENT
    assert 0 < outcome.fee < 1000
    assert len(bytes.fromhex(outcome.txid)) == 32
    assert outcome.amp_id.startswith("GA")

    register = outcome.register
    assert register.holdings == {
        "treasury": ISSUED - sum(ASSIGNED.values()) + REISSUED - BURNED,
        "Alice": ASSIGNED["Alice"] - SENT,
        "Bob": ASSIGNED["Bob"] + SENT,
    }
    assert sum(register.holdings.values()) == register.in_circulation == ISSUED + REISSUED - BURNED
    assert register.refused == "recipient_not_allowed"
    (refusal,) = [exchange for exchange in exchanges if exchange.answered.startswith("NO")]
    assert "recipient" in refusal.answered

    told = " ".join(map(repr, events))
    assert "prv" not in told
    assert "slip77" not in told
