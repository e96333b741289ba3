"""Two-factor on the wire: asking for codes, enabling and disabling methods, reset, limits, frozen outputs.

The shapes are those of the Green backend, but for three procedures of our own: one lists frozen outputs, and two
resolve a disputed reset by a signature of the wallet's login key.

A call that a second factor must authorise carries *two-factor data*: a map with ``method`` and ``code`` (nothing, where
no method is enabled). A code is asked for with the action it shall authorise and the action's data, see
:data:`ACTIONS`; it authorises nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from amp0.elements import wally
from amp0.elements.keys import ExtendedKey, signed_message_hash
from amp0.errors import InvalidInput, InvalidKey
from amp0.protocol.credentials import LOGIN_PATH
from amp0.protocol.procedure import OWN_PREFIX, PREFIX, Procedure
from amp0.protocol.rows import AnyMap, Hex32, ShortText, TwoFactorData

EMAIL, SMS, PHONE, TELEGRAM, GAUTH = "email", "sms", "phone", "telegram", "gauth"
SENT_METHODS = (EMAIL, SMS, PHONE, TELEGRAM)
"""Methods whose codes the server sends."""
METHODS = (*SENT_METHODS, GAUTH)
PROXY = "proxy"
"""Method of the token that stands in for a factor between ``request_proxy`` and ``enable_gauth``."""

INVALID_CODE = ("auth", "Invalid Two Factor Authentication Code")
"""Name and text of the refusal of a wrong code; GDK compares the text letter by letter."""
MASKED = "***"

SEND_RAW_TX, SIGN_RAW_TX = "send_raw_tx", "sign_raw_tx"
SPEND_ACTIONS = (SEND_RAW_TX, SIGN_RAW_TX)
ENABLE, DISABLE, SET_EMAIL = "enable_2fa", "disable_2fa", "set_email"
CHANGE_LIMITS, SET_NLOCKTIME, SET_CSVTIME = "change_tx_limits", "set_nlocktime", "set_csvtime"
SET_UTXO_STATUS, REMOVE_ACCOUNT, CANCEL_RESET = "set_utxo_status", "remove_account", "cancel_reset"

ACTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    SEND_RAW_TX: ((), ("txid",)),
    SIGN_RAW_TX: ((), ("txid",)),
    ENABLE: (("method",), ("address",)),
    DISABLE: (("method",), ()),
    SET_EMAIL: (("address",), ()),
    CHANGE_LIMITS: (("is_fiat", "per_tx", "total"), ()),
    SET_NLOCKTIME: (("value",), ()),
    SET_CSVTIME: (("value",), ()),
    SET_UTXO_STATUS: (("list",), ()),
    REMOVE_ACCOUNT: ((), ()),
    CANCEL_RESET: ((), ()),
}
"""Action → (keys its data has, keys it may have as well). A code holds for what its data names and nothing else;
stock clients send the first kind only, ours names the second too."""


class TwoFactorConfig(Struct, frozen=True, kw_only=True):
    """Second factors of a wallet. A method whose keys are missing is not offered by the server.

    While ``gauth`` is off, ``gauth_url`` carries a secret, the same until it is used; otherwise, and for watch-only
    sessions, :data:`MASKED`. Watch-only sessions see addresses masked.
    """

    gauth_url: str = MASKED
    gauth: bool = False
    email: bool | UnsetType = UNSET
    email_addr: str | UnsetType = UNSET
    email_confirmed: bool | UnsetType = UNSET
    sms: bool | UnsetType = UNSET
    sms_number: str | UnsetType = UNSET
    phone: bool | UnsetType = UNSET
    phone_number: str | UnsetType = UNSET
    telegram: bool | UnsetType = UNSET
    telegram_username: str | UnsetType = UNSET

    def offered(self) -> list[str]:
        """The methods the server offers, enabled or not."""
        return [method for method in METHODS if getattr(self, method) is not UNSET]

    def enabled(self) -> list[str]:
        """The methods that are enabled."""
        return [method for method in METHODS if getattr(self, method) is True]


class ResetReply(Struct, frozen=True):
    """State of a reset. GDK refuses a reply with one key more or less. Days are -1 when none is active."""

    reset_2fa_active: bool = False
    reset_2fa_days_remaining: int = -1
    reset_2fa_disputed: bool = False


# ---------------------------------------------------------------------------- configuration and codes


class GetTwoFactorConfig(Procedure, frozen=True, array_like=True):
    """Second factors of the wallet."""

    URI: ClassVar[str] = PREFIX + "twofactor.get_config"
    RESULT: ClassVar[Any] = TwoFactorConfig


class RequestCode(Procedure, frozen=True, array_like=True):
    """Have a code sent for one action and its data, see :data:`ACTIONS`."""

    METHOD: ClassVar[str] = ""
    action: ShortText
    data: AnyMap | None = None


class RequestEmail(RequestCode, frozen=True, array_like=True):
    """Have a code sent by e-mail."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_email"
    METHOD: ClassVar[str] = "email"


