"""The shapes around units of an asset: monitoring, assignments, distributions, reissues, burns, and their files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from amp0.protocol.issuer_fields import (
    AddressText,
    Amount,
    DateTime,
    Decimal,
    Gaid,
    Height,
    Hex32,
    Id,
    Index,
    Satoshi,
    UnixTime,
    Uuid,
)

SCRIPT_VERSION = 2
"""``min_supported_client_script_version`` of every request file: the official script wants at least this."""

# --- monitoring ----------------------------------------------------------------------------------------------------


class Paging(Struct, frozen=True, kw_only=True):
    """Which part of a list, in which order. Read from the query; what is absent there, from a JSON body. Heights are
    inclusive. Oldest first, and all of it, unless told otherwise."""

    start: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    count: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    sortcolumn: Literal["datetime", "blockheight", "txid", "type", "amount", "vout"] | None = None
    sortorder: Literal["asc", "desc"] | None = None
    height_start: Height | None = None
    height_stop: Height | None = None


class Outpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An output of a transaction."""

    txid: Hex32
    vout: Index


class Ownership(Struct, frozen=True, kw_only=True, gc=False):
    """How much one holder has. ``owner`` is the registered user's id as text; the treasury has neither owner nor
    GAID."""

    owner: str | None
    amount: Satoshi
    gaid: Gaid | None = field(name="GAID")


class Balance(Struct, frozen=True, kw_only=True):
    """Who holds what in blocks, and what the server lost track of."""

    confirmed_balance: list[Ownership]
    lost_outputs: list[Outpoint]
    reissuance_lost_outputs: list[Outpoint]


class LostOutputs(Struct, frozen=True, kw_only=True):
    """Outputs of the asset and of its reissuance token that the server lost track of."""

    lost_outputs: list[Outpoint]
    reissuance_lost_outputs: list[Outpoint]


class Summary(Struct, frozen=True, kw_only=True):
    """The asset in numbers; circulation is issued + reissued − burned. ``registered_users`` counts those who satisfy
    the requirements, ``active_registered_users`` those of them who hold some, ``active_green_subaccounts`` GAIDs."""

    asset_id: Hex32
    reissuance_token_id: Hex32 | None
    issued: Satoshi
    reissued: Satoshi
    assigned: Satoshi
    distributed: Satoshi
    burned: Satoshi
    blacklisted: Satoshi
    registered_users: int
    active_registered_users: int
    active_green_subaccounts: int
    reissuance_tokens: Satoshi


class Utxo(Struct, frozen=True, kw_only=True):
    """An unspent output of the asset; the treasury's have neither user nor gaid. ``investor`` is the old name of
    ``registered_user``, here as everywhere."""

    txid: Hex32
    vout: Index
    asset: Hex32
    amount: Satoshi
    registered_user: Id | None
    gaid: Gaid | None
    blacklisted: bool
    investor: Id | None = None


class Activity(Struct, frozen=True, kw_only=True):
    """An output that moved some of the asset. The key ``registered user`` really has a space."""

    type: str
    datetime: DateTime
    description: str
    txid: Hex32
    vout: Index
    blockheight: Height
    asset_blinder: Hex32
    amount_blinder: Hex32
    registered_user_spaced: Id | None = field(name="registered user")
    gaid: Gaid | None = field(name="GAID")
    amount: Satoshi
    registered_user: Id | None = None
    investor: Id | None = None


class TxInput(Struct, frozen=True, kw_only=True):
    """An input that spends the asset or its reissuance token. Unknown blinders are 64 zeros."""

    asset_id: Hex32
    vin: Index
    prev_txid: Hex32
    prev_vout: Index
    amount: Satoshi
    asset_blinder: Hex32
    amount_blinder: Hex32
    registered_user: Id | None
    gaid: Gaid | None = field(name="GAID")
    is_treasury: bool
    investor: Id | None = None


