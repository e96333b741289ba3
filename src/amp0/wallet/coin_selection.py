"""Which coins to spend: pure functions, one asset at a time.

The rule is plain and always gives the same answer for the same coins: a single coin that pays
exactly is taken alone (no change, nothing to link); otherwise the largest coins are taken, largest
first, until the amount is covered. That spends the fewest coins, and coins are what an AMP0
transaction pays fees for. Ties are broken by outpoint.

Unlike LWK, which spends every L-BTC coin each time and so stops at 256 of them, only what is needed
is spent. "All of it" is its own function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from amp0.errors import InsufficientFunds, TooManyInputs

MAX_INPUTS = 256
"""A surjection proof cannot reach further, so no transaction may have more inputs."""


class Coin(Protocol):
    """What selection needs to know of a coin."""

    @property
    def satoshi(self) -> int:
        """Its amount."""

    @property
    def order(self) -> bytes:
        """Something that tells it from every other coin, always the same."""


C = TypeVar("C", bound=Coin)


@dataclass(frozen=True, slots=True)
class Selection(Generic[C]):
    """Coins chosen for one asset, and what was left alone.

    ``change`` is what the chosen coins hold beyond ``needed`` (satoshi); for :func:`take_all` it
    is everything beyond.
    """

    chosen: tuple[C, ...]
    left: tuple[C, ...]
    needed: int

    @property
    def total(self) -> int:
        """Satoshi of the chosen coins."""
        return sum(coin.satoshi for coin in self.chosen)

    @property
    def change(self) -> int:
        """Satoshi of the chosen coins beyond what is needed."""
        return self.total - self.needed


def _free(_: int) -> int:
    return 0


def select(
    asset_id: str,
    coins: Sequence[C],
    needed: int,
    *,
    fee_for: Callable[[int], int] = _free,
    limit: int = MAX_INPUTS,
) -> Selection[C]:
    """Coins worth at least ``needed`` satoshi plus the fee of spending them.

    ``fee_for(k)`` is what the transaction costs when ``k`` of these coins are spent; it may not
    fall as ``k`` grows. ``limit`` is how many inputs are still free. Raises
    :class:`InsufficientFunds` when all coins together do not suffice, and
    :class:`TooManyInputs` when they would, but ``limit`` of them do not.
    """
    if needed + fee_for(0) <= 0:
        return _selection(coins, [], needed + fee_for(0))
    for coin in sorted(coins, key=lambda c: c.order):
        if limit > 0 and coin.satoshi == needed + fee_for(1):
            return _selection(coins, [coin], coin.satoshi)
    chosen: list[C] = []
    total = 0
    for coin in sorted(coins, key=lambda c: (-c.satoshi, c.order)):
        if len(chosen) >= limit:
            break
        chosen.append(coin)
        total += coin.satoshi
        wanted = needed + fee_for(len(chosen))
        if total >= wanted:
            return _selection(coins, chosen, wanted)
    available = sum(coin.satoshi for coin in coins)
    if len(chosen) < len(coins) and available >= needed + fee_for(len(coins)):
        raise TooManyInputs(MAX_INPUTS, asset_id=asset_id, spendable=total)
    raise InsufficientFunds(asset_id, needed + fee_for(len(coins)), available)


def take_all(asset_id: str, coins: Sequence[C], needed: int, *, limit: int = MAX_INPUTS) -> Selection[C]:
    """All coins, which must be worth ``needed`` satoshi.

    Raises :class:`InsufficientFunds`, or :class:`TooManyInputs` when they do not fit one
    transaction.
    """
    if len(coins) > limit:
        largest = sorted((coin.satoshi for coin in coins), reverse=True)[:limit]
        raise TooManyInputs(MAX_INPUTS, asset_id=asset_id, spendable=sum(largest))
    available = sum(coin.satoshi for coin in coins)
    if available < needed:
        raise InsufficientFunds(asset_id, needed, available)
    return _selection(coins, coins, needed)


def _selection(coins: Sequence[C], chosen: Sequence[C], needed: int) -> Selection[C]:
    taken = {coin.order for coin in chosen}
    ordered = tuple(sorted(chosen, key=lambda c: (-c.satoshi, c.order)))
    return Selection(ordered, tuple(c for c in coins if c.order not in taken), needed)
