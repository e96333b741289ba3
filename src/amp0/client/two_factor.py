"""Second factors, from the wallet's side: what there is, asking for codes, enabling, disabling, limits, resets.

A *code* agrees to one action and nothing else: to enable this method, to sign this transaction. The server sends it
when it is asked to (:meth:`TwoFactor.request_code`), or an authenticator (``gauth``) shows it. The call that carries
the action out then takes ``two_factor=(method, code)``.

While a wallet has no second factor, none of this needs a code.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import UNSET

from amp0.elements.hashes import Txid
from amp0.elements.transaction import MAX_SATOSHI, OutPoint
from amp0.errors import CallFailed, InvalidInput
from amp0.protocol import rpc
from amp0.protocol import twofactor as wire

EMAIL, SMS, PHONE, TELEGRAM, GAUTH = wire.EMAIL, wire.SMS, wire.PHONE, wire.TELEGRAM, wire.GAUTH
METHODS: Sequence[str] = wire.METHODS
"""All methods; the server sends the codes of all but ``gauth``."""
MOST_OUTPOINTS = 256
"""Outputs that are frozen or unfrozen in one call."""
_ADDRESS_KEYS = {EMAIL: "email_addr", SMS: "sms_number", PHONE: "phone_number", TELEGRAM: "telegram_username"}


class TwoFactorCode(NamedTuple):
    """A code and the method it came by; an ordinary pair ``(method, code)`` is as good."""

    method: str
    code: str

    def __repr__(self) -> str:
        return f"TwoFactorCode({self.method!r}, …)"


CodeLike = TwoFactorCode | tuple[str, str]


@dataclass(frozen=True, slots=True)
class TwoFactorMethod:
    """One method. ``address`` is where codes go, masked in a watch-only session; empty for ``gauth``.

    An e-mail address can be ``confirmed`` and not enabled: then it gets notices and no codes.
    """

    name: str
    enabled: bool
    confirmed: bool
    address: str


@dataclass(frozen=True, slots=True)
class TwoFactorConfig:
    """The methods that the server offers, enabled or not.

    ``otpauth_url`` is the secret for an authenticator, as QR codes carry it; empty when one is enabled already, and
    in watch-only sessions. It stays the same until it is used.
    """

    methods: tuple[TwoFactorMethod, ...]
    otpauth_url: str = field(default="", repr=False)

    def enabled(self) -> list[str]:
        """Names of the enabled methods; empty when the wallet has no second factor."""
        return [method.name for method in self.methods if method.enabled]

    def method(self, name: str) -> TwoFactorMethod:
        """One method. Raises :class:`InvalidInput` when the server does not offer it."""
        for method in self.methods:
            if method.name == name:
                return method
        offered = ", ".join(method.name for method in self.methods)
        raise InvalidInput(f"this AMP0 server does not offer {name!r} as a second factor; it offers {offered}")


@dataclass(frozen=True, slots=True)
class ResetStatus:
    """A two-factor reset. ``days_remaining`` is -1 when there is none.

    In a dispute the days are those until the wallet's signer can resolve it.
    """

    active: bool = False
    days_remaining: int = -1
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class DisputeChallenge:
    """What ``Signer.amp0_sign_dispute`` needs to resolve a dispute: 32 bytes in hex, and seconds since 1970."""

    outcome: str
    nonce: str
    expires: int


@dataclass(frozen=True, slots=True)
class TwoFactorAction:
    """What a code agrees to: the name of the action on the wire, and its data. Made by the class methods."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def sign(cls, txid: Txid | str) -> TwoFactorAction:
        """Have the AMP0 server sign one transaction."""
        return cls(wire.SIGN_RAW_TX, {"txid": str(Txid(txid))})

    @classmethod
    def enable(cls, method: str, address: str = "") -> TwoFactorAction:
        """Enable a method; ``address`` is its new address."""
        return cls(wire.ENABLE, {"method": method} | ({"address": address} if address else {}))

    @classmethod
    def disable(cls, method: str) -> TwoFactorAction:
        """Disable a method."""
        return cls(wire.DISABLE, {"method": method})

    @classmethod
    def set_email(cls, address: str) -> TwoFactorAction:
        """Set the e-mail address for notices."""
        return cls(wire.SET_EMAIL, {"address": address})

    @classmethod
    def set_limit(cls, satoshi: int) -> TwoFactorAction:
        """Set how much L-BTC may leave without a code."""
        if not 0 <= satoshi <= MAX_SATOSHI:
            raise InvalidInput(f"a limit is an amount of L-BTC in satoshi, not {satoshi}")
        return cls(wire.CHANGE_LIMITS, {"is_fiat": False, "per_tx": 0, "total": satoshi})

    @classmethod
    def freeze(cls, outpoints: Iterable[OutPoint | str]) -> TwoFactorAction:
        """Freeze outputs."""
        return cls._status(outpoints, 1)

    @classmethod
    def unfreeze(cls, outpoints: Iterable[OutPoint | str]) -> TwoFactorAction:
        """Unfreeze outputs."""
        return cls._status(outpoints, 0)

    @classmethod
    def cancel_reset(cls) -> TwoFactorAction:
        """End a reset at once."""
        return cls(wire.CANCEL_RESET)

    @classmethod
    def _status(cls, outpoints: Iterable[OutPoint | str], status: int) -> TwoFactorAction:
        chosen = list(dict.fromkeys(OutPoint(one) if isinstance(one, str) else one for one in outpoints))
        if not 1 <= len(chosen) <= MOST_OUTPOINTS:
            raise InvalidInput(f"name 1 to {MOST_OUTPOINTS} outputs at once, not {len(chosen)}")
        rows = [{"txhash": str(one.txid()), "pt_idx": one.vout(), "user_status": status} for one in chosen]
        return cls(wire.SET_UTXO_STATUS, {"list": rows})


