"""The maps that travel in results: login data, rows of accounts, addresses, outputs and transactions.

The procedures that answer with them are in :mod:`amp0.protocol.rpc`, which also gives these names.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

ADDRESS_TYPE = "p2wsh"
"""The address type of an AMP0 account (P2SH-P2WSH on the chain)."""

Hex = Annotated[str, Meta(pattern=r"\A(?:[0-9a-fA-F]{2})*\Z", max_length=2_000_000)]
Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-fA-F]{64}\Z")]
MaybeHex32 = Annotated[str, Meta(pattern=r"\A(?:[0-9a-fA-F]{64})?\Z")]
Hex33 = Annotated[str, Meta(pattern=r"\A[0-9a-fA-F]{66}\Z")]
Hex64 = Annotated[str, Meta(pattern=r"\A[0-9a-fA-F]{128}\Z")]
Base64 = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]*={0,2}\Z", max_length=1_000_000)]
Hmac64 = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]{43}=\Z")]
ShortText = Annotated[str, Meta(max_length=256)]
Pointer = Annotated[int, Meta(ge=0, lt=2**31)]
Satoshi = Annotated[int, Meta(ge=0, le=21 * 10**14)]
AnyMap = dict[str, Any]
TwoFactorData = dict[str, Any] | None


class SubaccountRow(Struct, frozen=True, omit_defaults=True):
    """One account in the login data.

    The first four fields are all that clients read (GDK also ``name``, when it has no blob yet); the
    rest are what production sends, unset unless asked for, because the whole login data must stay below
    :data:`~amp0.protocol.rpc.LWK_MESSAGE_LIMIT`. Pointer 0 must never be listed: GDK asserts on it.
    """

    pointer: Pointer
    type: ShortText
    receiving_id: ShortText
    required_ca: Annotated[int, Meta(ge=0, le=10_000)]
    name: str | UnsetType | None = UNSET
    has_txs: bool | UnsetType | None = UNSET


class TxLimits(Struct, frozen=True):
    """Spending limits; on Liquid GDK shows them and does not apply them."""

    total: int = 0
    per_tx: int = 0
    is_fiat: bool = False


def default_appearance() -> dict[str, Any]:
    """The appearance of a new wallet. Without ``use_segwit`` GDK asks for ``p2sh`` addresses."""
    return {
        "unit": "BTC",
        "replace_by_fee": True,
        "current_subaccount": 0,
        "use_segwit": True,
        "use_csv": True,
    }


class LoginData(Struct, frozen=True, kw_only=True):
    """The result of both logins, as a server makes it. A ``wo_blob_key`` in a full login breaks GDK; so does none in a
    watch-only one. ``csv_times`` must equal the network's buckets and hold ``csv_blocks``."""

    gait_path: Hex64
    subaccounts: list[SubaccountRow]
    client_blob_hmac: Hmac64
    receiving_id: ShortText = ""
    public_key: str = ""
    chain_code: str = ""
    cache_password: str = ""
    appearance: AnyMap | None = msgspec.field(default_factory=default_appearance)
    block_height: int = 0
    block_hash: str = ""
    prev_block_hash: str = ""
    csv_blocks: int = 65535
    csv_times: list[int] = msgspec.field(default_factory=lambda: [65535])
    min_fee: int = 100
    exchange: str = "BITSTAMP"
    fiat_currency: str = "USD"
    fee_estimates: AnyMap | None = None
    limits: TxLimits | None = TxLimits()
    nlocktime_blocks: int = 12960
    earliest_key_creation_time: int = 0
    reset_2fa_active: bool = False
    reset_2fa_days_remaining: int = -1
    reset_2fa_disputed: bool = False
    rbf: bool = True
    first_login: bool = False
    warnings: list[str] = []
    next_system_message_id: int = 0
    wo_blob_key: Hex64 | UnsetType | None = UNSET


