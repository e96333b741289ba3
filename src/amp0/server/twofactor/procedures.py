"""What clients call. Each runs in one writing transaction; a refusal keeps its aftermath, and messages go out after the
commit.

Watch-only sessions see the configuration, masked, and may have a code sent for a spend. Everything else is for full
sessions, and whatever loosens anything wants a code as soon as the wallet has a second factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from amp0.elements.hashes import Txid
from amp0.protocol import rpc
from amp0.protocol import twofactor as wire
from amp0.server import removal, wallets
from amp0.server.context import Context, Level
from amp0.server.refusal import InvalidRequest, NotAllowed, TwoFactorRequired
from amp0.server.twofactor import codes, frozen, limits, methods, notices, reset
from amp0.server.twofactor.delivery import Message
from amp0.server.twofactor.reset import Event

_RESET, _UNDO = "request_reset", "request_undo_reset"
"""Actions of the codes that go to the e-mail address of a reset."""
_CONTACT = "activate_email"
_ACTIVATE = "activate_2fa"
"""Action of the code that goes to a new address."""
_WORDS = {
    wire.SEND_RAW_TX: "send a transaction",
    wire.SIGN_RAW_TX: "sign a transaction",
    wire.ENABLE: "enable a second factor",
    wire.DISABLE: "disable a second factor",
    wire.SET_EMAIL: "set the e-mail address",
    wire.CHANGE_LIMITS: "change the spending limit",
    wire.SET_NLOCKTIME: "change the lock time",
    wire.SET_CSVTIME: "change the time until two-factor expires",
    wire.SET_UTXO_STATUS: "freeze or unfreeze outputs",
    wire.REMOVE_ACCOUNT: "remove the wallet",
    wire.CANCEL_RESET: "cancel the two-factor reset",
    _ACTIVATE: "use this address as a second factor",
    _CONTACT: "receive notices at this address",
    _RESET: "begin or dispute the reset of the second factors",
    _UNDO: "take back the reset of the second factors, or its dispute",
}


# --- configuration -------------------------------------------------------------------------------------------------


def get_config(context: Context, _call: wire.GetTwoFactorConfig) -> wire.TwoFactorConfig:
    """The wallet's second factors; masked for a watch-only session."""
    return _config(context)


def _config(context: Context) -> wire.TwoFactorConfig:
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    is_full = context.session.level is Level.FULL
    enabled, known = methods.enabled(db, user_id), methods.addresses(factors, db, user_id)

    def shown(method: str) -> tuple[Any, Any]:
        if method not in enabled and not factors.offers(method):
            return UNSET, UNSET
        address = known.get(method, "")
        return method in enabled, address if is_full or not address else methods.masked(method, address)

    email, email_addr = shown(wire.EMAIL)
    sms, sms_number = shown(wire.SMS)
    phone, phone_number = shown(wire.PHONE)
    telegram, telegram_username = shown(wire.TELEGRAM)
    url = wire.MASKED
    if is_full and wire.GAUTH not in enabled:
        url = codes.totp_url(factors, db, user_id, context.session.receiving_id)
    return wire.TwoFactorConfig(
        gauth_url=url,
        gauth=wire.GAUTH in enabled,
        email=email,
        email_addr=email_addr,
        email_confirmed=UNSET if email is UNSET else wire.EMAIL in known,
        sms=sms,
        sms_number=sms_number,
        phone=phone,
        phone_number=phone_number,
        telegram=telegram,
        telegram_username=telegram_username,
    )


# --- codes ---------------------------------------------------------------------------------------------------------


