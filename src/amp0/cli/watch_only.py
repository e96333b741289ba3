"""``amp0 watch-only``: credentials for the daily work, which see everything and sign nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amp0.cli.account import login
from amp0.cli.options import mnemonic_options, network_options, signer_from
from amp0.cli.output import json_option, note, print_json
from amp0.cli.secret import SecretSource, secret_options

if TYPE_CHECKING:
    from amp0.network import Network


@click.group("watch-only")
def watch_only() -> None:
    """Credentials that see everything and sign nothing."""


@watch_only.command()
@network_options
@mnemonic_options
@click.option("--username", metavar="NAME", required=True, help="User name to log in with from now on.")
@secret_options("password", "the password to log in with from now on")
@json_option
def create(network: Network, mnemonic: SecretSource, username: str, password: SecretSource, as_json: bool) -> None:
    """Set the signer's watch-only user name and password; they cover all its accounts.

    Setting them again replaces the earlier pair.
    """
    signer = signer_from(mnemonic, network)
    chosen = password.read(confirm=True)
    with login(network, signer) as session:
        session.create_watch_only(username, chosen)
        amp_ids = session.get_amp_ids()
    if as_json:
        print_json({"username": username, "amp_ids": amp_ids, "network": network.name})
    else:
        note(f"{username} can now log in to {', '.join(amp_ids) or 'this signer (no account yet)'}")
