"""The procedures of the Green backend: their URIs, arguments, results, events and errors.

Every procedure is one class, a :class:`Procedure`, whose fields are the positional arguments in order
and whose ``RESULT`` is the type of the one positional result. :data:`PROCEDURES` maps URI to class, so a
server can parse any call with :func:`parse_call` and a client can read any answer with
:func:`parse_result`; both refuse what is out of shape with a :class:`RemoteProtocolError` that does not
repeat the value, since it may be a secret.

Conventions of the wire: text is text, never binary; binary values are hex, except the client blob and its
HMACs (base64 with padding); txids and asset ids in display order, everything else in raw order. Unknown
extra keys are ignored, except where a class says that clients are stricter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta, Struct

from amp0.errors import RemoteProtocolError
from amp0.protocol import preflight, twofactor
from amp0.protocol.issuer_policy import Reason
from amp0.protocol.procedure import OWN_PREFIX, PREFIX, Procedure
from amp0.protocol.rows import (
    ADDRESS_TYPE,
    AddressRow,
    AnyMap,
    Base64,
    BlobReply,
    Endpoint,
    FundReply,
    Hex,
    Hex32,
    Hex33,
    Hex64,
    Hmac64,
    IssuedAddress,
    LoginData,
    LoginReply,
    MaybeHex32,
    Memos,
    Pointer,
    Satoshi,
    ShortText,
    SpendReply,
    SubaccountRow,
    SystemMessage,
    TwoFactorData,
    TxLimits,
    TxList,
    TxRow,
    UtxoRow,
    default_appearance,
)

# Given on from procedure and rows; what is defined here is public as well.
__all__ = [
    "ADDRESS_TYPE", "OWN_PREFIX", "PREFIX", "AddressRow", "AnyMap", "Base64", "BlobReply", "Endpoint", "FundReply",
    "Hex", "Hex32", "Hex33", "Hex64", "Hmac64", "IssuedAddress", "LoginData", "LoginReply", "MaybeHex32", "Memos",
    "Pointer", "Procedure", "Satoshi", "ShortText", "SpendReply", "SubaccountRow", "SystemMessage", "TwoFactorData",
    "TxLimits", "TxList", "TxRow", "UtxoRow", "default_appearance",
]  # fmt: skip

WAMP_PATHS = ("/v2/ws", "/v2/ws/")
COSIGN_PATH = "/delayed_signature"
NETWORK_PATH = "/v1/network"
BITCOIN_PRICE_PATH = "/v0/venues/{exchange}/pairs/XBT/{currency}"
LIQUID_PRICE_PATH = "/v1/liquid/{currency}"
"""Where GDK asks for prices, below the network's ``price_url``."""
COSIGNED_PATH = "/v1/cosigned"
"""``GET <path>/<txid>`` answers a :class:`CosignReply` with a transaction cosigned earlier."""

USER_AGENT = "[v2,sw,csv,csv_opt] amp0"
"""What our client calls itself; the bracketed part is GDK's list of capabilities."""

ACCOUNT_TYPE = "2of2_no_recovery"
"""The type of an AMP0 account."""
ADDRESS_BATCH = 20
"""How many confidential addresses a client uploads when it creates an account."""
LWK_MESSAGE_LIMIT = 10_000
"""LWK cuts off any message beyond this many bytes."""

ZERO_HMAC = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
"""HMAC of a client blob that was never written: 32 zero bytes in base64."""

# ---------------------------------------------------------------------------- procedures


class Register(Procedure, frozen=True, array_like=True):
    """Make a wallet known. Idempotent; ``gait_path`` is chosen by the client, for ever."""

    URI: ClassVar[str] = PREFIX + "login.register"
    RESULT: ClassVar[Any] = Any
    master_pubkey: Hex33
    master_chain_code: Hex32
    user_agent: ShortText
    gait_path: Hex64


class GetChallenge(Procedure, frozen=True, array_like=True):
    """Ask for a login challenge: five letters or digits. Answered for unknown wallets too."""

    URI: ClassVar[str] = PREFIX + "login.get_trezor_challenge"
    RESULT: ClassVar[Any] = str
    address: ShortText
    nlocktime_supported: bool = True