class TwoFactor(abc.ABC):
    """The two-factor calls of a session that is logged in with the signer."""

    _limit: int
    _reset: ResetStatus

    @abc.abstractmethod
    async def _ask(self, procedure: rpc.Procedure) -> Any:
        """Make one call."""

    # -- what there is -----------------------------------------------------------------------

    async def two_factor_config(self) -> TwoFactorConfig:
        """The methods on offer, which of them are enabled, and the secret for an authenticator."""
        return config_of(await self._ask(wire.GetTwoFactorConfig()))

    def two_factor_reset(self) -> ResetStatus:
        """The wallet's reset, as of the login or of the last call about it."""
        return self._reset

    def limit(self) -> int:
        """How much L-BTC (satoshi) may still leave without a code, as of the login or of :meth:`set_limit`."""
        return self._limit

    # -- codes -------------------------------------------------------------------------------

    async def request_code(self, method: str, action: TwoFactorAction) -> None:
        """Have a code sent that agrees to one action.

        Raises :class:`TwoFactorRequired` for a method that is not enabled, :class:`InvalidInput` for ``gauth``, whose
        codes are shown by the authenticator, :class:`CallFailed` when too many were asked for.
        """
        await self._ask(code_request(method, action))

    # -- methods -----------------------------------------------------------------------------

    async def enable_two_factor(self, method: str, address: str, two_factor: CodeLike | None = None) -> None:
        """Begin to enable ``email``, ``sms``, ``phone`` or ``telegram``: a code goes to ``address``.

        Finish with :meth:`confirm_two_factor`. Telephone numbers begin with ``+`` and the country. When the wallet has
        a second factor already, it has to agree (:meth:`TwoFactorAction.enable`). For an authenticator see
        :meth:`enable_authenticator`.
        """
        kind = wire.INIT_ENABLE.get(method)
        if kind is None:
            raise InvalidInput(f"{method!r} is not enabled with an address; choose {', '.join(wire.INIT_ENABLE)}")
        await self._ask(kind(address, _data(two_factor)))

    async def confirm_two_factor(self, method: str, code: str) -> TwoFactorConfig:
        """Enable the method, with the code that came to its new address. Returns what there is now."""
        kind = wire.ENABLE_WITH.get(method)
        if kind is None:
            raise InvalidInput(f"{method!r} has no address to confirm; choose {', '.join(wire.ENABLE_WITH)}")
        return config_of(await self._ask(kind(code.strip())))

    async def enable_authenticator(self, code: str, two_factor: CodeLike | None = None) -> TwoFactorConfig:
        """Enable the authenticator that has read ``otpauth_url``, with the code it shows now.

        When the wallet has a second factor already, it has to agree (``TwoFactorAction.enable("gauth")``).
        """
        token = await self._ask(wire.RequestProxy(GAUTH, _data(two_factor)))
        proxy = _data(TwoFactorCode(wire.PROXY, token))
        return config_of(await self._ask(wire.EnableGauth(code.strip(), proxy)))

    async def disable_two_factor(self, method: str, two_factor: CodeLike | None = None) -> None:
        """Disable a method, with a code of any that is enabled (:meth:`TwoFactorAction.disable`)."""
        kind = wire.DISABLE_WITH.get(method)
        if kind is None:
            raise InvalidInput(f"{method!r} is no second factor; choose one of {', '.join(METHODS)}")
        await self._ask(kind(_data(two_factor)))

    async def set_email(self, address: str, two_factor: CodeLike | None = None) -> None:
        """Have notices go to an e-mail address that is not a second factor; a code goes there first.

        Finish with :meth:`confirm_email`.
        """
        await self._ask(wire.SetEmail(address, _data(two_factor, TwoFactorAction.set_email(address))))

    async def confirm_email(self, code: str) -> None:
        """Confirm that address with the code that came to it."""
        await self._ask(wire.ActivateEmail(code.strip()))

    # -- limits and frozen outputs -----------------------------------------------------------

    async def set_limit(self, satoshi: int, two_factor: CodeLike | None = None) -> None:
        """Set how much L-BTC, in all, may leave without a code from now on; 0 asks for one each time.

        It counts down until it is set again. Other assets always want a code. Raising it wants a code
        (:meth:`TwoFactorAction.set_limit`), lowering it does not.
        """
        action = TwoFactorAction.set_limit(satoshi)
        await self._ask(wire.ChangeSettings("tx_limits", dict(action.data), _data(two_factor, action)))
        self._limit = satoshi

    async def freeze(self, outpoints: Iterable[OutPoint | str], two_factor: CodeLike | None = None) -> None:
        """Have the server sign nothing that spends these outputs of the wallet (:meth:`TwoFactorAction.freeze`)."""
        await self._set_status(TwoFactorAction.freeze(outpoints), two_factor)

    async def unfreeze(self, outpoints: Iterable[OutPoint | str], two_factor: CodeLike | None = None) -> None:
        """Let these outputs be spent again. The spend itself still wants its code; this wants none."""
        await self._set_status(TwoFactorAction.unfreeze(outpoints), two_factor)

    async def frozen_outputs(self) -> list[OutPoint]:
        """Outputs of the wallet that are frozen; empty at a server that cannot list them."""
        return await list_frozen(self._ask)

    async def _set_status(self, action: TwoFactorAction, two_factor: CodeLike | None) -> None:
        await self._ask(wire.SetUtxoStatus(dict(action.data), _data(two_factor, action)))

    # -- lost factors ------------------------------------------------------------------------

    async def request_reset(self, email: str) -> None:
        """Have a code sent to ``email``, with which to begin a reset or to dispute one."""
        await self._ask(wire.RequestReset(email))

    async def confirm_reset(self, email: str, code: str) -> ResetStatus:
        """Begin to remove all second factors. It takes effect after the server's delay, unless somebody objects.

        Until then nothing can be spent or changed, and every channel of the wallet is told.
        """
        return await self._change_reset(wire.ConfirmReset(email, False, _email_code(code)))

    async def dispute_reset(self, email: str, code: str) -> ResetStatus:
        """Object to a reset that somebody else began: it does not take effect by itself any more.

        ``email`` is another address than the one it was begun with; its code comes from :meth:`request_reset`. Who
        still has a second factor uses :meth:`cancel_reset`, which is faster.
        """
        return await self._change_reset(wire.ConfirmReset(email, True, _email_code(code)))

    async def request_undo_reset(self, email: str) -> None:
        """Have a code sent to ``email``, with which to take back the reset or the dispute it confirmed."""
        await self._ask(wire.RequestUndoReset(email))

    async def undo_reset(self, email: str, code: str) -> ResetStatus:
        """Take back the reset, or the dispute, that ``email`` confirmed."""
        return await self._change_reset(wire.ConfirmUndoReset(email, _email_code(code)))

    async def cancel_reset(self, two_factor: CodeLike | None = None) -> ResetStatus:
        """End reset and dispute at once, with a code of a second factor (:meth:`TwoFactorAction.cancel_reset`)."""
        return await self._change_reset(wire.CancelReset(_data(two_factor)))

    async def dispute_challenge(self, outcome: str) -> DisputeChallenge:
        """What the signer signs to end a dispute: with ``reset`` the factors are removed, with ``keep`` they stay.

        The server gives it once the delay of the dispute is over; it is good for some minutes. Have it signed by
        ``signer.amp0_sign_dispute(challenge.outcome, challenge.nonce, challenge.expires)``.
        """
        if outcome not in wire.OUTCOMES:
            raise InvalidInput(f"a dispute ends in {' or '.join(wire.OUTCOMES)}, not {outcome!r}")
        given: wire.DisputeNonce = await self._ask(wire.RequestDisputeNonce(outcome))
        return DisputeChallenge(outcome, given.nonce.lower(), given.expires)

    async def resolve_dispute(self, challenge: DisputeChallenge, signature: str) -> ResetStatus:
        """End the dispute as the signer has signed (DER in hex)."""
        return await self._change_reset(wire.ResolveDispute(challenge.outcome, challenge.nonce, signature))

    async def _change_reset(self, procedure: rpc.Procedure) -> ResetStatus:
        reply: wire.ResetReply = await self._ask(procedure)
        self._reset = ResetStatus(reply.reset_2fa_active, reply.reset_2fa_days_remaining, reply.reset_2fa_disputed)
        return self._reset


