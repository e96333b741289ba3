"""Every exception this package raises, drawn as a tree.

::

    Amp0Error
    ├─ InvalidInput               what the caller handed in cannot be used
    │  ├─ InvalidMnemonic
    │  ├─ InvalidKey
    │  ├─ InvalidAddress
    │  ├─ InvalidDescriptor
    │  ├─ InvalidTransaction
    │  ├─ InvalidBlock            not a block, or one that breaks a rule; the text is the node's
    │  ├─ InvalidPset
    │  ├─ InvalidUpdate           not a serialised wallet update, or of a version not known here
    │  └─ NetworkMismatch         right shape, wrong network or service key
    ├─ UnblindError               a confidential output did not open
    ├─ InvalidAmounts             proofs or the balance of a transaction do not verify
    ├─ ProtocolError
    │  ├─ LocalProtocolError      our side broke the protocol: a bug or a wrong call order
    │  └─ RemoteProtocolError     the peer broke the protocol
    │     ├─ AlteredTransaction   the cosigner returned another transaction than it was sent
    │     └─ SuspiciousIndex      the server's last index jumps further than is believed
    ├─ ConnectionFailed           the network or the peer is away: worth retrying
    │  ├─ ConnectionTimeout
    │  └─ ServerBusy              the server asks to come back later
    ├─ CallFailed                 the server answered, and the answer is no
    │  ├─ LoginFailed
    │  ├─ CosignRefused
    │  ├─ IssuerRefused           the issuer API says no
    │  ├─ TwoFactorRequired       a second factor has to agree, and no code was given
    │  ├─ WrongTwoFactorCode
    │  └─ TwoFactorLocked         too many wrong codes: none is looked at for a while
    ├─ ChainError
    │  ├─ BackendUnavailable      worth retrying
    │  ├─ ExplorerRefused         the explorer answered with an error status
    │  ├─ NodeRefused             the node answered a call with an error
    │  └─ BroadcastRejected       the node refused the transaction; the text is the node's
    ├─ WalletError
    │  ├─ InsufficientFunds
    │  ├─ TooManyInputs           the amount is there, in more coins than one transaction can spend
    │  ├─ AddressNotIssued        pointer the server has not handed out
    │  ├─ Amp0AddressError        a local address of an AMP0 wollet: funds sent there are lost
    │  ├─ Amp0ScanError           a gap-limit scan of an AMP0 wollet: deposits would be missed
    │  ├─ Amp0BuildError          finish() on an AMP0 wollet: the cosigner would refuse
    │  ├─ UnconfirmedMove         a treasury's wallet moved units that the issuer's server does not know of
    │  └─ StaleUpdate             an update made for another state of the wollet
    ├─ SignerError
    │  ├─ WrongSigner             the signer owns none of the inputs
    │  ├─ DeviceNotFound
    │  └─ UserCancelled
    └─ ConfigError                settings, files and folders that cannot be used as they are

Each error carries its facts as attributes, and its text says what to do next.
The refusals of the server live beside its one table of error URIs, in
``amp0.server.refusal``; they derive from :class:`Amp0Error` too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Amp0Error(Exception):
    """Base of every exception raised on purpose by this package."""

    @property
    def msg(self) -> str:
        """The text of the error, under the name LWK's errors give it."""
        return str(self)


class InvalidInput(Amp0Error, ValueError):
    """Something handed in cannot be parsed or used."""


class InvalidMnemonic(InvalidInput):
    """Not a BIP39 sentence: wrong count, unknown word or wrong checksum."""


class InvalidKey(InvalidInput):
    """Not a key, an extended key or a derivation path."""


class InvalidAddress(InvalidInput):
    """Not an address of Liquid, or not the kind of address asked for."""


class InvalidDescriptor(InvalidInput):
    """Not a descriptor this package understands."""


class InvalidTransaction(InvalidInput):
    """Bytes that are not one well-formed Elements transaction."""


class InvalidBlock(InvalidInput):
    """Bytes that are not one well-formed block, or a block that breaks a consensus rule."""


class InvalidPset(InvalidInput):
    """Not a partially signed Elements transaction, or not one that can be used here."""


class InvalidUpdate(InvalidInput):
    """Not a serialised wallet update, or one of a version this package does not know."""


class NetworkMismatch(InvalidInput):
    """Well formed, but of another network or under another AMP0 service key."""


class UnblindError(Amp0Error):
    """A confidential output did not open with the key or nonce given."""


class InvalidAmounts(Amp0Error):
    """A proof, or the balance of inputs and outputs, does not verify."""


class ProtocolError(Amp0Error):
    """The conversation with the peer broke its rules."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: calls in an order it does not have."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol: bytes or messages that should not have come."""