def request_code(context: Context, call: wire.RequestCode) -> bool:
    """Send a code to the wallet's address of the method."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    if context.session.level is not Level.FULL and call.action not in wire.SPEND_ACTIONS:
        raise NotAllowed("A watch-only session can have codes for spends only; log in with the wallet's signer")
    data = codes.checked_data(call.action, call.data)
    if call.action != wire.CANCEL_RESET:
        reset.refuse_while_active(db, user_id)
    if call.METHOD not in methods.enabled(db, user_id):
        raise TwoFactorRequired(f"This wallet has no second factor by {methods.NAMES[call.METHOD]}")
    address = methods.addresses(factors, db, user_id)[call.METHOD]
    _send(context, call.METHOD, address, call.action, data)
    return True


def _send(
    context: Context, method: str, address: str, action: str, data: Mapping[str, Any], *, is_new: bool = False
) -> None:
    """Make a code and have it sent after the commit. ``is_new`` keeps the address with it."""
    factors, db, session = context.services.factors, context.db, context.session
    if not factors.offers(method):
        raise InvalidRequest(f"This server does not send codes by {methods.NAMES[method]}")
    codes.refuse_if_locked(factors, db, session.user_id)
    bucket = f"codes:{session.level.name}:{session.user_id}"
    factors.requests.check(bucket, factors.settings.code_requests, "codes asked for")
    factors.requests.failed(bucket)
    code = codes.issue(factors, db, session.user_id, method, action, data, address=address if is_new else "")
    said = " ".join(code) if method == wire.PHONE else code
    txid = f" {data['txid']}" if "txid" in data else ""
    context.messages.append(
        Message(
            id=factors.random(16).hex(),
            method=method,
            address=address,
            subject="Your code",
            text=f"{said} is your code to {_WORDS[action]}{txid}. It is good once, for "
            f"{max(1, factors.settings.code_seconds // 60)} minutes. If you did not ask for it, tell it to nobody: "
            "somebody else has access to your wallet.",
            code=code,
        )
    )


def _authorise(
    context: Context, tfd: Mapping[str, Any] | None, action: str, facts: Mapping[str, Any], *, proxy: bool = False
) -> None:
    """Let an action of the session's wallet pass, with a code if it has second factors, and not during a reset."""
    reset.refuse_while_active(context.db, context.session.user_id)
    codes.require(context.services.factors, context.db, context.session.user_id, tfd, action, facts, proxy=proxy)


# --- enabling ------------------------------------------------------------------------------------------------------


def init_enable(context: Context, call: wire.InitEnable) -> bool:
    """Send a code to a new address, which ``enable`` will confirm."""
    factors, db, user_id, method = context.services.factors, context.db, context.session.user_id, call.METHOD
    address = methods.normal_address(method, call.address)
    if method in methods.enabled(db, user_id):
        raise InvalidRequest(f"{methods.NAMES[method].capitalize()} is enabled already; disable it first")
    if not factors.offers(method):
        raise InvalidRequest(f"This server does not send codes by {methods.NAMES[method]}")
    _require_steady_to_add(context)
    if not _is_sms_backup(context, call, address):
        facts = {"method": method, "address": call.address}
        _authorise(context, call.twofactor, wire.ENABLE, facts)
    reset.refuse_while_active(db, user_id)
    _send(context, method, address, _ACTIVATE, {"method": method}, is_new=True)
    return True


def _is_sms_backup(context: Context, call: wire.InitEnable, address: str) -> bool:
    """A telephone call to the number that has the SMS already opens nothing new."""
    if call.METHOD != wire.PHONE or not (call.twofactor or {}).get("is_sms_backup"):
        return False
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    enabled = methods.enabled(db, user_id)
    return wire.SMS in enabled and methods.addresses(factors, db, user_id)[wire.SMS] == address


def _require_steady_to_add(context: Context) -> None:
    """One more factor is one more way in, unless it is the first."""
    if methods.enabled(context.db, context.session.user_id):
        context.services.factors.clock.require_steady()


def enable(context: Context, call: wire.Enable) -> wire.TwoFactorConfig:
    """Enable a method with the code that came to its new address."""
    factors, db, user_id, method = context.services.factors, context.db, context.session.user_id, call.METHOD
    reset.refuse_while_active(db, user_id)
    _require_steady_to_add(context)
    address = codes.use_new(factors, db, user_id, method, _ACTIVATE, {"method": method}, call.code)
    _enabled(context, method, address)
    return _config(context)


def request_proxy(context: Context, call: wire.RequestProxy) -> str:
    """A token that stands in for an enabled factor while an authenticator is set up."""
    if call.method != wire.GAUTH:
        raise InvalidRequest("A proxy token is given for gauth only")
    if wire.GAUTH in methods.enabled(context.db, context.session.user_id):
        raise InvalidRequest("An authenticator is enabled already; disable it first")
    _require_steady_to_add(context)
    data = {"method": wire.GAUTH}
    _authorise(context, call.twofactor, wire.ENABLE, data)
    return codes.issue(context.services.factors, context.db, context.session.user_id, wire.PROXY, wire.ENABLE, data)


