"""Every way in which the server says no, and the one table of what its clients see.

A refusal is raised anywhere below the edge and becomes an answer only there: over WAMP the error
``["http://greenaddressit.com/error#<name>", "<text>", {}]`` (the layout Green clients read), over HTTP a status
code. The text is shown to people by every client, so it says what happened and what to do next; a few texts are
read by programs and must stay as they are (they are marked).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amp0.errors import Amp0Error
from amp0.protocol import rpc
from amp0.protocol.issuer_policy import Reason
from amp0.protocol.twofactor import INVALID_CODE

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


class Refusal(Amp0Error):
    """The server refuses a request. The text is for the person at the other end."""

    aftermath: Callable[[Connection], None] | None = None
    """What has to be kept although all else was rolled back: a wrong guess still costs an attempt. Called inside the
    same transaction, after the rollback to its beginning, so that nobody comes in between."""

    @property
    def name(self) -> str:
        """Short lower-case name of the refusal; it never changes once published."""
        return answer_for(self).name

    @property
    def status(self) -> int:
        """HTTP status code of the refusal."""
        return answer_for(self).status

    @property
    def retryable(self) -> bool:
        """Whether the same request may pass later."""
        return answer_for(self).retryable


class InvalidRequest(Refusal):
    """The arguments do not have the shape, the range or the sense they need."""


class TooLarge(Refusal):
    """The request, or one part of it, is larger than the server takes."""


class UnknownProcedure(Refusal):
    """There is no such procedure or path."""


class SessionExpired(Refusal):
    """The call needs a login, and this connection has none (any more). The text is read by clients."""

    def __init__(self) -> None:
        super().__init__(rpc.SESSION_EXPIRED[1])


class NotAllowed(Refusal):
    """The session is logged in, but may not do this."""


class WrongCredentials(Refusal):
    """Watch-only name or password wrong: one text for both. It is read by clients, word for word."""

    def __init__(self) -> None:
        super().__init__(rpc.USER_NOT_FOUND[1])


class WrongPin(Refusal):
    """A PIN is wrong, or its login does not exist (any more). Clients know it by its name."""


class TooManyAttempts(Refusal):
    """Too many wrong guesses lately."""

    seconds: int | None = None
    """When the next one will be looked at, where that is known."""


class RegistrationConflict(Refusal):
    """This master key is registered already, with other data."""


class AccountExists(Refusal):
    """The account number is taken: another session of the wallet was faster."""


class UnknownAccount(Refusal):
    """The wallet has no such account."""


class NotEmpty(Refusal):
    """The wallet still holds coins."""


class NameTaken(Refusal):
    """Another wallet has this watch-only name."""


class NotFound(Refusal):
    """The thing asked for does not exist."""


class BroadcastRefused(Refusal):
    """The chain refused the transaction; the text is the node's."""


class ChainUnavailable(Refusal):
    """The chain does not answer, so the server cannot know what it needs to know."""


class FeeWalletEmpty(Refusal):
    """The server's own wallet cannot pay for an issuance now."""


class StoreUnavailable(Refusal):
    """The server cannot write durably, so it does nothing that it would have to remember."""


class ServerBusy(Refusal):
    """More calls than the server can take at once."""


class ShuttingDown(Refusal):
    """The server is stopping; the call was not begun."""


class TwoFactorRequired(Refusal):
    """A second factor has to authorise this, and none was given, or none that can."""


class WrongTwoFactorCode(TwoFactorRequired):
    """A code is wrong, expired, used, or was sent for something else: one text, which clients read word for word."""

    def __init__(self) -> None:
        super().__init__(INVALID_CODE[1])


class TwoFactorLocked(Refusal):
    """Too many wrong codes: for some time none is looked at."""


class ResetInProgress(Refusal):
    """The wallet's two-factor reset is under way, and until it ends this is not done."""


class DeliveryFailed(Refusal):
    """A code could not be handed to the channel it should go through."""


class ClockJumped(Refusal):
    """The server's clock cannot be relied on for this now."""


class CosignRefusal(Refusal):
    """The cosigner does not sign. Its subclasses are its permanent reason codes."""

    earlier_txid: str | None = None
    """Display hex of the earlier transaction that is in the way, where there is one."""


class BadTransaction(CosignRefusal):
    """The transaction is malformed, or of a shape this service never signs."""


class FeeOutOfBounds(CosignRefusal):
    """The fee is missing, too low, too high, in another asset or paid twice."""


class IssuanceRefused(CosignRefusal):
    """An input issues, reissues or pegs in."""


class BurnRefused(CosignRefusal):
    """An output destroys an amount."""


class UnknownInput(CosignRefusal):
    """An input spends an output that neither block nor mempool has, as far as the service knows now."""


class ImmatureInput(CosignRefusal):
    """An input spends a coinbase output too early."""


class SpentInput(CosignRefusal):
    """An input is spent already."""


class AddressNeverIssued(CosignRefusal):
    """An input asks for the service's signature, but its address was never issued here."""


class NoOwnInput(CosignRefusal):
    """No input belongs to an account of this service, or to the wallet that asks."""


