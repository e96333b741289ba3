"""What a decision is made on: who moves how much of one managed asset to whom, and what is known of them.

Values only. :mod:`~amp0.server.policy.gather` makes them from the database, rules read them, tests write them down.
Amounts are satoshi, times seconds since 1970.

A **holder** is an identity as the asset's issuer knows it: a registered user with all their accounts, or an account
that nobody has registered, by itself. What a transaction does is counted by holder and net: what somebody gets back is
no payment, whichever outputs and accounts it goes through.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from amp0.elements.hashes import asset_id_to_str
from amp0.elements.transaction import OutPoint


@dataclass(frozen=True, slots=True)
class Asset:
    """A managed asset, or its reissuance token, as its row says. ``id`` is the row number, ``asset_id`` 32 bytes in
    internal order (the token's own id for a token)."""

    id: int
    uuid: str
    asset_id: bytes
    issuer_id: int
    policy_version: int
    is_token: bool = False
    transfer_restricted: bool = True
    is_locked: bool = False
    checks_sender_categories: bool = False
    authorization_endpoint: str | None = None
    requirements: frozenset[int] = frozenset()
    """Categories: a holder is in every one of them."""

    @property
    def hex(self) -> str:
        """The asset id as people read it (display hex)."""
        return asset_id_to_str(self.asset_id)


class Kind(enum.Enum):
    """What stands at one end of a movement."""

    HOLDER = "holder"
    TREASURY = "treasury"
    BURN = "burn"
    FOREIGN = "foreign"
    """Somewhere this server cosigns nothing for this asset: a stranger's address, or an account that is not AMP."""


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a movement. All but ``kind`` belong to holders: ``holder`` is the key of :attr:`Transfer.holders`."""

    kind: Kind
    holder: str = ""
    account_id: int | None = None
    gaid: str | None = None
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Coin:
    """An input that holds the asset. Where only the sum of several inputs of one holder is known, the first stands for
    all of them."""

    vin: int
    satoshi: int
    party: Party
    acquired_at: int | None = None
    """When the holder got it; None: not known."""


@dataclass(frozen=True, slots=True)
class Payment:
    """An output that holds the asset; change is one too."""

    vout: int
    satoshi: int
    party: Party


@dataclass(frozen=True, slots=True)
class Holder:
    """An identity that takes part. What the rules of the asset do not ask for was not looked up and stays empty."""

    key: str
    user_id: int | None = None
    categories: frozenset[int] = frozenset()
    """Those among the asset's requirements that the user is in."""
    is_frozen: bool = False
    balance: int = 0
    """Of this asset before the transaction, on all accounts: in blocks, in the mempool, or promised."""
    uncertain: int = 0
    """What they may have less: part of ``balance`` that no block has, and what replaced transactions would take."""
    possible: int = 0
    """What they may have more: what they signed away in no block, and what replaced transactions would give."""
    is_sealed: bool = False
    """Whether outputs to this holder may hold the asset although nobody knows yet; they are not in ``balance``."""
    sent_within: Mapping[int, int] = field(default_factory=dict, hash=False)
    """Seconds → what left in so many seconds before, and what was signed and may still leave."""
    burned_since: Mapping[int, int] = field(default_factory=dict, hash=False)
    """Time → what was burned from then on."""


@dataclass(frozen=True)
class Transfer:
    """What one transaction does with one managed asset.

    ``unattributed`` is what inputs hold of which nobody can say whose it is. ``blacklisted`` has the inputs that the
    issuer blacklisted. With ``is_unopened`` the outputs could not be looked into at all.
    """

    asset: Asset
    inputs: tuple[Coin, ...]
    outputs: tuple[Payment, ...]
    holders: Mapping[str, Holder]
    now: int
    blacklisted: tuple[int, ...] = ()
    unattributed: int = 0
    is_unopened: bool = False
    holder_count: int | None = None
    """How many identities hold the asset before the transaction; None unless a rule asks for it."""

    @cached_property
    def taken(self) -> Mapping[str, int]:
        """Holder → what the inputs take from them."""
        return _by_holder(self.inputs)

    @cached_property
    def given(self) -> Mapping[str, int]:
        """Holder → what the outputs give them."""
        return _by_holder(self.outputs)

    def sent(self, holder: str) -> int:
        """What leaves a holder, after what they get back; 0 for one who receives."""
        return max(0, self.taken.get(holder, 0) - self.given.get(holder, 0))

    @cached_property
    def senders(self) -> tuple[Holder, ...]:
        """Holders from whom something leaves, in the order of the inputs."""
        return tuple(self.holders[key] for key in self.taken if self.sent(key) > 0)

    @cached_property
    def receivers(self) -> tuple[Holder, ...]:
        """Holders who have more afterwards, in the order of the outputs."""
        return tuple(self.holders[key] for key, satoshi in self.given.items() if satoshi > self.taken.get(key, 0))

    @cached_property
    def is_redemption(self) -> bool:
        """Whether nobody but the treasury has more afterwards."""
        return not self.receivers and all(p.party.kind in (Kind.HOLDER, Kind.TREASURY) for p in self.outputs)

    @cached_property
    def burned(self) -> int:
        """What the outputs destroy."""
        return sum(payment.satoshi for payment in self.outputs if payment.party.kind is Kind.BURN)

    def first_input(self, holder: str) -> int | None:
        """The number of the first input of a holder."""
        return next((coin.vin for coin in self.inputs if coin.party.holder == holder), None)

    def outputs_of(self, holder: str) -> tuple[int, ...]:
        """The numbers of the outputs to a holder."""
        return tuple(payment.vout for payment in self.outputs if payment.party.holder == holder)


def _by_holder(ends: tuple[Coin, ...] | tuple[Payment, ...]) -> Mapping[str, int]:
    totals: dict[str, int] = {}
    for end in ends:
        if end.party.kind is Kind.HOLDER:
            totals[end.party.holder] = totals.get(end.party.holder, 0) + end.satoshi
    return totals


# --- what a movement looks like before anything is known of it -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """An input, before anybody asked what it holds. ``account_id`` is None where it is nobody's of this server.

    ``asset`` and ``satoshi`` are set where the spent output says so openly, or where somebody thinks of a coin (a
    pre-flight), which need not have a ``prevout`` then.
    """

    index: int
    prevout: OutPoint | None
    account_id: int | None = None
    script: bytes = b""
    asset: bytes | None = None
    satoshi: int | None = None
    is_signed: bool = False
    """Of somebody else's input: whether they have signed it. Naming a coin of the treasury is no payment of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An output. ``asset`` is None where it could not be opened."""

    index: int
    script: bytes
    asset: bytes | None
    satoshi: int


@dataclass(frozen=True, slots=True)
class Movement:
    """A whole transaction, or one that somebody thinks of."""

    sources: tuple[Source, ...]
    targets: tuple[Target, ...]


# --- the issuer's own word -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What the issuer's authorization endpoint is asked. ``uuid`` names this decision and no other; ``server_result``
    is what the rules here say; ``tx_hex`` is the transaction as the user signed it."""

    uuid: str
    asset: Asset
    transfer: Transfer
    server_result: bool
    tx_hex: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said. ``error`` is the issuer's text for the user. ``failed`` where there was no proper answer at all
    (time-out, wrong status, unreadable); that is a no as well."""

    allowed: bool
    error: str = ""
    failed: bool = False