class Authenticate(Procedure, frozen=True, array_like=True):
    """Answer the challenge with a DER signature in hex. ``false`` means no, and is not an error."""

    URI: ClassVar[str] = PREFIX + "login.authenticate"
    RESULT: ClassVar[Any] = LoginReply | bool
    signature: Annotated[str, Meta(max_length=256)]
    minimal: bool = True
    path_hint: str | None = "GA"
    device_id: str | None = ""
    user_agent: str | None = USER_AGENT


class WatchOnlyCredentials(Struct, frozen=True):
    """The derived pair: 32 bytes each in hex from current clients. ``minimal`` is the text ``true``."""

    username: ShortText
    password: ShortText
    minimal: str = "true"

    def __repr__(self) -> str:
        return "WatchOnlyCredentials(…)"


class WatchOnlyLogin(Procedure, frozen=True, array_like=True):
    """Log in with watch-only credentials."""

    URI: ClassVar[str] = PREFIX + "login.watch_only_v2"
    RESULT: ClassVar[Any] = LoginReply
    kind: ShortText
    credentials: WatchOnlyCredentials
    user_agent: str | None = USER_AGENT
    with_blob: bool = False


class GetClientBlob(Procedure, frozen=True, array_like=True):
    """Fetch the client blob."""

    URI: ClassVar[str] = PREFIX + "login.get_client_blob"
    RESULT: ClassVar[Any] = BlobReply
    sequence: int = 0


class SetClientBlob(Procedure, frozen=True, array_like=True):
    """Replace the blob whose HMAC is ``previous_hmac``. ``true``, or the current blob after a lost race."""

    URI: ClassVar[str] = PREFIX + "login.set_client_blob"
    RESULT: ClassVar[Any] = Any
    blob: Base64
    sequence: int
    hmac: Hmac64
    previous_hmac: Hmac64


class GetMemos(Procedure, frozen=True, array_like=True):
    """Memos from before the client blob."""

    URI: ClassVar[str] = PREFIX + "txs.get_memos"
    RESULT: ClassVar[Any] = Memos


class CreateSubaccount(Procedure, frozen=True, array_like=True):
    """Create an account; answered with its GAID (AMP ID)."""

    URI: ClassVar[str] = PREFIX + "txs.create_subaccount_v2"
    RESULT: ClassVar[Any] = str
    pointer: Pointer
    name: ShortText
    type: ShortText
    xpubs: Annotated[list[ShortText], Meta(max_length=2)]
    sigs: Annotated[list[ShortText], Meta(max_length=2)]


class SyncCustom(Procedure, frozen=True, array_like=True):
    """Set the watch-only login of the wallet; three empty texts delete it."""

    URI: ClassVar[str] = PREFIX + "addressbook.sync_custom"
    RESULT: ClassVar[Any] = Any
    username: ShortText
    password: ShortText
    wo_blob_key: ShortText = ""

    def __repr__(self) -> str:
        return "SyncCustom(…)"


class Fund(Procedure, frozen=True, array_like=True):
    """Take the next address of an account. Its pointer is never handed out again."""

    URI: ClassVar[str] = PREFIX + "vault.fund"
    RESULT: ClassVar[Any] = FundReply
    subaccount: Pointer
    return_pointer: bool = True
    addr_type: ShortText = ADDRESS_TYPE


class UploadAddresses(Procedure, frozen=True, array_like=True):
    """Give the server the confidential forms of addresses it has issued."""

    URI: ClassVar[str] = PREFIX + "txs.upload_authorized_assets_confidential_address"
    RESULT: ClassVar[Any] = Any
    subaccount: Pointer
    addresses: Annotated[list[ShortText], Meta(max_length=1000)]


class GetMyAddresses(Procedure, frozen=True, array_like=True):
    """A page of issued addresses, newest first: those with a pointer below ``last_pointer``, 0 for all."""

    URI: ClassVar[str] = PREFIX + "addressbook.get_my_addresses"
    RESULT: ClassVar[Any] = list[IssuedAddress]
    subaccount: Pointer
    last_pointer: Pointer | None = 0


class GetUnspentOutputs(Procedure, frozen=True, array_like=True):
    """Unspent outputs of an account with at least ``num_confs`` (0 or 1) confirmations."""

    URI: ClassVar[str] = PREFIX + "txs.get_all_unspent_outputs"
    RESULT: ClassVar[Any] = list[UtxoRow]
    num_confs: Annotated[int, Meta(ge=0, le=2**31)]
    subaccount: Pointer
    asset: str | None = "any"
    all_coins: bool | None = False


