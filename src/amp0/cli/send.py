"""``amp0 send``: build, sign, cosign and broadcast in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.options import account_options, chain_options, mnemonic_options, network_options, signer_from
from amp0.cli.output import json_option, note, print_json, progress
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_venue
from amp0.cli.spend import Order, order_options, show_outputs

if TYPE_CHECKING:
    from amp0.network import Network


@click.command()
@network_options
@account_options
@mnemonic_options
@chain_options
@order_options
@json_option
def send(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    mnemonic: SecretSource,
    chain: str | None,
    waterfalls: bool,
    data_dir: Path | None,
    order: Order,
    as_json: bool,
) -> None:
    """Build, sign, cosign and broadcast in one go.

    For a mnemonic on another machine use amp0 tx, one step at a time.
    """
    from amp0.elements.pset import Amp0Pset

    if mnemonic.path == "-" and password.path == "-":
        raise click.UsageError("the mnemonic and the password cannot both come from standard input")
    signer = signer_from(mnemonic, network)
    account = Account(network, username, password, amp_id)
    with open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue:
        with progress("building"):
            amp0pset = order.build(network, venue.wollet)
        show_outputs(amp0pset, network)
        signed = Amp0Pset(signer.sign(amp0pset.pset()), amp0pset.blinding_nonces())
        with progress("waiting for the AMP0 server's signature"):
            transaction = venue.amp0.sign(signed)
        txid = venue.chain.broadcast(transaction)
    fee = transaction.fee(network.policy_asset())
    if as_json:
        print_json({"txid": str(txid), "fee": fee})
    else:
        click.echo(str(txid))
        note(f"fee {fee} satoshi")
