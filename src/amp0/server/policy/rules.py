"""The rules: small frozen values, each with a permanent tag and one verdict.

A rule looks at a :class:`~amp0.server.policy.facts.Transfer` and names the reasons against it; none means that it has
nothing against it. :data:`ALWAYS` holds for every managed asset. The others are set by the issuer, one row of the
database each: a tag and its parameters as JSON (:func:`parse`, :func:`parameters`), of bounded size, with exact ids and
plain numbers; nothing in them is executed or matched as a pattern.

What leaves a holder counts by holder and net, whoever receives it: redemption at the treasury counts as well, but the
rules about who may *hold* do not concern it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from amp0.protocol.issuer_policy import Reason
from amp0.protocol.wording import in_words
from amp0.server.policy import reasons as why
from amp0.server.policy.facts import Holder, Kind, Transfer
from amp0.server.policy.reasons import reason
from amp0.server.store.asset_schema import MAX_SATOSHI

MAX_PARAMETERS = 65_536
"""Characters of the JSON of one rule."""
_FOREVER = 253_402_300_799  # the end of the year 9999
_DAY = 86_400
_CENTURY = 100 * 366 * _DAY

Satoshi = Annotated[int, Meta(ge=1, le=MAX_SATOSHI)]
Seconds = Annotated[int, Meta(ge=1, le=_CENTURY)]
Time = Annotated[int, Meta(ge=0, le=_FOREVER)]
UserId = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class WrongParameters(ValueError):
    """A tag that nobody knows, or parameters that its rule does not take; the text says which."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a rule has to know of holders beyond who they are: periods of ``sent_within``, times of ``burned_since``,
    balances, and how many holders there are, up to which number."""

    sent: frozenset[int] = frozenset()
    burned: frozenset[int] = frozenset()
    balances: bool = False
    holders: int = 0

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.sent | other.sent,
            self.burned | other.burned,
            self.balances or other.balances,
            max(self.holders, other.holders),
        )


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all of them. Fields are the parameters."""

    TAG: ClassVar[str]
    ONLY_REFUSES: ClassVar[bool] = True
    """Whether an asset never allows more with this rule than without it."""

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer. A rule that says nothing itself refuses."""
        yield reason(transfer.asset, why.UNKNOWN_RULE)

    def waives(self, transfer: Transfer, one: Reason) -> bool:
        """Whether this rule takes back another rule's reason."""
        return False

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs()


# --- always --------------------------------------------------------------------------------------------------------


class MissingFact(Rule, frozen=True):
    """What the inputs hold, and whose it is, has to be known."""

    TAG: ClassVar[str] = "missing_fact"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        if transfer.is_unopened or transfer.unattributed:
            yield reason(transfer.asset, why.MISSING_FACT)


class Balance(Rule, frozen=True):
    """What goes in comes out: nothing of a managed asset is made or lost in a transfer."""

    TAG: ClassVar[str] = "balance"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        inputs = sum(coin.satoshi for coin in transfer.inputs) + transfer.unattributed
        outputs = sum(payment.satoshi for payment in transfer.outputs)
        if inputs != outputs and not transfer.is_unopened:
            yield reason(transfer.asset, why.AMOUNTS_DIFFER, inputs=inputs, outputs=outputs)


class AssetLock(Rule, frozen=True):
    """Nothing of a locked asset moves."""

    TAG: ClassVar[str] = "asset_lock"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        if transfer.asset.is_locked:
            yield reason(transfer.asset, why.ASSET_LOCKED)


class OutputBlacklist(Rule, frozen=True):
    """A blacklisted output is not spent."""

    TAG: ClassVar[str] = "output_blacklist"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for vin in transfer.blacklisted:
            yield reason(transfer.asset, why.OUTPUT_BLACKLISTED, "input", vin)