class AlteredTransaction(RemoteProtocolError):
    """The AMP0 server returned something else than the transaction it was asked to sign, signed.

    ``sent`` and ``received`` are the two transactions in hex (``received`` as it came): keep them as
    evidence. Nothing was broadcast.
    """

    def __init__(self, text: str, *, sent: str, received: str) -> None:
        super().__init__(text)
        self.sent = sent
        self.received = received


class SuspiciousIndex(RemoteProtocolError):
    """The server's last address index jumped from ``known`` to ``claimed``, further than is believed."""

    def __init__(self, known: int, claimed: int, limit: int) -> None:
        super().__init__(
            f"the AMP0 server says its last address index is {claimed}, and {known} was known: a jump of "
            f"more than {limit}. If that is right, raise max_index_jump in ClientOptions; otherwise ask the "
            "server's operator"
        )
        self.known = known
        self.claimed = claimed
        self.limit = limit


class ConnectionFailed(Amp0Error):
    """The peer cannot be reached or went away; trying again may help."""


class ConnectionTimeout(ConnectionFailed):
    """The peer did not answer within the deadline."""


class ServerBusy(ConnectionFailed):
    """The server has too much to do, or was asked too often; ``retry_after`` is the seconds that it asks to wait.

    ``too_often`` says that it was the latter: such a request was turned away before it changed anything.
    """

    def __init__(self, text: str, *, retry_after: float | None = None, too_often: bool = False) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.too_often = too_often


