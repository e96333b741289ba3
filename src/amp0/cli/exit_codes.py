"""One exit code per branch of the error tree.

The codes are permanent: scripts rely on them. The nearest class decides, so a new error under a branch
has its branch's code until it is given one of its own.
"""

from __future__ import annotations

from amp0 import errors

UNEXPECTED = 1
USAGE = 2
INTERRUPTED = 130

#: Error class → exit code; the most derived class of an error that stands here counts.
EXIT_CODES: dict[type[errors.Amp0Error], int] = {
    errors.Amp0Error: 10,
    errors.ConfigError: 11,
    errors.InvalidInput: 20,
    errors.NetworkMismatch: 21,
    errors.UnblindError: 22,
    errors.InvalidAmounts: 23,
    errors.ProtocolError: 30,
    errors.ConnectionFailed: 40,
    errors.BackendUnavailable: 41,
    errors.ServerBusy: 42,
    errors.CallFailed: 50,
    errors.LoginFailed: 51,
    errors.CosignRefused: 52,
    errors.TwoFactorRequired: 53,
    errors.WrongTwoFactorCode: 54,
    errors.TwoFactorLocked: 55,
    errors.IssuerRefused: 56,
    errors.ChainError: 60,
    errors.BroadcastRejected: 61,
    errors.WalletError: 70,
    errors.InsufficientFunds: 71,
    errors.AddressNotIssued: 72,
    errors.UnconfirmedMove: 73,
    errors.SignerError: 80,
    errors.WrongSigner: 81,
}


def exit_code(error: BaseException) -> int:
    """The exit code for ``error``: that of its nearest class in :data:`EXIT_CODES`."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return UNEXPECTED