class Destination(Rule, frozen=True):
    """Units go to AMP accounts of this server, to the asset's treasury, or away in a burn that another rule waives.

    A reissuance token goes to the treasury only, and back to whom it came from.
    """

    TAG: ClassVar[str] = "destination"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        receivers = {holder.key for holder in transfer.receivers} if transfer.asset.is_token else frozenset[str]()
        for payment in transfer.outputs:
            if payment.party.kind is Kind.BURN:
                yield reason(transfer.asset, why.BURN_NOT_APPROVED, "output", payment.vout)
            elif payment.party.kind is Kind.FOREIGN or payment.party.holder in receivers:
                yield reason(transfer.asset, why.FOREIGN_DESTINATION, "output", payment.vout)


class RegisteredHolder(Rule, frozen=True):
    """Of a restricted asset: receivers are registered and in all required categories; senders are registered, and in
    the categories where the asset asks for it. Who only redeems at the treasury need not be."""

    TAG: ClassVar[str] = "registered_holder"

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        asset = transfer.asset
        if asset.is_token or not asset.transfer_restricted:
            return
        for holder in transfer.receivers:
            if holder.user_id is None:
                yield from _of_recipient(transfer, holder, why.RECIPIENT_NOT_REGISTERED)
            else:
                for category in sorted(asset.requirements - holder.categories):
                    yield from _of_recipient(transfer, holder, why.RECIPIENT_LACKS_CATEGORY, category=category)
        if transfer.is_redemption:
            return
        for holder in transfer.senders:
            vin = transfer.first_input(holder.key)
            if holder.user_id is None:
                yield reason(asset, why.SENDER_NOT_REGISTERED, "input", vin)
            elif asset.checks_sender_categories:
                for category in sorted(asset.requirements - holder.categories):
                    yield reason(asset, why.SENDER_LACKS_CATEGORY, "input", vin, category=category)


class FrozenHolder(Rule, frozen=True):
    """Frozen holders neither send nor receive, nor move what they have. ``users``: frozen for this asset only."""

    TAG: ClassVar[str] = "frozen_holder"
    users: Annotated[frozenset[UserId], Meta(min_length=1, max_length=1_000)]

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.holders.values():
            if holder.is_frozen or holder.user_id in self.users:
                if holder.key in transfer.taken:
                    yield reason(transfer.asset, why.SENDER_FROZEN, "input", transfer.first_input(holder.key))
                else:
                    yield from _of_recipient(transfer, holder, why.RECIPIENT_FROZEN)


ALWAYS: tuple[Rule, ...] = (
    MissingFact(),
    Balance(),
    AssetLock(),
    OutputBlacklist(),
    Destination(),
    RegisteredHolder(),
    FrozenHolder(frozenset()),
)
"""What holds for every managed asset, in the order in which it is told."""


# --- set by issuers ------------------------------------------------------------------------------------------------


class TransferLimit(Rule, frozen=True):
    """At most ``satoshi`` leave one holder in one transaction."""

    TAG: ClassVar[str] = "transfer_limit"
    satoshi: Satoshi

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.senders:
            if (sent := transfer.sent(holder.key)) > self.satoshi:
                yield _of_sender(transfer, holder, why.TRANSFER_LIMIT, limit=self.satoshi, sent=sent)


class PeriodLimit(Rule, frozen=True):
    """At most ``satoshi`` leave one holder in any ``seconds``. What was signed and may still confirm counts."""

    TAG: ClassVar[str] = "period_limit"
    satoshi: Satoshi
    seconds: Seconds

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.senders:
            sent, before = transfer.sent(holder.key), holder.sent_within[self.seconds]
            if sent + before > self.satoshi:
                left = max(0, self.satoshi - before)
                yield _of_sender(
                    transfer, holder, why.PERIOD_LIMIT,
                    limit=self.satoshi, seconds=self.seconds, left=left, sent=sent,
                )  # fmt: skip

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs(sent=frozenset({self.seconds}))