class RequestSms(RequestCode, frozen=True, array_like=True):
    """Have a code sent by SMS."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_sms"
    METHOD: ClassVar[str] = "sms"


class RequestPhone(RequestCode, frozen=True, array_like=True):
    """Have a code sent by a telephone call."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_phone"
    METHOD: ClassVar[str] = "phone"


class RequestTelegram(RequestCode, frozen=True, array_like=True):
    """Have a code sent by Telegram."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_telegram"
    METHOD: ClassVar[str] = "telegram"


# ---------------------------------------------------------------------------- enabling and disabling


class InitEnable(Procedure, frozen=True, array_like=True):
    """Begin to enable a method: a code goes to ``address``, which is new; ``twofactor`` is of an enabled method."""

    METHOD: ClassVar[str] = ""
    address: ShortText
    twofactor: TwoFactorData = None


class InitEnableEmail(InitEnable, frozen=True, array_like=True):
    """Begin to enable codes by e-mail."""

    URI: ClassVar[str] = PREFIX + "twofactor.init_enable_email"
    METHOD: ClassVar[str] = "email"


class InitEnableSms(InitEnable, frozen=True, array_like=True):
    """Begin to enable codes by SMS."""

    URI: ClassVar[str] = PREFIX + "twofactor.init_enable_sms"
    METHOD: ClassVar[str] = "sms"


class InitEnablePhone(InitEnable, frozen=True, array_like=True):
    """Begin to enable codes by a telephone call."""

    URI: ClassVar[str] = PREFIX + "twofactor.init_enable_phone"
    METHOD: ClassVar[str] = "phone"


class InitEnableTelegram(InitEnable, frozen=True, array_like=True):
    """Begin to enable codes by Telegram."""

    URI: ClassVar[str] = PREFIX + "twofactor.init_enable_telegram"
    METHOD: ClassVar[str] = "telegram"


class Enable(Procedure, frozen=True, array_like=True):
    """Enable a method with the code that came to its new address."""

    RESULT: ClassVar[Any] = TwoFactorConfig
    METHOD: ClassVar[str] = ""
    code: ShortText

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class EnableEmail(Enable, frozen=True, array_like=True):
    """Enable codes by e-mail."""

    URI: ClassVar[str] = PREFIX + "twofactor.enable_email"
    METHOD: ClassVar[str] = "email"


class EnableSms(Enable, frozen=True, array_like=True):
    """Enable codes by SMS."""

    URI: ClassVar[str] = PREFIX + "twofactor.enable_sms"
    METHOD: ClassVar[str] = "sms"


class EnablePhone(Enable, frozen=True, array_like=True):
    """Enable codes by a telephone call."""

    URI: ClassVar[str] = PREFIX + "twofactor.enable_phone"
    METHOD: ClassVar[str] = "phone"


class EnableTelegram(Enable, frozen=True, array_like=True):
    """Enable codes by Telegram."""

    URI: ClassVar[str] = PREFIX + "twofactor.enable_telegram"
    METHOD: ClassVar[str] = "telegram"


class RequestProxy(Procedure, frozen=True, array_like=True):
    """Ask for the token that ``enable_gauth`` wants; ``twofactor`` is of an enabled method."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_proxy"
    RESULT: ClassVar[Any] = str
    method: ShortText
    twofactor: TwoFactorData = None


class EnableGauth(Procedure, frozen=True, array_like=True):
    """Enable an authenticator with a code it shows; ``twofactor`` is ``{"method": "proxy", "code": token}``."""

    URI: ClassVar[str] = PREFIX + "twofactor.enable_gauth"
    RESULT: ClassVar[Any] = TwoFactorConfig
    code: ShortText
    twofactor: TwoFactorData = None

    def __repr__(self) -> str:
        return "EnableGauth(…)"


