"""The decision: a transfer and its rules go in, a verdict comes out. Pure, and it always answers.

Every rule is asked, so that whoever is refused hears all the reasons at once. Nothing is allowed by being forgotten: a
rule that raises, whatever it raises, is a refusal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amp0.protocol.issuer_policy import Reason
from amp0.server.policy import reasons as why
from amp0.server.policy.facts import Transfer
from amp0.server.policy.rules import ALWAYS, Rule

log = logging.getLogger("amp0.server.policy")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The reasons against a transfer, in the order of the rules; it is allowed when there are none."""

    reasons: tuple[Reason, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing is against it."""
        return not self.reasons


def decide(transfer: Transfer, rules: Sequence[Rule]) -> Verdict:
    """Judge one transfer by the rules that always hold and by those of its asset."""
    found = objections(transfer, (*ALWAYS, *rules))
    return Verdict(tuple(dict.fromkeys(one for one in found if not _is_waived(one, transfer, rules))))


def objections(transfer: Transfer, rules: Sequence[Rule]) -> list[Reason]:
    """What these rules alone have against a transfer, each by itself."""
    return [one for rule in rules for one in _ask(rule, transfer)]


def _ask(rule: Rule, transfer: Transfer) -> Iterator[Reason]:
    try:
        yield from tuple(rule.verdict(transfer))
    except Exception:  # a rule that fails has not allowed anything
        log.exception("a rule failed tag=%s asset=%s", rule.TAG, transfer.asset.uuid)
        yield why.reason(transfer.asset, why.ENGINE_ERROR)


def _is_waived(one: Reason, transfer: Transfer, rules: Sequence[Rule]) -> bool:
    try:
        return any(rule.waives(transfer, one) for rule in rules)
    except Exception:  # nor has it waived anything
        log.exception("a rule failed asset=%s", transfer.asset.uuid)
        return False
