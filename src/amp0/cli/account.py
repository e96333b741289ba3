"""``amp0 account``: accounts of a signer at the AMP0 server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.options import mnemonic_options, network_options, signer_from
from amp0.cli.output import json_option, note, print_facts, print_json, print_table, progress
from amp0.cli.secret import SecretSource, write_secret

if TYPE_CHECKING:
    from amp0.blocking import Amp0LoggedIn
    from amp0.network import Network
    from amp0.wallet.signer import Signer


@click.group()
def account() -> None:
    """AMP0 accounts of a signer. The mnemonic never leaves this machine."""


def login(network: Network, signer: Signer) -> Amp0LoggedIn:
    """Register (again is harmless) and log in with the signer's challenge signature."""
    from amp0.blocking import Amp0Connected

    with progress("logging in to the AMP0 server"):
        connected = Amp0Connected(network, signer.amp0_signer_data())
        signature = signer.amp0_sign_challenge(connected.get_challenge())
        return connected.login(signature)


@account.command()
@network_options
@mnemonic_options
@click.option(
    "--new-mnemonic",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Make a new signer and write its mnemonic to FILE, which must not exist.",
)
@click.option(
    "--words",
    type=click.Choice(["12", "24"]),
    default="12",
    show_default=True,
    help="Length of a new mnemonic.",
)
@json_option
def create(network: Network, mnemonic: SecretSource, new_mnemonic: Path | None, words: str, as_json: bool) -> None:
    """Create the signer's next AMP0 account and print its AMP ID.

    The AMP ID is what an issuer needs to let the account hold an asset.
    """
    from amp0.elements.keys import Mnemonic
    from amp0.wallet.signer import Signer

    if new_mnemonic is not None:
        if mnemonic.path is not None or mnemonic.fd is not None:
            raise click.UsageError("give --new-mnemonic or an existing mnemonic, not both")
        fresh = Mnemonic.from_random(int(words))
        write_secret(new_mnemonic, str(fresh))
        note(f"wrote a new mnemonic to {new_mnemonic}: back it up, it is half of every signature")
        signer = Signer(fresh, network)
    else:
        signer = signer_from(mnemonic, network)
    with login(network, signer) as session:
        pointer = session.next_account()
        amp_id = session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))
    facts = {"amp_id": amp_id, "account": pointer, "signer": signer.fingerprint(), "network": network.name}
    if as_json:
        print_json(facts)
    else:
        print_facts([("AMP ID", amp_id), ("account", pointer), ("signer", signer.fingerprint())])
        note("next: amp0 watch-only create, so that the mnemonic can go back to its vault")


@account.command("list")
@network_options
@mnemonic_options
@json_option
def list_accounts(network: Network, mnemonic: SecretSource, as_json: bool) -> None:
    """List the AMP IDs of the signer's accounts."""
    with login(network, signer_from(mnemonic, network)) as session:
        amp_ids = session.get_amp_ids()
    if as_json:
        print_json(amp_ids)
    else:
        print_table(["AMP ID"], [[amp_id] for amp_id in amp_ids])