def enable_gauth(context: Context, call: wire.EnableGauth) -> wire.TwoFactorConfig:
    """Enable the authenticator whose secret was in ``gauth_url``."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    if wire.GAUTH in methods.enabled(db, user_id):
        raise InvalidRequest("An authenticator is enabled already; disable it first")
    _require_steady_to_add(context)
    _authorise(context, call.twofactor, wire.ENABLE, {"method": wire.GAUTH}, proxy=True)
    codes.use_offered_totp(factors, db, user_id, call.code)
    _enabled(context, wire.GAUTH, "")
    return _config(context)


def _enabled(context: Context, method: str, address: str) -> None:
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    if not methods.enabled(db, user_id):
        # Whoever had only the mnemonic may have set it; with the first factor it begins to mean something.
        limits.store(db, user_id, 0)
    name = methods.NAMES[method]
    notices.tell(
        factors, db, user_id, "Second factor enabled", f"Codes by {name} are now a second factor of your wallet."
    )
    methods.put(factors, db, user_id, method, address)


def disable(context: Context, call: wire.Disable) -> bool:
    """Disable a method, with a code of any that is enabled."""
    factors, db, user_id, method = context.services.factors, context.db, context.session.user_id, call.METHOD
    if method not in methods.enabled(db, user_id):
        raise InvalidRequest(f"{methods.NAMES[method].capitalize()} is no second factor of this wallet")
    factors.clock.require_steady()
    _authorise(context, call.twofactor, wire.DISABLE, {"method": method})
    name = methods.NAMES[method]
    notices.tell(
        factors, db, user_id, "Second factor disabled", f"Codes by {name} are no second factor of your wallet any more."
    )
    methods.disable(db, user_id, method)
    if method == wire.GAUTH:
        codes.renew_totp(factors, db, user_id)
    return True


# --- an e-mail address for notices ---------------------------------------------------------------------------------


def set_email(context: Context, call: wire.SetEmail) -> bool:
    """Send a code to an e-mail address that shall receive notices."""
    if wire.EMAIL in methods.enabled(context.db, context.session.user_id):
        raise InvalidRequest("The e-mail address is a second factor; disable it to set another")
    address = methods.normal_address(wire.EMAIL, call.address)
    _authorise(context, call.twofactor, wire.SET_EMAIL, {"address": call.address})
    _send(context, wire.EMAIL, address, _CONTACT, {}, is_new=True)
    return True


def activate_email(context: Context, call: wire.ActivateEmail) -> bool:
    """Keep the address, with the code that came to it."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    reset.refuse_while_active(db, user_id)
    if wire.EMAIL in methods.enabled(db, user_id):
        raise InvalidRequest("The e-mail address is a second factor; disable it to set another")
    address = codes.use_new(factors, db, user_id, wire.EMAIL, _CONTACT, {}, call.code)
    notices.tell(
        factors, db, user_id, "E-mail address changed", "Notices about your wallet go to another e-mail address."
    )
    methods.put(factors, db, user_id, wire.EMAIL, address, enable=False)
    return True


# --- settings under a second factor --------------------------------------------------------------------------------


def change_settings(context: Context, call: wire.ChangeSettings) -> bool:
    """Set the spending limit. Raising it wants a code; lowering it does not."""
    if call.name != "tx_limits":
        raise InvalidRequest(f"There is no setting {call.name[:32]!r}; tx_limits is one")
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    value = limits.asked_for(call.value)
    total = value["total"]
    assert isinstance(total, int)
    if total > limits.load(db, user_id).left:
        factors.clock.require_steady()
        _authorise(context, call.twofactor, wire.CHANGE_LIMITS, value)
    reset.refuse_while_active(db, user_id)
    limits.store(db, user_id, total)
    return True