# -- between the wire and the values -------------------------------------------------------------


def code_request(method: str, action: TwoFactorAction) -> rpc.Procedure:
    """The call that has a code sent. Raises :class:`InvalidInput` for a method whose codes are not sent."""
    kind = wire.REQUEST.get(method)
    if kind is None:
        hint = "read its code off the authenticator" if method == GAUTH else f"choose {', '.join(wire.REQUEST)}"
        raise InvalidInput(f"no code is sent for {method!r}; {hint}")
    return kind(action.name, dict(action.data))


def config_of(reply: wire.TwoFactorConfig) -> TwoFactorConfig:
    """The configuration in a server's answer."""
    methods = []
    for name in reply.offered():
        address = getattr(reply, _ADDRESS_KEYS[name]) if name in _ADDRESS_KEYS else ""
        enabled = getattr(reply, name) is True
        confirmed = reply.email_confirmed is True if name == EMAIL else enabled
        methods.append(TwoFactorMethod(name, enabled, confirmed, "" if address is UNSET else address))
    url = reply.gauth_url
    # Whatever becomes a QR code says what it is.
    return TwoFactorConfig(tuple(methods), url if url.startswith("otpauth://totp/") and not reply.gauth else "")


async def list_frozen(call: Callable[[rpc.Procedure], Awaitable[Any]]) -> list[OutPoint]:
    """What the wallet has frozen; nothing where the procedure, which is our own, does not exist."""
    try:
        rows: list[wire.FrozenOutput] = await call(wire.GetFrozenOutputs())
    except CallFailed as error:
        if error.name == rpc.SESSION_EXPIRED[0]:
            raise
        return []
    return [OutPoint(Txid(row.txhash), row.pt_idx) for row in rows]


