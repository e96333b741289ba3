"""Transfers written down by hand, for tests of the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amp0.server.policy.engine import decide
from amp0.server.policy.facts import Asset, Coin, Holder, Kind, Party, Payment, Transfer
from amp0.server.policy.rules import Rule

NOW = 1_700_000_000  # Tuesday, 14 November 2023, 22:13:20 UTC
DAY = 86_400
ASSET = Asset(id=1, uuid="u-1", asset_id=b"\xcc" * 32, issuer_id=1, policy_version=7)
TREASURY, BURN, STRANGER = Party(Kind.TREASURY), Party(Kind.BURN), Party(Kind.FOREIGN)


def user(number: int, account: int | None = None) -> Party:
    """A registered user, on one of their accounts."""
    account = account or number
    return Party(Kind.HOLDER, f"user {number}", account, f"GA{account}", number)


def nobody(account: int) -> Party:
    """An account that nobody registered."""
    return Party(Kind.HOLDER, f"account {account}", account, f"GA{account}")


ALICE, BOB, CAROL = user(1), user(2), user(3)


def transfer(
    inputs: Sequence[tuple[Party, int] | tuple[Party, int, int | None]],
    outputs: Sequence[tuple[Party, int]],
    *,
    known: Mapping[str, dict[str, Any]] | None = None,
    asset: Asset = ASSET,
    now: int = NOW,
    **more: Any,
) -> Transfer:
    """Inputs are (party, satoshi) or (party, satoshi, acquired at); ``known`` has what is known of holders by key."""
    coins = tuple(
        Coin(vin, one[1], one[0], one[2] if len(one) > 2 else now - 365 * DAY) for vin, one in enumerate(inputs)
    )
    payments = tuple(Payment(vout, satoshi, party) for vout, (party, satoshi) in enumerate(outputs))
    parties = [coin.party for coin in coins] + [payment.party for payment in payments]
    holders = {party.holder: Holder(party.holder, party.user_id) for party in parties if party.kind is Kind.HOLDER}
    for key, values in (known or {}).items():
        holders[key] = replace(holders[key], **values)
    return Transfer(asset, coins, payments, holders, now, **more)


def codes(moved: Transfer, *rules: Rule) -> list[str]:
    """The codes of the verdict, in order."""
    return [one.code for one in decide(moved, rules).reasons]