def set_utxo_status(context: Context, call: wire.SetUtxoStatus) -> bool:
    """Freeze outputs, with a code; unfreeze them, without one."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    wanted = frozen.parse(call.outputs)
    if any(wanted.values()):
        _authorise(context, call.twofactor, wire.SET_UTXO_STATUS, {"list": call.outputs["list"]})
    reset.refuse_while_active(db, user_id)
    frozen.set_status(db, user_id, wanted, factors.now())
    return True


def get_frozen_outputs(context: Context, _call: wire.GetFrozenOutputs) -> list[wire.FrozenOutput]:
    """What the wallet has frozen, sorted."""
    held = sorted(frozen.of_wallet(context.db, context.session.user_id))
    return [wire.FrozenOutput(str(Txid(txid)), vout) for txid, vout in held]


def set_csv_time(context: Context, call: rpc.SetCsvTime) -> bool:
    """The delay of new addresses of account 0."""
    _authorise(context, call.twofactor, wire.SET_CSVTIME, {"value": call.blocks})
    return wallets.set_csv_time(context, call)


def set_nlocktime(context: Context, call: rpc.SetNLockTime) -> bool:
    """The lock time of recovery transactions."""
    _authorise(context, call.twofactor, wire.SET_NLOCKTIME, {"value": call.blocks})
    return wallets.set_nlocktime(context, call)


def remove_account(context: Context, call: rpc.RemoveAccount) -> bool:
    """Remove the wallet, and its second factors with it."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    _authorise(context, call.twofactor, wire.REMOVE_ACCOUNT, {})
    answer = removal.remove_account(context, call)
    notices.tell(factors, db, user_id, "Wallet removed", "Your wallet was removed from the server.")
    methods.remove_all(db, user_id)
    codes.renew_totp(factors, db, user_id)
    codes.forget_outstanding(factors, db, user_id)
    limits.store(db, user_id, 0)
    frozen.forget(db, user_id)
    reset.forget(db, user_id)
    return answer


# --- reset ---------------------------------------------------------------------------------------------------------


def request_reset(context: Context, call: wire.RequestReset) -> bool:
    """Send a code to the e-mail address of somebody who wants a reset, or disputes one."""
    email = methods.normal_address(wire.EMAIL, call.email)
    _send(context, wire.EMAIL, email, _RESET, {"email": email}, is_new=True)
    return True


def confirm_reset(context: Context, call: wire.ConfirmReset) -> wire.ResetReply:
    """Begin a reset, or dispute it."""
    email = _confirmed_email(context, call.email, call.twofactor, _RESET)
    return _apply(context, Event.DISPUTE if call.is_dispute else Event.CONFIRM, email)


def request_undo_reset(context: Context, call: wire.RequestUndoReset) -> bool:
    """Send a code to the e-mail address of somebody who takes back his reset or his dispute."""
    email = methods.normal_address(wire.EMAIL, call.email)
    _send(context, wire.EMAIL, email, _UNDO, {"email": email}, is_new=True)
    return True


def confirm_undo_reset(context: Context, call: wire.ConfirmUndoReset) -> wire.ResetReply:
    """Take it back."""
    email = _confirmed_email(context, call.email, call.twofactor, _UNDO)
    return _apply(context, Event.UNDO, email)


def cancel_reset(context: Context, call: wire.CancelReset) -> wire.ResetReply:
    """End reset and dispute with a code of one of the wallet's second factors."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    if reset.is_active(db, user_id):
        codes.require(factors, db, user_id, call.twofactor, wire.CANCEL_RESET, {})
    return _apply(context, Event.CANCEL)


def dispute_nonce(context: Context, call: wire.RequestDisputeNonce) -> wire.DisputeNonce:
    """A nonce to sign, once the delay of the dispute is over."""
    return reset.new_nonce(context.services.factors, context.db, context.session.user_id, call.outcome)


def resolve_dispute(context: Context, call: wire.ResolveDispute) -> wire.ResetReply:
    """End a dispute as the wallet's login key says."""
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    expires = reset.check_nonce(factors, db, user_id, call.outcome, call.nonce.lower())
    wallet = wallets.load(db, user_id)
    text = wire.dispute_text(call.outcome, wallet.master_pubkey, call.nonce.lower(), expires)
    try:
        signature = bytes.fromhex(call.signature)
    except ValueError:
        signature = b""
    if not wire.verify_dispute(wallet.master_key(main=context.services.network.main), text, signature):
        raise InvalidRequest("The signature is not one of this text by the wallet's login key; nothing was changed")
    return _apply(context, Event.RESOLVE_RESET if call.outcome == wire.RESET else Event.RESOLVE_KEEP)


def _confirmed_email(context: Context, email: str, tfd: Mapping[str, Any] | None, action: str) -> str:
    address = methods.normal_address(wire.EMAIL, email)
    code = (tfd or {}).get("code")
    if (tfd or {}).get("method") != wire.EMAIL or not isinstance(code, str) or not code:
        raise TwoFactorRequired("This wants the code that came to the e-mail address")
    factors, db, user_id = context.services.factors, context.db, context.session.user_id
    codes.use_new(factors, db, user_id, wire.EMAIL, action, {"email": address}, code)
    return address


def _apply(context: Context, event: Event, email: str = "") -> wire.ResetReply:
    factors = context.services.factors
    after = reset.apply(factors, context.db, context.session.user_id, event, email)
    return after.to_wire(factors.now())
