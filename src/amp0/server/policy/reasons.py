"""Why a transfer is refused: permanent codes, each with its sentence and with whom it is about.

A code never changes its meaning and is never used again for another. What a reason is *about* says who may learn of
it. The sender's own matters and those of the asset are told to whoever asks for the signature. What concerns a
recipient is told to the asset's issuer only: everybody else sees :data:`RECIPIENT_NOT_ALLOWED` (:func:`public`), the
same for a stranger's address, somebody who is not registered, is frozen or holds too much. Otherwise a wallet with
some units could find out who holds what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from amp0.protocol.issuer_policy import Reason
from amp0.server.policy.facts import Asset

Side = Literal["input", "output", "asset"]
About = Literal["asset", "sender", "recipient"]
MAX_FOREIGN_TEXT = 200
"""Characters of an issuer's own words that are passed on."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Whom a code is about, and its text, with the names of the values that it is told with."""

    about: About
    text: str


RECIPIENT_NOT_ALLOWED: Final = "recipient_not_allowed"
ENGINE_ERROR: Final = "engine_error"
UNKNOWN_RULE: Final = "unknown_rule"
POLICY_CHANGED: Final = "policy_changed"
MISSING_FACT: Final = "missing_fact"
AMOUNTS_DIFFER: Final = "amounts_differ"
ASSET_LOCKED: Final = "asset_locked"
OUTPUT_BLACKLISTED: Final = "output_blacklisted"
FOREIGN_DESTINATION: Final = "foreign_destination"
BURN_NOT_APPROVED: Final = "burn_not_approved"
RECIPIENT_NOT_REGISTERED: Final = "recipient_not_registered"
RECIPIENT_LACKS_CATEGORY: Final = "recipient_lacks_category"
SENDER_NOT_REGISTERED: Final = "sender_not_registered"
SENDER_LACKS_CATEGORY: Final = "sender_lacks_category"
SENDER_FROZEN: Final = "sender_frozen"
RECIPIENT_FROZEN: Final = "recipient_frozen"
TRANSFER_LIMIT: Final = "transfer_limit"
PERIOD_LIMIT: Final = "period_limit"
MAX_HOLDERS: Final = "max_holders"
MAX_BALANCE: Final = "max_balance"
RECIPIENT_UNKNOWN_BALANCE: Final = "recipient_unknown_balance"
LOCK_UP: Final = "lock_up"
HOLDING_PERIOD: Final = "holding_period"
VESTING: Final = "vesting"
TIME_WINDOW: Final = "time_window"
AUTHORIZATION_REFUSED: Final = "authorization_refused"
AUTHORIZATION_FAILED: Final = "authorization_failed"

