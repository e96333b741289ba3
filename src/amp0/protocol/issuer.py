"""The shapes of the issuer API under ``/api``: what its requests hold and what it answers.

Shared by the server and our client. Keys are exactly those that issuers' tools read and write, the old ones beside the
new; :mod:`issuer_money` has the shapes about units of an asset, :mod:`issuer_policy` those about rules, and this
module gives all of them. Requests refuse keys that they do not know, except the payloads of confirms, which hold
whatever a node said. Answers always have every key, with null where there is nothing.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from amp0.protocol.issuer_fields import (
    COIN,
    MAX_SATOSHI,
    UNKNOWN_BLINDER,
    AddressText,
    Amount,
    DateTime,
    Decimal,
    Gaid,
    Height,
    Hex32,
    Hex33,
    Id,
    Index,
    LongText,
    Name,
    NewPassword,
    Password,
    Satoshi,
    Seconds,
    UnixTime,
    Url,
    Username,
    Uuid,
    date_text,
    decimal_number,
    satoshi_of,
)
from amp0.protocol.issuer_money import (
    SCRIPT_VERSION,
    Activity,
    AddressList,
    Assignment,
    AssignmentFilter,
    AssignmentsCreate,
    Balance,
    Burn,
    BurnConfirm,
    BurnFile,
    BurnRequest,
    BurnTxData,
    ChangeOutput,
    DistributeConfirm,
    DistributeFile,
    Distribution,
    DistributionTx,
    DistributionTxData,
    GaidBalance,
    IssuanceEntry,
    LostOutputs,
    NewAssignment,
    Outpoint,
    OutpointList,
    Ownership,
    Paging,
    PaidAssignment,
    Reissuance,
    ReissuanceInput,
    ReissueConfirm,
    Reissued,
    ReissueFile,
    ReissueRequest,
    Summary,
    Tx,
    TxInput,
    TxOutput,
    UpdateBlinders,
    UserSummary,
    Utxo,
    WalletDetail,
)
from amp0.protocol.issuer_policy import (
    Approval,
    Change,
    ChangeApprove,
    ChangeFilter,
    Event,
    EventPaging,
    PolicyEdit,
    PolicySettings,
    PreflightReply,
    PreflightRequest,
    PreflightTransfer,
    Reason,
    Refusal,
    Rule,
    RuleAdd,
    Trial,
    TrialRefusal,
)

# Given on from the other modules; what is defined here is public as well.
__all__ = [
    "COIN", "MAX_SATOSHI", "SCRIPT_VERSION", "UNKNOWN_BLINDER", "Activity", "AddressList", "AddressText",
    "Amount", "Approval", "Asset", "AssetEdit", "Assignment", "AssignmentFilter", "AssignmentsCreate", "Balance",
    "Burn", "BurnConfirm", "BurnFile", "BurnRequest", "BurnTxData", "Category", "CategoryAdd", "CategoryEdit",
    "Change", "ChangeApprove", "ChangeFilter", "ChangeOutput", "Credentials", "DateTime", "Decimal",
    "DistributeConfirm", "DistributeFile", "Distribution", "DistributionTx", "DistributionTxData", "Event",
    "EventPaging", "Gaid", "GaidAddress", "GaidBalance", "Height", "Hex32", "Hex33", "Id", "Index", "Info",
    "IssuanceEntry", "Issue", "Issued", "LongText", "LostOutputs", "Manager", "ManagerCreate", "Name",
    "NewAssignment", "NewPassword", "Nothing", "Outpoint", "OutpointList", "Ownership", "Paging",
    "PaidAssignment", "Password", "PasswordChange", "PasswordChanged", "PolicyEdit", "PolicySettings",
    "PreflightReply", "PreflightRequest", "PreflightTransfer", "Reason", "Refusal", "Reissuance",
    "ReissuanceInput", "ReissueConfirm", "ReissueFile", "ReissueRequest", "Reissued", "Rule", "RuleAdd",
    "Satoshi", "Seconds", "Summary", "Token", "Trial", "TrialRefusal", "Tx", "TxInput", "TxOutput", "UnixTime",
    "UpdateBlinders", "Url", "User", "UserAdd", "UserEdit", "UserSummary", "Username", "Utxo", "Uuid", "Validity",
    "WalletDetail", "date_text", "decimal_number", "satoshi_of",
]  # fmt: skip

VERSION = "0.1.13"
"""Of the API that is spoken here."""


class Nothing(Struct, frozen=True):
    """An empty object."""


# --- general and login ---------------------------------------------------------------------------------------------


class Info(Struct, frozen=True, kw_only=True):
    """Which version of the API this is."""

    version: str
    notes: str | None = None


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of an issuer or manager."""

    username: Username
    password: Password

    def __repr__(self) -> str:
        return f"{type(self).__name__}(username={self.username!r})"


class Token(Struct, frozen=True, kw_only=True):
    """A live token, for the header ``Authorization: token <TOKEN>``."""

    token: str

    def __repr__(self) -> str:
        return "Token(…)"


class PasswordChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password."""

    password: NewPassword

    def __repr__(self) -> str:
        return "PasswordChange(…)"


class PasswordChanged(Struct, frozen=True, kw_only=True):
    """The new password again, and the token that replaces the ones before it."""

    username: str
    password: str
    token: str

    def __repr__(self) -> str:
        return f"PasswordChanged(username={self.username!r})"


# --- registered users, categories, GAIDs, managers -----------------------------------------------------------------


class UserAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A holder to register, with their first GAID or without one."""

    name: Name
    is_company: bool = False
    gaid: str | None = field(default=None, name="GAID")


class UserEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new name; null leaves it."""

    name: Name | None = None


class User(Struct, frozen=True, kw_only=True, gc=False):
    """A registered user. ``GAID`` is the default one, which distributions pay to; a frozen user neither sends nor
    receives; ``creator`` is the issuer's or the manager's id."""

    id: Id
    gaid: Gaid | None = field(name="GAID")
    is_company: bool
    name: str
    categories: list[Id]
    creator: Id
    is_frozen: bool = False


class CategoryAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category to make; its name is the only one of its kind."""

    name: Name
    description: LongText | None = None


class CategoryEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a category is called from now on; what is absent or null stays."""

    name: Name | None = None
    description: LongText | None = None


class Category(Struct, frozen=True, kw_only=True):
    """Users who have something in common, and the assets that require it. ``investors`` is ``registered_users`` by
    its old name."""

    id: Id
    name: str
    description: str | None
    registered_users: list[Id]
    assets: list[Uuid]
    investors: list[Id] = field(default_factory=list)


class Validity(Struct, frozen=True, kw_only=True):
    """Whether a GAID names an AMP account of this server; ``error`` is empty when it does."""

    is_valid: bool
    error: str


class GaidAddress(Struct, frozen=True, kw_only=True):
    """A fresh confidential address of an AMP account; empty, with an ``error``, where there is none."""

    address: str
    error: str


class ManagerCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manager to make, who begins locked. ``person`` says who is behind the login where that is not its name:
    somebody with two logins is still one person, who does not approve what they asked for."""

    username: Username
    password: NewPassword
    person: Annotated[str, Meta(min_length=1, max_length=150)] | None = None

    def __repr__(self) -> str:
        return f"ManagerCreate(username={self.username!r})"


class Manager(Struct, frozen=True, kw_only=True):
    """Somebody who works for an issuer, and the assets they work on."""

    id: Id
    username: str
    is_locked: bool
    assets: list[Uuid]
    person: str = ""


# --- assets --------------------------------------------------------------------------------------------------------


class Asset(Struct, frozen=True, kw_only=True):
    """An asset that was issued here. ``requirements`` are categories: a holder is in all of them."""

    name: str
    asset_uuid: Uuid
    issuer: Id
    asset_id: Hex32
    reissuance_token_id: Hex32 | None
    requirements: list[Id]
    ticker: str | None
    precision: int
    domain: str | None
    pubkey: str | None
    is_registered: bool
    is_authorized: bool
    is_locked: bool
    issuer_authorization_endpoint: str | None
    transfer_restricted: bool


class Issue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An asset to issue. What is given for a reissuance is ignored unless ``is_reissuable``. ``investors_restricted``
    is ``transfer_restricted`` by its old name; left open, an asset is restricted."""

    name: Annotated[str, Meta(min_length=5, max_length=255, pattern=r"^[ -~]*$(?!\n)")]
    amount: Amount
    destination_address: AddressText
    domain: Annotated[str, Meta(min_length=1, max_length=253)]
    ticker: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.\-]{3,24}$(?!\n)")]
    pubkey: Hex33
    precision: Annotated[int, Meta(ge=0, le=8)] | None = None
    is_confidential: bool | None = None
    is_reissuable: bool | None = None
    reissuance_amount: Satoshi | None = None
    reissuance_address: Annotated[str, Meta(max_length=200)] | None = None
    transfer_restricted: bool | None = None
    investors_restricted: bool | None = None


class Issued(Struct, frozen=True, kw_only=True):
    """An asset that was just issued. ``reissuance_amount`` (satoshi of the reissuance token) is 0 and
    ``reissuance_address`` empty when it cannot be reissued: never null."""

    name: str
    amount: Amount
    destination_address: str
    domain: str
    ticker: str
    precision: int
    pubkey: str
    is_confidential: bool
    is_reissuable: bool
    reissuance_amount: Satoshi
    reissuance_address: str
    asset_id: Hex32
    reissuance_token_id: Hex32 | None
    asset_uuid: Uuid
    txid: Hex32
    vin: Index
    asset_vout: Index
    reissuance_vout: Index | None
    issuer_authorization_endpoint: str | None
    transfer_restricted: bool
    issuance_assetblinder: Hex32
    issuance_tokenblinder: Hex32 | None


class AssetEdit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The URL that is asked before a transfer is cosigned; empty or null: nobody is."""

    issuer_authorization_endpoint: Url | None