def limit_of(limits: Any) -> int:
    """What is left of the limit in login data, which other servers write as text or leave out."""
    value = limits.get("total", 0) if isinstance(limits, dict) and limits.get("is_fiat") is not True else 0
    try:
        total = int(value)
    except (TypeError, ValueError):
        return 0
    return total if 0 <= total <= MAX_SATOSHI else 0


def reset_of(data: rpc.LoginReply) -> ResetStatus:
    """The reset in login data."""
    days = data.reset_2fa_days_remaining
    if data.reset_2fa_active is not True:
        return ResetStatus()
    return ResetStatus(True, days if type(days) is int else -1, data.reset_2fa_disputed is True)


def checked_code(two_factor: object) -> TwoFactorCode:
    """A pair as a :class:`TwoFactorCode`. Raises :class:`InvalidInput` for anything else."""
    if isinstance(two_factor, tuple | list) and len(two_factor) == 2:
        method, code = two_factor
        if isinstance(method, str) and isinstance(code, str) and method and code.strip():
            return TwoFactorCode(method, code.strip())
    raise InvalidInput("two_factor is a pair of method and code, such as ('gauth', '123456')")


def two_factor_data(two_factor: CodeLike) -> dict[str, Any]:
    """Two-factor data of a spend."""
    checked = checked_code(two_factor)
    return {"method": checked.method, "code": checked.code}


def _data(two_factor: CodeLike | None, action: TwoFactorAction | None = None) -> dict[str, Any] | None:
    """Two-factor data of a call; some calls repeat the action's data in it."""
    if two_factor is None:
        return None
    return (dict(action.data) if action is not None else {}) | two_factor_data(two_factor)


def _email_code(code: str) -> dict[str, Any]:
    return two_factor_data((EMAIL, code))
