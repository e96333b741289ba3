"""``amp0 2fa``: a wallet's second factors. All but *status* log in with the signer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from amp0.cli.account import login
from amp0.cli.code import METHODS, SENT, TOTP, CodeSource, code_options, shown_name, type_again, wire_name
from amp0.cli.options import either_options, mnemonic_options, network_options, signer_from
from amp0.cli.output import json_option, note, print_facts, print_json, print_table
from amp0.cli.secret import SecretSource, require_one_stdin, secret_options
from amp0.cli.session import Account, open_account
from amp0.errors import TwoFactorRequired

if TYPE_CHECKING:
    from amp0.blocking import Amp0, Amp0LoggedIn
    from amp0.client.two_factor import ResetStatus, TwoFactorCode, TwoFactorConfig
    from amp0.network import Network

CONTACT = "contact"
new_code_options = secret_options(
    "new-code", "the code that comes to the new address, or that the new authenticator shows"
)


@click.group("2fa")
def two_factor() -> None:
    """Second factors: codes that a spend needs besides the signer's key.

    Enable two. Whoever loses the only one waits for a reset, which takes months.
    """


@contextmanager
def logged_in(network: Network, mnemonic: SecretSource) -> Iterator[Amp0LoggedIn]:
    """A session with the signer; what the server wants its user to know goes to stderr."""
    with login(network, signer_from(mnemonic, network)) as session:
        for text in session.warnings():
            note(f"note: {text}")
        yield session


@contextmanager
def either(
    network: Network, username: str | None, password: SecretSource, mnemonic: SecretSource
) -> Iterator[Amp0 | Amp0LoggedIn]:
    """A watch-only session, if a user name is given, or one with the signer."""
    if username is not None:
        with open_account(Account(network, username, password, "")) as amp0:
            yield amp0
    else:
        with logged_in(network, mnemonic) as session:
            yield session


# --- what there is -------------------------------------------------------------------------------


@two_factor.command()
@network_options
@either_options
@json_option
def status(
    network: Network, username: str | None, password: SecretSource, mnemonic: SecretSource, as_json: bool
) -> None:
    """Show the second factors, the spending limit and whether a reset is under way.

    With watch-only credentials addresses are masked.
    """
    with either(network, username, password, mnemonic) as session:
        config, limit, reset = session.two_factor_config(), session.limit(), session.two_factor_reset()
    if as_json:
        print_json({**config_json(config), "limit": limit, "reset": reset_json(reset)})
        return
    print_table(
        ["method", "enabled", "address"],
        [(shown_name(one.name), "yes" if one.enabled else "no", one.address) for one in config.methods],
    )
    print_facts([("limit without a code", f"{limit:,} satoshi of L-BTC"), ("reset", _reset_words(reset))])
    if len(config.enabled()) == 1:
        note("Enable a second method: whoever loses the only one waits for a reset.")


def config_json(config: TwoFactorConfig) -> dict[str, Any]:
    """The methods for programs; the secret of an authenticator is not among them."""
    methods = {
        shown_name(one.name): {"enabled": one.enabled, "confirmed": one.confirmed, "address": one.address}
        for one in config.methods
    }
    return {"enabled": [shown_name(name) for name in config.enabled()], "methods": methods}


def reset_json(reset: ResetStatus) -> dict[str, Any]:
    """A reset for programs."""
    return {"active": reset.active, "days_remaining": reset.days_remaining, "disputed": reset.disputed}


def _reset_words(reset: ResetStatus) -> str:
    if not reset.active:
        return "none"
    if reset.disputed:
        return f"disputed; amp0 2fa resolve can end the dispute in {reset.days_remaining} days"
    return f"under way: in {reset.days_remaining} days all second factors are removed, until then nothing is spent"


# --- methods -------------------------------------------------------------------------------------


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("method", metavar="METHOD", type=click.Choice(METHODS))
@click.argument("address", required=False)
@code_options
@new_code_options
@json_option
def enable(
    network: Network,
    mnemonic: SecretSource,
    method: str,
    address: str | None,
    codes: CodeSource,
    new_code: SecretSource,
    as_json: bool,
) -> None:
    """Enable METHOD: email, sms, phone or telegram at ADDRESS, or totp.

    A code goes to the new ADDRESS (telephone numbers begin with + and the country) and is asked for; without a
    terminal finish with amp0 2fa confirm. For totp the otpauth URL is printed, for an authenticator to read; the code
    that it shows is asked for, or comes from --new-code-file when the command is run again: the URL stays the same.

    If there is a second factor already, it has to agree: --method, --code-file.
    """
    require_one_stdin(mnemonic, codes.secret, new_code)
    if (address is None) is (method != TOTP):
        raise click.UsageError(
            "totp has no address" if method == TOTP else f"say where: amp0 2fa enable {method} ADDRESS"
        )
    with logged_in(network, mnemonic) as session:
        if address is None:
            config = _enable_totp(session, codes, new_code, as_json)
        else:
            config = _enable_sent(session, method, address, codes, new_code)
        if config is None:
            return
    _show_enabled(config, method, as_json)


def _enable_totp(
    session: Amp0LoggedIn, codes: CodeSource, new_code: SecretSource, as_json: bool
) -> TwoFactorConfig | None:
    from amp0.client.two_factor import TwoFactorAction

    config = session.two_factor_config()
    if not config.otpauth_url:
        raise click.UsageError("an authenticator is enabled already; disable it first to use another")
    if not new_code.is_readable:
        if as_json:
            print_json({"otpauth_url": config.otpauth_url, "enabled": False})
        else:
            click.echo(config.otpauth_url)
            note("Let an authenticator read this, then run the same with --new-code-file FILE (- is standard input).")
        return None
    if not new_code.is_given:
        note("Let an authenticator read this; it is a secret. Then type the code that it shows.")
        click.echo(config.otpauth_url, err=as_json)
    action = TwoFactorAction.enable("gauth")

    def act(code: TwoFactorCode | None) -> TwoFactorConfig:
        # The new code last: it is good for a minute only. One that agreed is used up, so only the first is typed again.
        if code is None:
            return type_again(new_code, session.enable_authenticator)
        return session.enable_authenticator(new_code.read().strip(), code)

    return codes.authorise(config, lambda by: session.request_code(by, action), act)


def _enable_sent(
    session: Amp0LoggedIn, method: str, address: str, codes: CodeSource, new_code: SecretSource
) -> TwoFactorConfig | None:
    from amp0.client.two_factor import TwoFactorAction

    action = TwoFactorAction.enable(method, address)
    codes.authorise(
        session.two_factor_config(),
        lambda by: session.request_code(by, action),
        lambda code: session.enable_two_factor(method, address, code),
    )
    note(f"a code was sent to {address}")
    if not new_code.is_readable:
        note(f"next: amp0 2fa confirm {method} --code-file FILE")
        return None
    return type_again(new_code, lambda code: session.confirm_two_factor(method, code))


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("method", metavar="METHOD", type=click.Choice((*SENT, CONTACT)))
@secret_options("code", "the code that came to the new address")
@json_option
def confirm(network: Network, mnemonic: SecretSource, method: str, code: SecretSource, as_json: bool) -> None:
    """Finish amp0 2fa enable METHOD (or contact) with the code that came to the new address."""
    require_one_stdin(mnemonic, code)
    with logged_in(network, mnemonic) as session:
        if method == CONTACT:
            type_again(code, session.confirm_email)
            config = session.two_factor_config()
        else:
            config = type_again(code, lambda typed: session.confirm_two_factor(method, typed))
    _show_enabled(config, method, as_json)


def _show_enabled(config: TwoFactorConfig, method: str, as_json: bool) -> None:
    if as_json:
        print_json(config_json(config))
        return
    note(f"{method} is set; the second factors are: {', '.join(map(shown_name, config.enabled())) or 'none'}")
    if len(config.enabled()) == 1:
        note("Enable another one: whoever loses the only one waits for a reset.")


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("method", metavar="METHOD", type=click.Choice(METHODS))
@code_options
@json_option
def disable(network: Network, mnemonic: SecretSource, method: str, codes: CodeSource, as_json: bool) -> None:
    """Disable METHOD, with a code of any second factor (choose it with --method)."""
    from amp0.client.two_factor import TwoFactorAction

    require_one_stdin(mnemonic, codes.secret)
    action = TwoFactorAction.disable(wire_name(method))
    with logged_in(network, mnemonic) as session:
        codes.authorise(
            session.two_factor_config(),
            lambda by: session.request_code(by, action),
            lambda code: session.disable_two_factor(wire_name(method), code),
        )
        config = session.two_factor_config()
    if as_json:
        print_json(config_json(config))
    else:
        note(f"{method} is off; the second factors are: {', '.join(map(shown_name, config.enabled())) or 'none'}")


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("email")
@code_options
@new_code_options
def contact(network: Network, mnemonic: SecretSource, email: str, codes: CodeSource, new_code: SecretSource) -> None:
    """Have notices go to EMAIL without making it a second factor.

    Notices tell of resets, of methods that come and go, and of wrong codes.
    """
    from amp0.client.two_factor import TwoFactorAction

    require_one_stdin(mnemonic, codes.secret, new_code)
    action = TwoFactorAction.set_email(email)
    with logged_in(network, mnemonic) as session:
        codes.authorise(
            session.two_factor_config(),
            lambda by: session.request_code(by, action),
            lambda code: session.set_email(email, code),
        )
        note(f"a code was sent to {email}")
        if not new_code.is_readable:
            note("next: amp0 2fa confirm contact --code-file FILE")
            return
        type_again(new_code, session.confirm_email)
    note(f"notices go to {email}")


# --- lost factors --------------------------------------------------------------------------------

email_code_options = secret_options("code", "the code that comes to EMAIL")
code_sent_option = click.option("--code-sent", is_flag=True, help="The code was sent by an earlier run: send no other.")


def _by_email(
    session: Amp0LoggedIn,
    email: str,
    code: SecretSource,
    code_sent: bool,
    request: Callable[[str], None],
    act: Callable[[str, str], ResetStatus],
) -> ResetStatus:
    """Have a code sent to an e-mail address, and act with it."""
    if not code_sent:
        request(email)
        note(f"a code was sent to {email}")
    if not code.is_readable:
        raise TwoFactorRequired(
            f"this wants the code that comes to {email}: run the same again with --code-sent and --code-file FILE"
        )
    return type_again(code, lambda typed: act(email, typed))


def _show_reset(reset: ResetStatus, as_json: bool) -> None:
    if as_json:
        print_json(reset_json(reset))
    else:
        print_facts([("reset", _reset_words(reset))])


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("email")
@email_code_options
@code_sent_option
@json_option
def reset(
    network: Network, mnemonic: SecretSource, email: str, code: SecretSource, code_sent: bool, as_json: bool
) -> None:
    """Begin to remove all second factors, when they are lost.

    A code comes to EMAIL, any address of yours. Then the server's delay runs (90 days unless its operator chose
    otherwise); until it is over nothing is spent or changed, and every channel of the wallet is told. Whoever has a
    second factor ends it with amp0 2fa cancel, whoever has only the mnemonic with amp0 2fa dispute.
    """
    require_one_stdin(mnemonic, code)
    with logged_in(network, mnemonic) as session:
        done = _by_email(session, email, code, code_sent, session.request_reset, session.confirm_reset)
    _show_reset(done, as_json)


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("email")
@email_code_options
@code_sent_option
@json_option
def dispute(
    network: Network, mnemonic: SecretSource, email: str, code: SecretSource, code_sent: bool, as_json: bool
) -> None:
    """Object to a reset that somebody else began, without a second factor.

    A code comes to EMAIL, another address than the one the reset was begun with. The reset does not take effect by
    itself any more; after a delay of its own, amp0 2fa resolve ends the dispute.
    """
    require_one_stdin(mnemonic, code)
    with logged_in(network, mnemonic) as session:
        done = _by_email(session, email, code, code_sent, session.request_reset, session.dispute_reset)
    _show_reset(done, as_json)


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("email")
@email_code_options
@code_sent_option
@json_option
def undo(
    network: Network, mnemonic: SecretSource, email: str, code: SecretSource, code_sent: bool, as_json: bool
) -> None:
    """Take back the reset, or the dispute, that EMAIL confirmed. A code comes to it once more."""
    require_one_stdin(mnemonic, code)
    with logged_in(network, mnemonic) as session:
        done = _by_email(session, email, code, code_sent, session.request_undo_reset, session.undo_reset)
    _show_reset(done, as_json)


@two_factor.command()
@network_options
@mnemonic_options
@code_options
@json_option
def cancel(network: Network, mnemonic: SecretSource, codes: CodeSource, as_json: bool) -> None:
    """End a reset, disputed or not, at once, with a code of a second factor."""
    from amp0.client.two_factor import TwoFactorAction

    require_one_stdin(mnemonic, codes.secret)
    action = TwoFactorAction.cancel_reset()
    with logged_in(network, mnemonic) as session:
        done = codes.authorise(
            session.two_factor_config(),
            lambda by: session.request_code(by, action),
            session.cancel_reset,
        )
    _show_reset(done, as_json)


@two_factor.command()
@network_options
@mnemonic_options
@click.argument("outcome", type=click.Choice(["reset", "keep"]))
@json_option
def resolve(network: Network, mnemonic: SecretSource, outcome: str, as_json: bool) -> None:
    """End a dispute with the signer's key: reset removes the second factors, keep keeps them.

    The server allows it once the delay of the dispute is over. The signer signs a text of this action, this wallet, a
    number of the server's and its expiry, and no other.
    """
    signer = signer_from(mnemonic, network)
    with login(network, signer) as session:
        challenge = session.dispute_challenge(outcome)
        signature = signer.amp0_sign_dispute(challenge.outcome, challenge.nonce, challenge.expires)
        done = session.resolve_dispute(challenge, signature)
    _show_reset(done, as_json)