class GetTransactions(Procedure, frozen=True, array_like=True):
    """Transactions of an account created after ``since`` (microseconds), oldest first."""

    URI: ClassVar[str] = PREFIX + "txs.get_list_v3"
    RESULT: ClassVar[Any] = TxList
    subaccount: Pointer
    since: Annotated[int, Meta(ge=0)] = 0


class GetRawTransaction(Procedure, frozen=True, array_like=True):
    """A whole transaction in hex, or empty text. (The wire's name speaks of outputs.)"""

    URI: ClassVar[str] = PREFIX + "txs.get_raw_output"
    RESULT: ClassVar[Any] = str
    txid: Hex32


class SendTransaction(Procedure, frozen=True, array_like=True):
    """Cosign a user-signed transaction and broadcast it. ``private`` holds ``blinding_nonces``."""

    URI: ClassVar[str] = PREFIX + "vault.send_raw_tx"
    RESULT: ClassVar[Any] = SpendReply
    tx: Hex
    twofactor: TwoFactorData = None
    private: AnyMap | None = None


class SignTransaction(Procedure, frozen=True, array_like=True):
    """Cosign a user-signed transaction."""

    URI: ClassVar[str] = PREFIX + "vault.sign_raw_tx"
    RESULT: ClassVar[Any] = SpendReply
    tx: Hex
    twofactor: TwoFactorData = None
    private: AnyMap | None = None


class BroadcastTransaction(Procedure, frozen=True, array_like=True):
    """Broadcast a fully signed transaction; answered with its txid."""

    URI: ClassVar[str] = PREFIX + "vault.broadcast_raw_tx"
    RESULT: ClassVar[Any] = str
    tx: Hex


class GetFeeEstimates(Procedure, frozen=True, array_like=True):
    """Fee estimates as in the login data, and the bare number ``min``."""

    URI: ClassVar[str] = PREFIX + "login.get_fee_estimates"
    RESULT: ClassVar[Any] = AnyMap
    flag: bool = True


class GetSyncStatus(Procedure, frozen=True, array_like=True):
    """The plain name of an old-style watch-only login: always empty."""

    URI: ClassVar[str] = PREFIX + "addressbook.get_sync_status"
    RESULT: ClassVar[Any] = AnyMap


class SetAppearance(Procedure, frozen=True, array_like=True):
    """Store the appearance map as it is."""

    URI: ClassVar[str] = PREFIX + "login.set_appearance"
    RESULT: ClassVar[Any] = Any
    appearance: AnyMap


class GetAvailableCurrencies(Procedure, frozen=True, array_like=True):
    """Currencies and exchanges, passed through by clients."""

    URI: ClassVar[str] = PREFIX + "login.available_currencies"
    RESULT: ClassVar[Any] = AnyMap


class SetCsvTime(Procedure, frozen=True, array_like=True):
    """Choose the delay of new addresses of account 0, in blocks: one of the network's buckets."""

    URI: ClassVar[str] = PREFIX + "login.set_csvtime"
    RESULT: ClassVar[Any] = Any
    blocks: Annotated[int, Meta(ge=1, lt=65536)]
    twofactor: TwoFactorData = None


class SetNLockTime(Procedure, frozen=True, array_like=True):
    """Choose the lock time of recovery transactions, in blocks. A setting only: Liquid has no such transactions."""

    URI: ClassVar[str] = PREFIX + "login.set_nlocktime"
    RESULT: ClassVar[Any] = Any
    blocks: Annotated[int, Meta(ge=144, le=200_000)]
    twofactor: TwoFactorData = None


class SendNLockTimes(Procedure, frozen=True, array_like=True):
    """Send the recovery transactions by e-mail."""

    URI: ClassVar[str] = PREFIX + "txs.send_nlocktime"
    RESULT: ClassVar[Any] = Any


class GetUpcomingNLockTimes(Procedure, frozen=True, array_like=True):
    """Outputs whose recovery transaction becomes valid soon."""

    URI: ClassVar[str] = PREFIX + "txs.upcoming_nlocktime"
    RESULT: ClassVar[Any] = AnyMap