class WrongScript(CosignRefusal):
    """A script of an own input is not the one that account and pointer give."""


class WrongUserSignature(CosignRefusal):
    """An own input has no valid signature of its user."""


class WrongSighash(CosignRefusal):
    """A signature of another kind than SIGHASH_ALL."""


class ForeignServiceSignature(CosignRefusal):
    """The place of the service's signature holds something else than the placeholder."""


class WrongNonces(CosignRefusal):
    """The blinding nonces do not belong to the outputs, one each."""


class WrongAmounts(CosignRefusal):
    """Proofs, balance or the amounts themselves do not hold."""


class FrozenInput(CosignRefusal):
    """The owner has frozen an output that an input spends."""


class AlreadySigned(CosignRefusal):
    """Another transaction for one of the outpoints was signed before and may still confirm."""

    def __init__(self, text: str, earlier_txid: str) -> None:
        super().__init__(text)
        self.earlier_txid = earlier_txid


class PolicyRefused(CosignRefusal):
    """A managed asset is moved in a way that its rules do not allow.

    ``reasons`` is what whoever asked for the signature may know; the text says the same in one line.
    """

    def __init__(self, text: str, reasons: Sequence[Reason]) -> None:
        super().__init__(text)
        self.reasons = tuple(reasons)


class PolicyChanged(PolicyRefused):
    """An asset's issuer agreed to something that is not so any more; asking again asks them again."""


class InternalError(Refusal):
    """A fault of the server. The cause is in its log, never in the text."""

    def __init__(self) -> None:
        super().__init__("The server failed to answer this call; try again, and tell its operator if it persists")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client sees of one kind of refusal."""

    name: str
    status: int
    retryable: bool = False


REFUSALS: Mapping[type[Refusal], Answer] = {
    InvalidRequest: Answer("invalid", 400),
    TooLarge: Answer("toolarge", 413),
    UnknownProcedure: Answer("unknownprocedure", 404),
    SessionExpired: Answer("sessionexpired", 401),
    NotAllowed: Answer("notallowed", 403),
    WrongCredentials: Answer("usernotfound", 401),
    WrongPin: Answer(rpc.WRONG_PIN, 401),
    TooManyAttempts: Answer("toomanyattempts", 429, retryable=True),
    RegistrationConflict: Answer("registrationconflict", 409),
    AccountExists: Answer("accountexists", 409),
    UnknownAccount: Answer("unknownaccount", 404),
    NotEmpty: Answer("notempty", 409),
    NameTaken: Answer("nametaken", 409),
    NotFound: Answer("notfound", 404),
    BroadcastRefused: Answer("broadcast", 400),
    ChainUnavailable: Answer("chainunavailable", 503, retryable=True),
    FeeWalletEmpty: Answer("feewallet", 503, retryable=True),
    StoreUnavailable: Answer("storeunavailable", 503, retryable=True),
    ServerBusy: Answer("busy", 503, retryable=True),
    ShuttingDown: Answer("shuttingdown", 503, retryable=True),
    TwoFactorRequired: Answer(INVALID_CODE[0], 401),
    WrongTwoFactorCode: Answer(INVALID_CODE[0], 401),
    TwoFactorLocked: Answer("twofactorlocked", 429, retryable=True),
    ResetInProgress: Answer("reset", 403),
    DeliveryFailed: Answer("delivery", 503, retryable=True),
    ClockJumped: Answer("clock", 503, retryable=True),
    CosignRefusal: Answer("cosign", 422),
    BadTransaction: Answer("badtransaction", 422),
    FeeOutOfBounds: Answer("fee", 422),
    IssuanceRefused: Answer("issuance", 422),
    BurnRefused: Answer("burn", 422),
    UnknownInput: Answer("unknowninput", 422, retryable=True),
    ImmatureInput: Answer("immatureinput", 422, retryable=True),
    SpentInput: Answer("spentinput", 422),
    AddressNeverIssued: Answer("neverissued", 422),
    NoOwnInput: Answer("noowninput", 422),
    WrongScript: Answer("script", 422),
    WrongUserSignature: Answer("usersignature", 422),
    WrongSighash: Answer("sighash", 422),
    ForeignServiceSignature: Answer("servicesignature", 422),
    WrongNonces: Answer("nonces", 422),
    WrongAmounts: Answer("amounts", 422),
    FrozenInput: Answer("frozen", 422),
    AlreadySigned: Answer("alreadysigned", 409, retryable=True),
    PolicyRefused: Answer("policy", 422),
    PolicyChanged: Answer("policychanged", 409, retryable=True),
    InternalError: Answer("internal", 500, retryable=True),
}


def answer_for(refusal: Refusal) -> Answer:
    """The row of the table for a refusal, or for the nearest of its base classes."""
    for kind in type(refusal).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    return REFUSALS[InternalError]


def wamp_error_arguments(refusal: Refusal) -> list[object]:
    """The positional arguments of the WAMP error that answers a call with this refusal."""
    return rpc.error_args(refusal.name, str(refusal))
