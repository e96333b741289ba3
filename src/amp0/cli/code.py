"""Two-factor codes on the command line: which method, having one sent, reading it, and a second try.

A code is read after it was asked for, so a pipe that waits for it (``--code-fd``, or a named pipe as
``--code-file``) works in a script. A script in two steps has the code sent by the first run, which ends with the exit
code of *a code is needed*, and gives it to the second, with ``--code-sent``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amp0.cli.output import note, progress
from amp0.cli.secret import SecretSource, secret_options
from amp0.errors import TwoFactorRequired, WrongTwoFactorCode

if TYPE_CHECKING:
    from amp0.blocking import Amp0
    from amp0.client.two_factor import TwoFactorCode, TwoFactorConfig
    from amp0.elements.pset import Amp0Pset
    from amp0.elements.transaction import Transaction

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")

SENT = ("email", "sms", "phone", "telegram")
TOTP = "totp"
"""What the command line calls an authenticator; on the wire it is ``gauth``."""
METHODS = (*SENT, TOTP)
PROMPTS = 3
"""How often a person may type a code."""


def wire_name(method: str) -> str:
    """A method under its name on the wire."""
    return "gauth" if method == TOTP else method


def shown_name(method: str) -> str:
    """A method under its name here."""
    return TOTP if method == "gauth" else method


@dataclass(frozen=True, slots=True)
class CodeSource:
    """Which method shall agree (None: the only one, or ask), where its code is read, and whether it was sent before."""

    method: str | None
    secret: SecretSource
    was_sent: bool

    def authorise(
        self, config: TwoFactorConfig, request: Callable[[str], None], act: Callable[[TwoFactorCode | None], T]
    ) -> T:
        """What ``act`` returns, given a code; without one while the wallet has no second factor.

        ``request`` has a code sent by a method. A person may type it several times, a file is read once.
        """
        from amp0.client.two_factor import TwoFactorCode

        enabled = config.enabled()
        if not enabled:
            return act(None)
        method = self._choose([shown_name(name) for name in enabled])
        if method != TOTP and not self.was_sent:
            request(wire_name(method))
            note(f"a code was sent by {method} to {config.method(method).address}")
        if not self.secret.is_readable:
            raise TwoFactorRequired(_what_next(method), methods=enabled)
        return type_again(self.secret, lambda code: act(TwoFactorCode(wire_name(method), code)))

    def _choose(self, enabled: list[str]) -> str:
        if self.method is not None:
            if self.method not in enabled:
                raise click.UsageError(f"{self.method} is no second factor of this wallet; it has {', '.join(enabled)}")
            return self.method
        if len(enabled) == 1:
            return enabled[0]
        import sys

        if not sys.stdin.isatty():
            raise click.UsageError(f"this wallet has several second factors; choose one: --method {'|'.join(enabled)}")
        chosen: str = click.prompt("Second factor", type=click.Choice(enabled), err=True)
        return chosen


def _what_next(method: str) -> str:
    if method == TOTP:
        return "this wants a code of the authenticator: give --code-file FILE (- is standard input) or --code-fd NUMBER"
    return (
        f"this wants the code that comes by {method}: run the same again with --code-sent and --code-file FILE. "
        "(amp0 send makes another transaction each time: use amp0 tx, or a terminal)"
    )


def type_again(secret: SecretSource, act: Callable[[str], T]) -> T:
    """What ``act`` returns for the code that is read; a person may correct it."""
    left = 1 if secret.is_given else PROMPTS
    while True:
        left -= 1
        try:
            return act(secret.read().strip())
        except WrongTwoFactorCode as error:
            if not left:
                raise
            note(str(error))


def code_options(command: Command) -> Command:
    """Add ``--method``, ``--code-file``, ``--code-fd`` and ``--code-sent``; the command gets ``codes``."""

    @functools.wraps(command)
    def with_codes(*args: Any, agreed_by: str | None, code: SecretSource, code_sent: bool, **kwargs: Any) -> Any:
        return command(*args, codes=CodeSource(agreed_by, code, code_sent), **kwargs)

    decorated = click.option("--code-sent", is_flag=True, help="The code was sent by an earlier run: send no other.")(
        secret_options("code", "the code of a second factor (after it was sent)")(with_codes)
    )
    return click.option(
        "--method",
        "agreed_by",
        type=click.Choice(METHODS),
        help="Which second factor shall agree; needed if there are several.",
    )(decorated)  # type: ignore[return-value]


def sign_with_code(amp0: Amp0, signed: Amp0Pset, codes: CodeSource) -> Transaction:
    """Have the server sign, with a code if it wants one: a spend within the limit goes through without."""
    if codes.method is None and not codes.secret.is_given and not codes.was_sent:
        try:
            with progress("waiting for the AMP0 server's signature"):
                return amp0.sign(signed)
        except TwoFactorRequired:
            note("the wallet has a second factor, which has to agree")
    return codes.authorise(
        amp0.two_factor_config(),
        lambda method: amp0.request_code(method, signed),
        lambda code: amp0.sign(signed, code),
    )
