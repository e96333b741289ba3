"""The shapes around rules: an asset's policy and its changes, reasons of refusals, and the pre-flight."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from amp0.protocol.issuer_fields import (
    AddressText,
    Amount,
    DateTime,
    Gaid,
    Hex32,
    Id,
    Index,
    Seconds,
    Uuid,
)

Tag = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)", description="permanent name of a kind of rule")]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$(?!\n)", description="permanent name of a reason")]


class Reason(Struct, frozen=True, kw_only=True):
    """Why a transfer is not allowed. ``index`` counts inputs, outputs or the transfers of a pre-flight, as ``side``
    says; programs read ``code``, people ``text``."""

    code: Code
    side: Literal["input", "output", "asset"]
    index: Index | None
    asset_id: Hex32
    text: str
    about: Literal["asset", "sender", "recipient"] = "asset"


class PreflightTransfer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payment that somebody would like to make from their account."""

    address: AddressText
    asset_id: Hex32
    satoshi: Amount


class PreflightRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask whether the logged-in account could send: a list of transfers, or an unsigned PSET in base64."""

    transfers: Annotated[list[PreflightTransfer], Meta(max_length=100)] | None = None
    pset: Annotated[str, Meta(max_length=1_000_000)] | None = None
    blinding_nonces: list[str] | None = None


class PreflightReply(Struct, frozen=True, kw_only=True):
    """The cosigner's verdict before anything is signed. No promise: what it depends on may change at any time."""

    allowed: bool
    reasons: list[Reason]


class Rule(Struct, frozen=True, kw_only=True):
    """One rule that the issuer set for an asset, beside those that always hold."""

    id: Id
    tag: Tag
    parameters: dict[str, Any]
    created_at: DateTime
    created_by: Id


class RuleAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule to add, or to put in the place of another."""

    tag: Tag
    parameters: dict[str, Any] = field(default_factory=dict)


class TrialRefusal(Struct, frozen=True, kw_only=True):
    """A transfer on record that a rule would have refused."""

    txid: Hex32
    at: DateTime
    reasons: list[Reason]


class Trial(Struct, frozen=True, kw_only=True):
    """What a rule would have done to the newest transfers on record, and would do to today's holders: how many of them
    could not redeem all they hold now, and how many could not be sent one satoshi more."""

    transfers: Annotated[int, Meta(ge=0)]
    refused: list[TrialRefusal]
    holders: Annotated[int, Meta(ge=0)]
    cannot_redeem: Annotated[int, Meta(ge=0)]
    cannot_receive: Annotated[int, Meta(ge=0)]


class Approval(Struct, frozen=True, kw_only=True):
    """Somebody else's agreement with a change."""

    principal: Id
    person: str
    at: DateTime


class Change(Struct, frozen=True, kw_only=True):
    """A change of what an asset's policy allows. What tightens takes effect at once; what loosens may have to wait
    for time and for other persons. ``content_hash`` is what an approval agrees to."""

    id: Id
    asset_uuid: Uuid
    action: str
    content: dict[str, Any]
    content_hash: Hex32
    loosens: bool
    state: Literal["pending", "effective", "cancelled"]
    requested_by: Id
    requested_at: DateTime
    not_before: DateTime
    required_approvals: Annotated[int, Meta(ge=0)]
    approvals: list[Approval]
    settled_at: DateTime | None
    settled_by: Id | None
    """Who made it effective or cancelled it; null when time did."""


class ChangeApprove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Agree with a pending change, and say with which content."""

    content_hash: Hex32


class ChangeFilter(Struct, frozen=True, kw_only=True):
    """Which changes: the ``count`` newest before the one with the id ``before``, of one state or of all."""

    state: Literal["pending", "effective", "cancelled"] | None = None
    before: Id | None = None
    count: Annotated[int, Meta(ge=1, le=1000)] | None = None


class PolicySettings(Struct, frozen=True, kw_only=True):
    """How an asset's policy is changed, and the switches that are no rules. ``version`` grows with every change that
    may change a verdict."""

    checks_sender_categories: bool
    loosening_delay: Seconds
    required_approvals: Annotated[int, Meta(ge=0, le=100)]
    version: Annotated[int, Meta(ge=0)]


class PolicyEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New policy settings; what is absent or null stays."""

    checks_sender_categories: bool | None = None
    loosening_delay: Seconds | None = None
    required_approvals: Annotated[int, Meta(ge=0, le=100)] | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """A transfer that the cosigner refused, with all reasons: for the issuer's eyes."""

    id: Id
    asset_uuid: Uuid
    txid: Hex32
    registered_user: Id | None
    gaid: Gaid | None = field(name="GAID")
    reasons: list[Reason]
    at: DateTime


class Event(Struct, frozen=True, kw_only=True):
    """One change that somebody made on the issuer's side."""

    id: Id
    at: DateTime
    principal: Id
    username: str
    action: str
    asset_uuid: Uuid | None
    detail: dict[str, Any]


class EventPaging(Struct, frozen=True, kw_only=True):
    """Which events: the ``count`` newest before the one with the id ``before``."""

    before: Id | None = None
    count: Annotated[int, Meta(ge=1, le=1000)] | None = None