class MaxHolders(Rule, frozen=True):
    """At most ``holders`` identities hold the asset; a transfer that makes none more is never refused for it."""

    TAG: ClassVar[str] = "max_holders"
    holders: Annotated[int, Meta(ge=1, le=1_000_000)]

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        new = [holder for holder in transfer.receivers if not holder.balance and not holder.is_sealed]
        if not new:
            return
        assert transfer.holder_count is not None, "the number of holders was not looked up"
        emptied = sum(
            holder.balance == transfer.sent(holder.key) and not holder.is_sealed and not holder.possible
            for holder in transfer.senders
        )
        # Who may still have what they signed away is counted already.
        unseen = sum(not holder.possible for holder in new)
        if transfer.holder_count + unseen - emptied > self.holders:
            for holder in new:
                yield from _of_recipient(transfer, holder, why.MAX_HOLDERS, limit=self.holders)

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs(balances=True, holders=self.holders)


class MaxBalance(Rule, frozen=True):
    """No transfer brings a holder above ``satoshi``, over all accounts."""

    TAG: ClassVar[str] = "max_balance"
    satoshi: Satoshi

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.receivers:
            before = holder.balance + holder.possible
            balance = before - transfer.taken.get(holder.key, 0) + transfer.given[holder.key]
            if holder.is_sealed:
                yield from _of_recipient(transfer, holder, why.RECIPIENT_UNKNOWN_BALANCE)
            elif balance > self.satoshi:
                yield from _of_recipient(transfer, holder, why.MAX_BALANCE, balance=balance, limit=self.satoshi)

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs(balances=True)


class LockUp(Rule, frozen=True):
    """Nothing leaves a holder before ``until``, not even to the treasury."""

    TAG: ClassVar[str] = "lock_up"
    until: Time

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        if transfer.now < self.until:
            for holder in transfer.senders:
                yield _of_sender(transfer, holder, why.LOCK_UP, until=why.date_text(self.until))


class HoldingPeriod(Rule, frozen=True):
    """What leaves a holder has been theirs for ``seconds``. Change is as young as the youngest coin it comes from."""

    TAG: ClassVar[str] = "holding_period"
    seconds: Seconds

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.senders:
            coins = [coin for coin in transfer.inputs if coin.party.holder == holder.key]
            if any(coin.acquired_at is None for coin in coins):
                yield reason(transfer.asset, why.MISSING_FACT, "input", transfer.first_input(holder.key))
                continue
            free = sum(c.satoshi for c in coins if c.acquired_at is not None and c.acquired_at <= self._since(transfer))
            if (sent := transfer.sent(holder.key)) > free:
                yield _of_sender(transfer, holder, why.HOLDING_PERIOD, seconds=self.seconds, free=free, sent=sent)

    def _since(self, transfer: Transfer) -> int:
        return transfer.now - self.seconds


class Vesting(Rule, frozen=True):
    """What is not unlocked yet stays with a user: ``schedule`` has pairs of time and satoshi."""

    TAG: ClassVar[str] = "vesting"
    user_id: UserId
    schedule: Annotated[tuple[tuple[Time, Satoshi], ...], Meta(min_length=1, max_length=200)]

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        for holder in transfer.senders:
            if holder.user_id != self.user_id:
                continue
            locked = sum(satoshi for unlock_at, satoshi in self.schedule if unlock_at > transfer.now)
            free = max(0, holder.balance - holder.uncertain - locked)
            if locked and (sent := transfer.sent(holder.key)) > free:
                yield _of_sender(transfer, holder, why.VESTING, locked=locked, free=free, sent=sent)

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs(balances=True)


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class TimeWindow(Rule, frozen=True, rename={"start": "from", "end": "to"}):
    """Units leave holders on these weekdays (1 is Monday) only, from one minute of the day (UTC) to before another."""

    TAG: ClassVar[str] = "time_window"
    weekdays: Annotated[frozenset[Annotated[int, Meta(ge=1, le=7)]], Meta(min_length=1, max_length=7)]
    start: Annotated[int, Meta(ge=0, le=1439)]
    end: Annotated[int, Meta(ge=1, le=1440)]

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError("a window ends after it starts, on the same day")

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """The reasons against a transfer."""
        at = datetime.fromtimestamp(transfer.now, UTC)
        is_open = at.isoweekday() in self.weekdays and self.start <= at.hour * 60 + at.minute < self.end
        if transfer.senders and not is_open:
            days = ", ".join(_WEEKDAYS[day - 1] for day in sorted(self.weekdays))
            yield reason(transfer.asset, why.TIME_WINDOW, days=days, start=_clock(self.start), end=_clock(self.end))