CODES: dict[str, Sentence] = {
    RECIPIENT_NOT_ALLOWED: Sentence("recipient", "this asset may not be sent to this recipient"),
    ENGINE_ERROR: Sentence("asset", "the rules of this asset could not be checked, so nothing of it is signed"),
    UNKNOWN_RULE: Sentence("asset", "this asset has a rule that this server does not know, so nothing of it is signed"),
    POLICY_CHANGED: Sentence("asset", "what this asset allows changed while its issuer was being asked; try again"),
    MISSING_FACT: Sentence(
        "asset",
        "how much of this asset the inputs hold, and whose it is, is not known here; try again when all of them are "
        "confirmed, and spend with inputs of one account only",
    ),
    AMOUNTS_DIFFER: Sentence("asset", "the inputs hold {inputs} satoshi of this asset, and the outputs {outputs}"),
    ASSET_LOCKED: Sentence("asset", "its issuer has locked this asset; nothing of it moves until they unlock it"),
    OUTPUT_BLACKLISTED: Sentence("sender", "the asset's issuer has frozen this coin; send others"),
    FOREIGN_DESTINATION: Sentence("recipient", "this is neither an AMP account of this server nor the treasury"),
    BURN_NOT_APPROVED: Sentence("sender", "this asset is burned with its issuer's approval only; ask them first"),
    RECIPIENT_NOT_REGISTERED: Sentence("recipient", "the recipient is not a registered user of the asset's issuer"),
    RECIPIENT_LACKS_CATEGORY: Sentence("recipient", "the recipient is not in category {category}"),
    SENDER_NOT_REGISTERED: Sentence(
        "sender", "this account is not registered with the asset's issuer; it may pay the issuer's treasury only"
    ),
    SENDER_LACKS_CATEGORY: Sentence(
        "sender", "its owner is not in category {category} of the asset's issuer, who asks for it; speak to them"
    ),
    SENDER_FROZEN: Sentence("sender", "the asset's issuer has frozen its owner's holding; speak to them"),
    RECIPIENT_FROZEN: Sentence("recipient", "the recipient is frozen"),
    TRANSFER_LIMIT: Sentence("sender", "at most {limit} satoshi of this asset may leave a holder at once, not {sent}"),
    PERIOD_LIMIT: Sentence(
        "sender",
        "at most {limit} satoshi of this asset may leave a holder in {seconds} seconds; {left} are left, not {sent}",
    ),
    MAX_HOLDERS: Sentence("recipient", "the asset would have more than {limit} holders"),
    MAX_BALANCE: Sentence("recipient", "the recipient would hold {balance} satoshi, more than {limit}"),
    RECIPIENT_UNKNOWN_BALANCE: Sentence(
        "recipient", "what the recipient holds is not known: confirm the distributions that are under way"
    ),
    LOCK_UP: Sentence("sender", "this asset may not be sent before {until}"),
    HOLDING_PERIOD: Sentence(
        "sender",
        "this asset is kept for {seconds} seconds before it is sent on: of these inputs {free} satoshi may leave, not "
        "{sent}",
    ),
    VESTING: Sentence("sender", "{locked} satoshi of this holding are still locked: {free} may leave, not {sent}"),
    TIME_WINDOW: Sentence("asset", "this asset may be sent on {days} from {start} to {end} UTC only"),
    AUTHORIZATION_REFUSED: Sentence("asset", "the asset's issuer refuses: {error}"),
    AUTHORIZATION_FAILED: Sentence("asset", "the asset's issuer could not be asked for their agreement; try again"),
}
"""Every code there is."""

REPLACEABLE: frozenset[str] = frozenset(
    (RECIPIENT_NOT_REGISTERED, RECIPIENT_LACKS_CATEGORY, SENDER_NOT_REGISTERED, SENDER_LACKS_CATEGORY)
)
"""What the yes of an issuer's authorization endpoint puts aside: who may hold, and nothing else."""


def reason(asset: Asset, code: str, side: Side = "asset", index: int | None = None, **values: object) -> Reason:
    """A reason with its sentence filled in."""
    sentence = CODES[code]
    return Reason(
        code=code,
        side=side,
        index=index,
        asset_id=asset.hex,
        text=sentence.text.format(**values) if values else sentence.text,
        about=sentence.about,
    )


def public(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """What may leave to whoever asks for a signature: about each recipient only that it is not allowed.

    Of each asset those about recipients come last, by output: where they stand among the others would tell which rule
    they are of.
    """
    found = tuple(reasons)
    order = {asset_id: place for place, asset_id in enumerate(dict.fromkeys(one.asset_id for one in found))}
    shown = dict.fromkeys(
        msgspec.structs.replace(one, code=RECIPIENT_NOT_ALLOWED, text=CODES[RECIPIENT_NOT_ALLOWED].text)
        if one.about == "recipient"
        else one
        for one in found
    )
    return tuple(sorted(shown, key=lambda one: (order[one.asset_id], *_last(one))))


def _last(one: Reason) -> tuple[bool, int]:
    """Where a reason stands among those of its asset; the others keep their places."""
    is_recipient = one.about == "recipient"
    return is_recipient, (one.index or 0) if is_recipient else 0


def foreign_text(text: str) -> str:
    """An issuer's own words, safe to pass on: one line, bounded, and none that look like another reason."""
    printable = "".join(char if char.isprintable() else " " for char in text.replace(";", ","))
    words = " ".join(printable.split())
    return words if len(words) <= MAX_FOREIGN_TEXT else words[: MAX_FOREIGN_TEXT - 1] + "…"


def date_text(seconds: int) -> str:
    """A time as people read it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"time {seconds}"