class CallFailed(Amp0Error):
    """The server answered a call with an error.

    ``name`` is the short error name (``usernotfound``, ``sessionexpired`` …) and
    ``text`` the server's own sentence.
    """

    def __init__(self, text: str, *, name: str = "", procedure: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.name = name
        self.procedure = procedure


class LoginFailed(CallFailed):
    """The server does not accept these credentials or this signature."""


@dataclass(frozen=True, slots=True)
class RefusalReason:
    """One reason of a refusal: ``line`` as it is told to people, and what is in it for programs.

    ``code`` is permanent; ``side`` and ``index`` say which input or output it is about (``"asset"`` and None: the whole
    transfer); ``asset_id`` is display hex, and empty where the server could not tell it; ``text`` is the sentence.
    """

    line: str
    text: str
    code: str = ""
    side: str = "asset"
    index: int | None = None
    asset_id: str = ""

    def __str__(self) -> str:
        return self.line


class CosignRefused(CallFailed):
    """The AMP0 server refuses to sign.

    ``code`` is the permanent code of the (first) reason when the server gave one, ``reasons``
    every line it gave (:class:`RefusalReason`), ``retryable`` whether the same request may pass later, ``txid``
    (display hex) the earlier transaction when that is the reason.
    """

    def __init__(
        self,
        text: str,
        *,
        code: str = "",
        reasons: Sequence[RefusalReason | str] = (),
        retryable: bool = False,
        txid: str = "",
    ) -> None:
        super().__init__(text, name=code or "cosign", procedure="delayed_signature")
        self.txid = txid
        self.code = code
        self.reasons = tuple(
            one if isinstance(one, RefusalReason) else RefusalReason(one, one, code) for one in reasons
        )
        self.retryable = retryable


class IssuerRefused(CallFailed):
    """The issuer API answered with an error.

    ``status`` is the HTTP status: 400 for input or a state of things that does not allow it, 403 for what this login
    may not do, 404 for what is not there (or not this issuer's). ``fields`` holds the server's texts by the field
    they are about, where it named any; ``endpoint`` is the method and path.
    """

    def __init__(
        self, text: str, *, status: int, endpoint: str = "", fields: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(text, name=str(status), procedure=endpoint)
        self.status = status
        self.endpoint = endpoint
        self.fields = {name: tuple(texts) for name, texts in (fields or {}).items()}


class TwoFactorRequired(CallFailed):
    """A second factor has to agree to this, and no code was given, or none of a method that can.

    ``methods`` are the wallet's enabled ones (``email``, ``gauth`` …), empty when they were not asked for.
    """

    def __init__(self, text: str, *, procedure: str = "", methods: Sequence[str] = ()) -> None:
        super().__init__(text, name="auth", procedure=procedure)
        self.methods = tuple(methods)


class WrongTwoFactorCode(CallFailed):
    """The code is wrong, expired, used before, or was sent for something else. The server counts such tries."""


class TwoFactorLocked(CallFailed):
    """After too many wrong codes the server looks at none of this wallet's for a while; the text says how long."""


class ChainError(Amp0Error):
    """The chain backend could not do what was asked."""


class BackendUnavailable(ChainError, ConnectionFailed):
    """The chain backend is away or overloaded; trying again may help."""


class ExplorerRefused(ChainError):
    """The explorer answered with an error; ``url``, ``status`` and the first of its ``body`` tell which."""

    def __init__(self, url: str, status: int, body: str) -> None:
        body = body.strip()[:500]
        super().__init__(
            f"the explorer answered {status} to {url}: {body or 'no text'}; "
            "check the URL and the network, and what the explorer says"
        )
        self.url = url
        self.status = status
        self.body = body


# Error codes of the node's wallet (its src/rpc/protocol.h) about which somebody can do something.
_NODE_ADVICE = {
    -6: "its wallet needs more of what is sent, and L-BTC for the fee",
    -13: "its wallet is locked: walletpassphrase unlocks it",
    -18: "name a wallet that is loaded at the end of the URL: /wallet/NAME",
    -19: "it has several wallets: name one at the end of the URL, /wallet/NAME",
}


class NodeRefused(ChainError):
    """The node answered ``method`` with an error; ``code`` is its number, ``reason`` the node's own text."""

    def __init__(self, method: str, code: int, reason: str) -> None:
        advice = _NODE_ADVICE.get(code, "")
        super().__init__(f"the node answers {method} with error {code}: {reason}{advice and f'; {advice}'}")
        self.method = method
        self.code = code
        self.reason = reason


class BroadcastRejected(ChainError):
    """The node refused the transaction; ``reason`` is the node's own text."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the network refused the transaction: {reason}")
        self.reason = reason


class WalletError(Amp0Error):
    """The wallet cannot do what was asked in its present state."""


class InsufficientFunds(WalletError):
    """Not enough of one asset. Amounts in satoshi, ``asset_id`` in display hex."""

    def __init__(self, asset_id: str, needed: int, available: int) -> None:
        missing = needed - available
        super().__init__(
            f"InsufficientFunds {{ missing_sats: {missing}, asset_id: {asset_id} }}: "
            f"needed {needed} satoshi, available {available}; "
            "fund the wallet (and sync it) or send less"
        )
        self.asset_id = asset_id
        self.needed = needed
        self.available = available


class TooManyInputs(WalletError):
    """The coins needed do not fit one transaction.

    ``limit`` is the most inputs a transaction can have, ``asset_id`` in display hex, ``spendable``
    what the largest coins that fit are worth (satoshi, before fees).
    """

    def __init__(self, limit: int, *, asset_id: str, spendable: int) -> None:
        super().__init__(
            f"TooManyInputs({limit}): one transaction spends at most {limit} coins, and those are worth "
            f"{spendable} satoshi of {asset_id}; send less at once, or first merge coins by sending "
            "some of them to yourself (set_wallet_utxos chooses which)"
        )
        self.limit = limit
        self.asset_id = asset_id
        self.spendable = spendable


class AddressNotIssued(WalletError):
    """The AMP0 server has not handed out an address with this pointer."""


class Amp0AddressError(WalletError):
    """A locally derived address of an AMP0 wollet was asked for."""

    def __init__(self) -> None:
        super().__init__(
            "Amp0AddressError: an AMP0 address must come from the server, or its coins can "
            "never be spent; call Amp0.address() instead"
        )


class Amp0ScanError(WalletError):
    """A gap-limit scan of an AMP0 wollet was asked for."""

    def __init__(self) -> None:
        super().__init__(
            "Amp0ScanError: AMP0 accounts have no gap limit, so full_scan() would miss deposits; "
            "call full_scan_to_index(wollet, amp0.last_index()) instead"
        )


class Amp0BuildError(WalletError):
    """``finish()`` was called for an AMP0 wollet."""

    def __init__(self) -> None:
        super().__init__(
            "Amp0BuildError: the AMP0 server needs the blinding nonces of the outputs; "
            "call finish_for_amp0(wollet) instead of finish(wollet)"
        )


class StaleUpdate(WalletError):
    """An update that was made for another state of the wollet."""


class UnconfirmedMove(WalletError):
    """A treasury's wallet has moved units that the issuer's server was not told of, in ``txids`` (display hex).

    Nothing was sent: what was made is to be finished first.
    """

    def __init__(self, text: str, txids: Sequence[str]) -> None:
        super().__init__(text)
        self.txids = tuple(txids)


class SignerError(Amp0Error):
    """The signer cannot sign."""


class WrongSigner(SignerError):
    """The signer's keys are in none of the inputs."""


class DeviceNotFound(SignerError):
    """No hardware signer answers."""


class UserCancelled(SignerError):
    """The person at the hardware signer said no."""


class ConfigError(Amp0Error):
    """A setting, a file or a folder cannot be used as it is."""