class IssuerBurn(Rule, frozen=True, omit_defaults=True):
    """An approval to burn: ``satoshi`` by one user, or by each holder where none is named, from ``since`` (when the
    rule was set, if absent) to before ``until``. Whatever the holder burned in that time counts."""

    TAG: ClassVar[str] = "issuer_burn"
    ONLY_REFUSES: ClassVar[bool] = False
    satoshi: Satoshi
    until: Time
    user_id: UserId | None = None
    since: Time | None = None

    def verdict(self, transfer: Transfer) -> Iterator[Reason]:
        """It has nothing against anything."""
        return iter(())

    def waives(self, transfer: Transfer, one: Reason) -> bool:
        """Whether this rule takes back another rule's reason: that a burn is not approved."""
        if one.code != why.BURN_NOT_APPROVED or len(transfer.taken) != 1 or len(transfer.senders) != 1:
            return False
        (holder,) = transfer.senders
        return (
            (self.user_id is None or holder.user_id == self.user_id)
            and self._since <= transfer.now < self.until
            and holder.burned_since[self._since] + transfer.burned <= self.satoshi
        )

    def needs(self) -> Needs:
        """What has to be looked up for it."""
        return Needs(burned=frozenset({self._since}))

    @property
    def _since(self) -> int:
        return self.since or 0


class UnknownRule(Rule, frozen=True):
    """Stands where the database has a rule that cannot be understood: nothing passes it."""

    TAG: ClassVar[str] = "unknown_rule"


SETTABLE: Mapping[str, type[Rule]] = {
    kind.TAG: kind
    for kind in (
        TransferLimit,
        PeriodLimit,
        MaxHolders,
        MaxBalance,
        LockUp,
        HoldingPeriod,
        Vesting,
        FrozenHolder,
        TimeWindow,
        IssuerBurn,
    )
}
"""Tag → rule that an issuer may set."""

ONLY_REFUSING: frozenset[str] = frozenset(tag for tag, kind in SETTABLE.items() if kind.ONLY_REFUSES)
"""Tags whose rules never allow anything."""


def parse(tag: str, values: Mapping[str, Any]) -> Rule:
    """The rule of a tag with these parameters. Raises :class:`WrongParameters`."""
    kind = SETTABLE.get(tag)
    if kind is None:
        raise WrongParameters(f"There is no rule {tag[:32]!r}; there are {', '.join(sorted(SETTABLE))}")
    try:
        rule = msgspec.convert(dict(values), kind, strict=True)
    except (msgspec.ValidationError, TypeError) as error:
        text, _, place = str(error).partition(" - at `$.")
        which = f"{place.rstrip('`')}: " if place else ""
        raise WrongParameters(f"{tag}: {which}{in_words(text)}") from None
    if len(msgspec.json.encode(rule)) > MAX_PARAMETERS:
        raise WrongParameters(f"{tag}: the parameters are longer than {MAX_PARAMETERS} characters")
    return rule


def parameters(rule: Rule) -> dict[str, Any]:
    """The parameters of a rule as JSON values, in their one form."""
    values: dict[str, Any] = msgspec.to_builtins(rule, order="deterministic")
    return values


def _of_sender(transfer: Transfer, holder: Holder, code: str, **values: object) -> Reason:
    return reason(transfer.asset, code, "input", transfer.first_input(holder.key), **values)


def _of_recipient(transfer: Transfer, holder: Holder, code: str, **values: object) -> Iterator[Reason]:
    """One for each output: fewer would tell that two addresses are one holder's."""
    for vout in transfer.outputs_of(holder.key):
        yield reason(transfer.asset, code, "output", vout, **values)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