class GetSystemMessage(Procedure, frozen=True, array_like=True):
    """A message of the service to its users, by its number."""

    URI: ClassVar[str] = PREFIX + "login.get_system_message"
    RESULT: ClassVar[Any] = SystemMessage
    message_id: Pointer


class AckSystemMessage(Procedure, frozen=True, array_like=True):
    """Acknowledge a message with a signature of its hash."""

    URI: ClassVar[str] = PREFIX + "login.ack_system_message"
    RESULT: ClassVar[Any] = Any
    message_id: Pointer
    message_hash: Hex32
    signature: Annotated[str, Meta(max_length=256)]


class RemoveAccount(Procedure, frozen=True, array_like=True):
    """Remove the wallet, which must be empty."""

    URI: ClassVar[str] = PREFIX + "login.remove_account"
    RESULT: ClassVar[Any] = Any
    twofactor: TwoFactorData = None


class SetPinLogin(Procedure, frozen=True, array_like=True):
    """Give a device a PIN. Answered with ``<identifier>;<password>``: the password encrypts what the device keeps."""

    URI: ClassVar[str] = PREFIX + "pin.set_pin_login"
    RESULT: ClassVar[Any] = str
    pin: ShortText
    device_id: ShortText
    return_password: bool = True

    def __repr__(self) -> str:
        return "SetPinLogin(…)"


class GetPinPassword(Procedure, frozen=True, array_like=True):
    """Fetch the password of a PIN login, before any other login."""

    URI: ClassVar[str] = PREFIX + "pin.get_password"
    RESULT: ClassVar[Any] = str
    pin: ShortText
    identifier: ShortText

    def __repr__(self) -> str:
        return "GetPinPassword(…)"


class RemovePinLogins(Procedure, frozen=True, array_like=True):
    """Remove every PIN login of the wallet: their passwords are gone for ever."""

    URI: ClassVar[str] = PREFIX + "pin.remove_all_pin_logins"
    RESULT: ClassVar[Any] = Any


_GREEN: tuple[type[Procedure], ...] = (
    Register, GetChallenge, Authenticate, WatchOnlyLogin, GetClientBlob, SetClientBlob, GetMemos,
    CreateSubaccount, SyncCustom, Fund, UploadAddresses, GetMyAddresses, GetUnspentOutputs,
    GetTransactions, GetRawTransaction, SendTransaction, SignTransaction, BroadcastTransaction,
    GetFeeEstimates, GetSyncStatus, SetAppearance, GetAvailableCurrencies,
    SetCsvTime, SetNLockTime, SendNLockTimes, GetUpcomingNLockTimes, GetSystemMessage, AckSystemMessage,
    RemoveAccount, SetPinLogin, GetPinPassword, RemovePinLogins,
)  # fmt: skip
PROCEDURES: dict[str, type[Procedure]] = {
    kind.URI: kind for kind in (*_GREEN, *twofactor.PROCEDURES, *preflight.PROCEDURES)
}
"""Every procedure served, by URI."""

_P = TypeVar("_P", bound=Struct)


def parse_call(uri: str, args: Sequence[Any]) -> Procedure | None:
    """The typed call, or ``None`` for a procedure that does not exist here.

    Raises :class:`RemoteProtocolError` when the arguments are out of shape; surplus ones are ignored.
    """
    procedure = PROCEDURES.get(uri)
    if procedure is None:
        return None
    try:
        return msgspec.convert(list(args), procedure)
    except (msgspec.ValidationError, RecursionError) as error:
        raise RemoteProtocolError(f"arguments of {uri.removeprefix(PREFIX)}: {_safe(error)}") from None


def parse_result(call: Procedure, args: Sequence[Any]) -> Any:
    """The one positional result of ``call``, as its ``RESULT`` type.

    Raises :class:`RemoteProtocolError` when there is none or it is out of shape.
    """
    name = call.URI.removeprefix(PREFIX)
    if not args:
        raise RemoteProtocolError(f"the server answers {name} without a value")
    try:
        return msgspec.convert(args[0], call.RESULT)
    except (msgspec.ValidationError, RecursionError) as error:
        raise RemoteProtocolError(f"the server's answer to {name}: {_safe(error)}") from None


