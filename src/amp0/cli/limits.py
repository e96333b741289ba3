"""``amp0 limits``: how much may leave without a code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amp0.cli.code import CodeSource, code_options
from amp0.cli.options import either_options, mnemonic_options, network_options
from amp0.cli.output import json_option, print_facts, print_json
from amp0.cli.secret import SecretSource, require_one_stdin
from amp0.cli.two_factor import either, logged_in

if TYPE_CHECKING:
    from amp0.network import Network


@click.group()
def limits() -> None:
    """How much L-BTC may leave without a two-factor code.

    The server counts, over all sessions and clients: what does not come back to the wallet, the fee included. Another
    asset than L-BTC always wants a code.
    """


@limits.command()
@network_options
@either_options
@json_option
def show(network: Network, username: str | None, password: SecretSource, mnemonic: SecretSource, as_json: bool) -> None:
    """Show what may still leave without a code."""
    with either(network, username, password, mnemonic) as session:
        left = session.limit()
    _show(left, as_json)


@limits.command("set")
@network_options
@mnemonic_options
@click.argument("satoshi", type=click.IntRange(min=0))
@code_options
@json_option
def set_limit(network: Network, mnemonic: SecretSource, satoshi: int, codes: CodeSource, as_json: bool) -> None:
    """Let SATOSHI of L-BTC in all leave without a code from now on; 0 asks for one each time.

    Raising the limit wants a code, lowering it does not.
    """
    from amp0.client.two_factor import TwoFactorAction

    require_one_stdin(mnemonic, codes.secret)
    action = TwoFactorAction.set_limit(satoshi)
    with logged_in(network, mnemonic) as session:
        if satoshi <= session.limit():
            session.set_limit(satoshi)
        else:
            codes.authorise(
                session.two_factor_config(),
                lambda by: session.request_code(by, action),
                lambda code: session.set_limit(satoshi, code),
            )
        left = session.limit()
    _show(left, as_json)


def _show(left: int, as_json: bool) -> None:
    if as_json:
        print_json({"total": left})
    else:
        print_facts([("without a code", f"{left:,} satoshi of L-BTC")])