class TxOutput(Struct, frozen=True, kw_only=True):
    """An output of the asset or its reissuance token. Unknown blinders are 64 zeros."""

    asset_id: Hex32
    vout: Index
    amount: Satoshi
    asset_blinder: Hex32
    amount_blinder: Hex32
    registered_user: Id | None
    gaid: Gaid | None = field(name="GAID")
    is_treasury: bool
    is_spent: bool
    is_burnt: bool
    investor: Id | None = None


class Tx(Struct, frozen=True, kw_only=True):
    """A confirmed transaction, with those inputs and outputs that concern the asset or its token."""

    txid: Hex32
    datetime: DateTime
    blockheight: Height
    is_issuance: bool
    is_reissuance: bool
    is_distribution: bool
    inputs: list[TxInput]
    outputs: list[TxOutput]
    unblinded_url: str


class Reissuance(Struct, frozen=True, kw_only=True):
    """A confirmed reissue. ``confirmed_in_block`` is the hash of its block."""

    txid: Hex32
    vout: Index
    destination_address: str
    reissuance_amount: Satoshi
    confirmed_in_block: str
    created: DateTime


class GaidBalance(Struct, frozen=True, kw_only=True):
    """What one AMP account holds of one asset of the caller's issuer."""

    asset_uuid: Uuid
    asset_id: Hex32
    balance: Satoshi


# --- assignments and distributions ---------------------------------------------------------------------------------


class AssignmentFilter(Struct, frozen=True, kw_only=True):
    """Which assignments: those that are distributed, those that are not, or all."""

    distributed: bool | None = None


class NewAssignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount for a registered user, to be paid by a distribution once it is ready and vested."""

    registered_user: Id
    amount: Amount
    ready_for_distribution: bool = False
    vesting_timestamp: UnixTime | None = None


class AssignmentsCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list of exactly one."""

    assignments: Annotated[list[NewAssignment], Meta(min_length=1, max_length=1)]


class Assignment(Struct, frozen=True, kw_only=True):
    """An amount for a registered user, and how far it is on its way."""

    id: Id
    registered_user: Id
    amount: Amount
    receiving_address: str | None
    distribution_uuid: Uuid | None
    ready_for_distribution: bool
    vesting_datetime: DateTime | None
    vesting_timestamp: UnixTime | None
    has_vested: bool
    is_distributed: bool
    creator: Id
    gaid: Gaid | None = field(name="GAID")
    investor: Id | None = None


Status = Literal["UNCONFIRMED", "CONFIRMED"]


class PaidAssignment(Struct, frozen=True, kw_only=True):
    """An assignment and the output that paid it."""

    registered_user: Id
    amount: Amount
    vout: Index


class DistributionTx(Struct, frozen=True, kw_only=True):
    """The transaction that paid a distribution."""

    txid: Hex32
    transaction_status: Status
    included_blockheight: Height
    confirmed_datetime: DateTime
    assignments: list[PaidAssignment]


class Distribution(Struct, frozen=True, kw_only=True):
    """A payment of many assignments at once. ``transactions`` is empty until it is confirmed."""

    distribution_uuid: Uuid
    distribution_status: Status
    transactions: list[DistributionTx]


class UserSummary(Struct, frozen=True, kw_only=True):
    """What a registered user has to do with one asset."""

    asset_uuid: Uuid
    asset_id: Hex32
    assignments: list[Assignment]
    assignments_sum: Satoshi
    distributions: list[Distribution]
    distributions_sum: Satoshi
    balance: Satoshi


class DistributeFile(Struct, frozen=True, kw_only=True):
    """The request file of a distribution. ``base_url`` holds ``{}``, where the path goes."""

    command: Literal["distribute"] = "distribute"
    min_supported_client_script_version: int = SCRIPT_VERSION
    base_url: str
    asset_uuid: Uuid
    asset_id: Hex32
    distribution_uuid: Uuid
    map_address_amount: dict[str, Decimal]
    map_address_asset: dict[str, Hex32]


# --- confirm payloads: whatever an Elements node said, so that unknown keys are no error ---------------------------


class WalletDetail(Struct, frozen=True, kw_only=True):
    """An entry of ``gettransaction``'s details. What a wallet pays itself is there twice, with the same ``vout``."""

    vout: Index
    address: str | None = None
    category: str | None = None
    amount: Any = None
    amountblinder: str | None = None
    asset: str | None = None
    assetblinder: str | None = None