def to_wire(value: Any) -> Any:
    """Plain lists, maps and texts of a result, reply or event, unset fields left out."""
    return msgspec.to_builtins(value)


def _safe(error: Exception) -> str:
    """msgspec tells types and places; it quotes values only for enums, which are not used here."""
    return str(error)[:200]


# ---------------------------------------------------------------------------- topics and events

TOPIC_BLOCKS = PREFIX + "blocks"


def topic_txs(receiving_id: str) -> str:
    """Topic of a wallet's transactions; ``receiving_id`` is that of its account 0."""
    return f"{PREFIX}txs.wallet_{receiving_id}"


def topic_blob(receiving_id: str) -> str:
    """Topic of a wallet's client blob."""
    return f"{PREFIX}cbs.wallet_{receiving_id}"


class TxEvent(Struct, frozen=True):
    """A transaction touches the wallet. GDK drops the event if it carries any other key."""

    txhash: Hex32
    subaccounts: list[int]


class BlobEvent(Struct, frozen=True):
    """The client blob changed. Publish it after the writer's own result."""

    hmac: Hmac64
    sequence: int = 0


class BlockEvent(Struct, frozen=True):
    """A new tip. ``previous_hash`` other than the last known hash means a reorganisation to GDK."""

    count: int
    block_hash: Hex32
    previous_hash: Hex32
    diverged_count: int = 0


# ---------------------------------------------------------------------------- errors

ERROR_URI = PREFIX + "error"
ERROR_NAME_PREFIX = "http://greenaddressit.com/error#"

SESSION_EXPIRED = ("sessionexpired", "Session expired")
USER_NOT_FOUND = ("usernotfound", "User not found or invalid password")
"""Names and texts that GDK compares letter by letter."""
WRONG_PIN = "password"
"""Name that tells GDK that the PIN was wrong."""
BROADCAST_REFUSED = "broadcast"
"""Name of the refusal in which the text is the node's."""


def error_args(name: str, text: str) -> list[Any]:
    """Positional arguments of an ERROR in the only layout whose text GDK shows to people."""
    return [ERROR_NAME_PREFIX + name, text, {}]


def parse_error(uri: str, args: Sequence[Any]) -> tuple[str, str]:
    """Name and text of an ERROR; of any layout, since a router may answer in the server's place."""
    if len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
        return args[0].removeprefix(ERROR_NAME_PREFIX)[:64], args[1][:2000]
    if args and isinstance(args[0], str):
        return uri, args[0][:2000]
    return uri, uri


# ---------------------------------------------------------------------------- cosigning over HTTP


class CosignRequest(Struct, frozen=True):
    """Body of ``POST /delayed_signature``: a user-signed transaction, the nonce of each output (``""`` for
    unblinded ones) and the witness script of each input (``""`` for inputs that have none)."""

    tx: Hex
    blinding_nonces: Annotated[list[MaybeHex32], Meta(max_length=4096)]
    scripts: Annotated[list[Hex], Meta(max_length=4096)]


class CosignReply(Struct, frozen=True, kw_only=True):
    """Answer to it. LWK wants ``result`` and ``error`` always; ``tx`` is null in a refusal.

    Ours adds ``code`` (permanent reason code), ``retryable``, ``txid`` (in a success the transaction's own id, in a
    refusal because of an earlier transaction the id of that one), and ``reasons`` where the rules of an asset refuse.
    """

    result: bool
    error: str
    tx: Hex | None = None
    code: str | None = None
    retryable: bool | None = None
    txid: Hex32 | None = None
    reasons: list[Reason] | None = None


def parse_cosign_request(body: bytes) -> CosignRequest:
    """The request in an HTTP body. Raises :class:`RemoteProtocolError`."""
    return _parse_json(body, CosignRequest, "the request")


def parse_cosign_reply(body: bytes) -> CosignReply:
    """The reply in an HTTP body. Raises :class:`RemoteProtocolError`."""
    return _parse_json(body, CosignReply, "the cosigner's answer")


def _parse_json(body: bytes, kind: type[_P], what: str) -> _P:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"{what} is not the JSON expected: {_safe(error)}") from None


def encode_json(value: Struct | Mapping[str, Any]) -> bytes:
    """JSON bytes of a request, reply or map, unset fields left out."""
    return msgspec.json.encode(value)