class Disable(Procedure, frozen=True, array_like=True):
    """Disable a method."""

    METHOD: ClassVar[str] = ""
    twofactor: TwoFactorData = None


class DisableEmail(Disable, frozen=True, array_like=True):
    """Disable codes by e-mail."""

    URI: ClassVar[str] = PREFIX + "twofactor.disable_email"
    METHOD: ClassVar[str] = "email"


class DisableSms(Disable, frozen=True, array_like=True):
    """Disable codes by SMS."""

    URI: ClassVar[str] = PREFIX + "twofactor.disable_sms"
    METHOD: ClassVar[str] = "sms"


class DisablePhone(Disable, frozen=True, array_like=True):
    """Disable codes by a telephone call."""

    URI: ClassVar[str] = PREFIX + "twofactor.disable_phone"
    METHOD: ClassVar[str] = "phone"


class DisableTelegram(Disable, frozen=True, array_like=True):
    """Disable codes by Telegram."""

    URI: ClassVar[str] = PREFIX + "twofactor.disable_telegram"
    METHOD: ClassVar[str] = "telegram"


class DisableGauth(Disable, frozen=True, array_like=True):
    """Disable codes of an authenticator."""

    URI: ClassVar[str] = PREFIX + "twofactor.disable_gauth"
    METHOD: ClassVar[str] = "gauth"


class SetEmail(Procedure, frozen=True, array_like=True):
    """Set an e-mail address for notices, not as a factor: a code goes to it."""

    URI: ClassVar[str] = PREFIX + "twofactor.set_email"
    address: ShortText
    twofactor: TwoFactorData = None


class ActivateEmail(Procedure, frozen=True, array_like=True):
    """Confirm that address with the code that came to it."""

    URI: ClassVar[str] = PREFIX + "twofactor.activate_email"
    code: ShortText

    def __repr__(self) -> str:
        return "ActivateEmail(…)"


# ---------------------------------------------------------------------------- settings under a second factor


class ChangeSettings(Procedure, frozen=True, array_like=True):
    """Change a setting by its name; there is one, ``tx_limits``: ``{"is_fiat", "per_tx", "total"}``."""

    URI: ClassVar[str] = PREFIX + "login.change_settings"
    name: ShortText
    value: AnyMap
    twofactor: TwoFactorData = None


class SetUtxoStatus(Procedure, frozen=True, array_like=True):
    """Freeze (``user_status`` 1) or unfreeze (0) outputs: ``{"list": [{"txhash", "pt_idx", "user_status"}, …]}``."""

    URI: ClassVar[str] = PREFIX + "vault.set_utxo_status"
    outputs: AnyMap
    twofactor: TwoFactorData = None


class FrozenOutput(Struct, frozen=True):
    """An output of the wallet that is frozen."""

    txhash: Hex32
    pt_idx: Annotated[int, Meta(ge=0, lt=2**32)]


class GetFrozenOutputs(Procedure, frozen=True, array_like=True):
    """What the wallet has frozen; the same as ``user_status`` of its unspent outputs, without their proofs."""

    URI: ClassVar[str] = OWN_PREFIX + "vault.frozen_outputs"
    RESULT: ClassVar[Any] = list[FrozenOutput]


# ---------------------------------------------------------------------------- reset