class ChangeOutput(Struct, frozen=True, kw_only=True):
    """An entry of ``listunspent``. Only the outpoint is sure to be there."""

    txid: Hex32
    vout: Index
    address: str | None = None
    amount: Any = None
    asset: str | None = None
    amountblinder: str | None = None
    assetblinder: str | None = None


class IssuanceEntry(Struct, frozen=True, kw_only=True):
    """An entry of ``listissuances``."""

    txid: Hex32
    vin: Index
    asset: str | None = None
    isreissuance: bool | None = None
    entropy: str | None = None
    assetamount: Any = None
    assetblinds: str | None = None


Details = Annotated[list[WalletDetail], Meta(max_length=20_000)]
Changes = Annotated[list[ChangeOutput], Meta(max_length=20_000)]


class DistributionTxData(Struct, frozen=True, kw_only=True):
    """The transaction that paid a distribution, as the node's wallet knows it."""

    txid: Hex32
    details: Details = field(default_factory=list)


class DistributeConfirm(Struct, frozen=True, kw_only=True):
    """A distribution was sent."""

    tx_data: DistributionTxData
    change_data: Changes = field(default_factory=list)


class ReissueRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for the request file of a reissue."""

    amount_to_reissue: Amount


class ReissueFile(Struct, frozen=True, kw_only=True):
    """The request file of a reissue: a decimal ``amount``, and the treasury's outputs of the reissuance token."""

    command: Literal["reissue"] = "reissue"
    min_supported_client_script_version: int = SCRIPT_VERSION
    base_url: str
    asset_uuid: Uuid
    asset_id: Hex32
    amount: Decimal
    reissuance_utxos: list[Outpoint]


class ReissuanceInput(Struct, frozen=True, kw_only=True):
    """The input that reissues."""

    txid: Hex32
    vin: Index


class ReissueConfirm(Struct, frozen=True, kw_only=True):
    """A reissue was sent."""

    details: Details
    reissuance_output: ReissuanceInput
    listissuances: Annotated[list[IssuanceEntry], Meta(max_length=20_000)] = field(default_factory=list)


class Reissued(Struct, frozen=True, kw_only=True):
    """A reissue that the server has seen in the chain; the amount is in satoshi."""

    txid: Hex32
    vin: Index
    reissuance_amount: Satoshi


class BurnRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for the request file of a burn."""

    amount: Amount


class BurnFile(Struct, frozen=True, kw_only=True):
    """The request file of a burn: a decimal ``amount``, and all outputs of the asset in the treasury."""

    command: Literal["burn"] = "burn"
    min_supported_client_script_version: int = SCRIPT_VERSION
    base_url: str
    asset_uuid: Uuid
    asset_id: Hex32
    amount: Decimal
    utxos: list[Outpoint]


class BurnTxData(Struct, frozen=True, kw_only=True):
    """The transaction that burned."""

    txid: Hex32


class BurnConfirm(Struct, frozen=True, kw_only=True):
    """A burn was sent."""

    tx_data: BurnTxData
    change_data: Changes = field(default_factory=list)


class Burn(Struct, frozen=True, kw_only=True):
    """A burn that was confirmed at the server. ``transaction_status`` is ``UNCONFIRMED`` only while a reorganisation
    has it in no block."""

    txid: Hex32
    amount: Satoshi
    created: DateTime
    transaction_status: Literal["CONFIRMED", "UNCONFIRMED"] = "CONFIRMED"


class UpdateBlinders(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blinders of one output that arrived another way. ``amount`` helps where the server cannot conclude it."""

    txid: Hex32
    vout: Index
    asset_blinder: Hex32
    amount_blinder: Hex32
    amount: Amount | None = None


AddressList = Annotated[list[AddressText], Meta(max_length=100)]
"""As many as changes may wait; each is a change of its own, and nobody else writes while they are made."""
OutpointList = Annotated[list[Outpoint], Meta(max_length=10_000)]