class LoginReply(Struct, frozen=True, kw_only=True):
    """What our client reads of the login data; everything else may be there or not, in any form."""

    gait_path: Hex64
    subaccounts: list[SubaccountRow]
    client_blob_hmac: Hmac64
    public_key: str = ""
    chain_code: str = ""
    receiving_id: str = ""
    limits: Any = None
    reset_2fa_active: Any = False
    reset_2fa_days_remaining: Any = -1
    reset_2fa_disputed: Any = False
    warnings: Any = None
    wo_blob_key: Hex64 | None = None


class BlobReply(Struct, frozen=True):
    """The stored client blob; also the answer to a write that lost a race."""

    blob: Base64
    hmac: Hmac64
    sequence: int = 0


class FundReply(Struct, frozen=True):
    """A new address. ``script`` is the *witness* script; LWK checks the three constants."""

    pointer: Pointer
    script: Hex
    subaccount: Pointer
    branch: int = 1
    addr_type: str = ADDRESS_TYPE
    subtype: int | None = None


class AddressRow(Struct, frozen=True):
    """One issued address in ``addressbook.get_my_addresses``; ``script`` is the witness script."""

    pointer: Pointer
    script: Hex = ""
    ad: str = ""
    addr_type: str = ADDRESS_TYPE
    branch: int = 1
    script_type: int = 14
    subtype: int | None = None
    num_tx: int = 0


class IssuedAddress(Struct, frozen=True):
    """What our client reads of an :class:`AddressRow`; the rest may have any form."""

    pointer: Pointer
    script: Hex | None = None


class UtxoRow(Struct, frozen=True, kw_only=True):
    """One unspent output. ``value`` is null when confidential and *decimal text* when explicit;
    ``block_height`` is 0 while unconfirmed, never null."""

    txhash: Hex32
    pt_idx: int
    subaccount: int
    pointer: int
    asset_tag: Hex
    commitment: Hex
    nonce_commitment: Hex
    script: Hex
    range_proof: Hex
    surj_proof: Hex
    block_height: int = 0
    value: str | None = None
    user_status: int = 0
    script_type: int = 14
    subtype: int = 0


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input or output of a listed transaction. ``value`` is decimal text or ``"None"``;
    ``address`` must not be empty for outputs of the account; the ``prev…`` fields belong to inputs."""

    is_output: bool
    is_relevant: bool
    pt_idx: int
    script_type: int
    value: str
    is_spent: bool
    subtype: int
    subaccount: int
    pointer: int
    address: str | UnsetType = UNSET
    asset_tag: str | UnsetType = UNSET
    commitment: str | UnsetType = UNSET
    nonce_commitment: str | UnsetType = UNSET
    script: str | UnsetType = UNSET
    range_proof: str | UnsetType = UNSET
    surj_proof: str | UnsetType = UNSET
    prevtxhash: str | UnsetType = UNSET
    previdx: int | UnsetType = UNSET
    prevsubaccount: int | UnsetType | None = UNSET
    prevpointer: int | UnsetType | None = UNSET


class TxRow(Struct, frozen=True, kw_only=True):
    """One listed transaction. ``created_at_ts`` is in microseconds, unique in the account and for ever."""

    txhash: Hex32
    block_height: int
    created_at_ts: int
    fee: int
    weight: int
    transaction_vsize: int
    eps: list[Endpoint]
    rbf_optin: bool = False


class TxList(Struct, frozen=True):
    """A page of transactions, oldest first; ``more`` asks the client to call again."""

    list: list[TxRow]
    more: bool = False


class Memos(Struct, frozen=True):
    """Memos kept before there was a client blob: always empty here."""

    bip70: dict[str, str] = {}
    memos: dict[str, str] = {}


class SystemMessage(Struct, frozen=True):
    """A message of the service; number 0 and no text when there is none."""

    message: str = ""
    message_id: int = 0
    next_message_id: int = 0


class SpendReply(Struct, frozen=True):
    """A cosigned transaction in hex, and its txid in display hex.

    ``limit_decrease`` is what it took of the spending limit, and ``limits``, there only with it, what is left.
    """

    tx: Hex
    txhash: Hex32
    limit_decrease: int = 0
    limits: TxLimits | UnsetType = UNSET