class RequestReset(Procedure, frozen=True, array_like=True):
    """Have a code sent to ``email``, to begin a reset or to dispute one."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_reset"
    email: ShortText


class ConfirmReset(Procedure, frozen=True, array_like=True):
    """Begin a reset, or dispute the one that is active, with the code that came to ``email``."""

    URI: ClassVar[str] = PREFIX + "twofactor.confirm_reset"
    RESULT: ClassVar[Any] = ResetReply
    email: ShortText
    is_dispute: bool
    twofactor: TwoFactorData = None


class RequestUndoReset(Procedure, frozen=True, array_like=True):
    """Have a code sent to ``email``, to take back the reset or the dispute that it confirmed."""

    URI: ClassVar[str] = PREFIX + "twofactor.request_undo_reset"
    email: ShortText


class ConfirmUndoReset(Procedure, frozen=True, array_like=True):
    """Take it back with that code."""

    URI: ClassVar[str] = PREFIX + "twofactor.confirm_undo_reset"
    RESULT: ClassVar[Any] = ResetReply
    email: ShortText
    twofactor: TwoFactorData = None


class CancelReset(Procedure, frozen=True, array_like=True):
    """End reset and dispute at once: who still has a factor needs none."""

    URI: ClassVar[str] = PREFIX + "twofactor.cancel_reset"
    RESULT: ClassVar[Any] = ResetReply
    twofactor: TwoFactorData = None


# ---------------------------------------------------------------------------- resolving a dispute (our own)

RESET, KEEP = "reset", "keep"
OUTCOMES = (RESET, KEEP)
"""What a dispute may end in: the factors are removed, or they stay."""
_NONCE = re.compile(r"[0-9a-f]{64}")


class DisputeNonce(Struct, frozen=True):
    """What the server adds to the text to be signed: 32 bytes in hex, and seconds since 1970."""

    nonce: Hex32
    expires: Annotated[int, Meta(ge=0, lt=2**53)]


class RequestDisputeNonce(Procedure, frozen=True, array_like=True):
    """Ask for a nonce to resolve the dispute with one of :data:`OUTCOMES`."""

    URI: ClassVar[str] = OWN_PREFIX + "twofactor.dispute_nonce"
    RESULT: ClassVar[Any] = DisputeNonce
    outcome: ShortText


class ResolveDispute(Procedure, frozen=True, array_like=True):
    """Resolve the dispute: ``signature`` (DER, hex) of :func:`dispute_text` by the login key."""

    URI: ClassVar[str] = OWN_PREFIX + "twofactor.resolve_dispute"
    RESULT: ClassVar[Any] = ResetReply
    outcome: ShortText
    nonce: Hex32
    signature: Annotated[str, Meta(max_length=256)]


def dispute_text(outcome: str, master_pubkey: bytes, nonce: str, expires: int) -> str:
    """The text that the login key signs. ``master_pubkey`` (33 bytes) names the wallet.

    Its parts have fixed forms, so that a server can make nobody sign anything else. Raises :class:`InvalidInput`.
    """
    if outcome not in OUTCOMES:
        raise InvalidInput(f"a dispute ends in {' or '.join(OUTCOMES)}, not {outcome!r}")
    if not _NONCE.fullmatch(nonce) or len(master_pubkey) != 33 or not 0 <= expires < 2**53:
        raise InvalidInput("the server's nonce is not 64 hex digits with an expiry; nothing was signed")
    return (
        f"amp0 two-factor dispute\noutcome: {outcome}\nwallet: {master_pubkey.hex()}\n"
        f"nonce: {nonce}\nexpires: {expires}"
    )


def sign_dispute(master: ExtendedKey, text: str) -> str:
    """The login key's signature of :func:`dispute_text` from the private master key: DER in hex."""
    return master.derive(LOGIN_PATH).sign(signed_message_hash(text)).hex()


def verify_dispute(master_xpub: ExtendedKey, text: str, signature: bytes) -> bool:
    """Whether ``signature`` (strict DER, low S) is the login key's for ``text``."""
    try:
        login_key = master_xpub.public().derive(LOGIN_PATH).public_key
    except InvalidKey:
        return False
    return wally.ecdsa_verify(login_key, signed_message_hash(text), signature)


REQUEST: Mapping[str, type[RequestCode]] = {
    kind.METHOD: kind for kind in (RequestEmail, RequestSms, RequestPhone, RequestTelegram)
}
INIT_ENABLE: Mapping[str, type[InitEnable]] = {
    kind.METHOD: kind for kind in (InitEnableEmail, InitEnableSms, InitEnablePhone, InitEnableTelegram)
}
ENABLE_WITH: Mapping[str, type[Enable]] = {
    kind.METHOD: kind for kind in (EnableEmail, EnableSms, EnablePhone, EnableTelegram)
}
DISABLE_WITH: Mapping[str, type[Disable]] = {
    kind.METHOD: kind for kind in (DisableEmail, DisableSms, DisablePhone, DisableTelegram, DisableGauth)
}
"""Method → procedure."""

PROCEDURES: tuple[type[Procedure], ...] = (
    GetTwoFactorConfig, *REQUEST.values(), *INIT_ENABLE.values(), *ENABLE_WITH.values(), RequestProxy, EnableGauth,
    *DISABLE_WITH.values(), SetEmail, ActivateEmail, ChangeSettings, SetUtxoStatus, GetFrozenOutputs, RequestReset,
    ConfirmReset, RequestUndoReset, ConfirmUndoReset, CancelReset, RequestDisputeNonce, ResolveDispute,
)  # fmt: skip
