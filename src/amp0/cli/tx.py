"""``amp0 tx``: build, sign, cosign and broadcast, with files in between.

Only *sign* needs the mnemonic, and it needs no network: it can run on a machine that has none. Files default
to standard input and output, so that on one machine the four steps are a pipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.code import CodeSource, code_options, sign_with_code
from amp0.cli.options import (
    account_options,
    chain_options,
    chain_url_option,
    mnemonic_options,
    network_options,
    signer_from,
)
from amp0.cli.output import json_option, note, print_json, progress
from amp0.cli.secret import SecretSource, require_one_stdin
from amp0.cli.session import Account, open_account, open_chain, open_venue
from amp0.cli.spend import (
    Order,
    order_options,
    pset_from_file,
    pset_to_file,
    show_outputs,
    transaction_from_file,
    transaction_to_file,
    write_file,
)

if TYPE_CHECKING:
    from amp0.network import Network

in_option = click.option(
    "--in", "source", metavar="FILE", default="-", show_default="stdin", help="File of the step before."
)
out_option = click.option(
    "--out", "target", metavar="FILE", default="-", show_default="stdout", help="File for the next step."
)


@click.group()
def tx() -> None:
    """Spend in four steps, with files in between: build, sign, cosign, broadcast."""


@tx.command()
@network_options
@account_options
@chain_options
@order_options
@out_option
def build(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    chain: str | None,
    waterfalls: bool,
    data_dir: Path | None,
    order: Order,
    target: str,
) -> None:
    """Sync, choose coins, blind: makes the PSET and its blinding nonces. Next: amp0 tx sign."""
    account = Account(network, username, password, amp_id)
    with (
        open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue,
        progress("building"),
    ):
        amp0pset = order.build(network, venue.wollet, venue.amp0.frozen_outputs())
    show_outputs(amp0pset, network)
    write_file(target, pset_to_file(amp0pset))


@tx.command()
@network_options
@mnemonic_options
@in_option
@out_option
def sign(network: Network, mnemonic: SecretSource, source: str, target: str) -> None:
    """Sign with the user's key; needs no connection. Next: amp0 tx cosign."""
    from amp0.elements.pset import Amp0Pset

    if source == "-" and mnemonic.path == "-":
        raise click.UsageError("the PSET and the mnemonic cannot both come from standard input")
    amp0pset = pset_from_file(source)
    show_outputs(amp0pset, network)
    signed = signer_from(mnemonic, network).sign(amp0pset.pset())
    write_file(target, pset_to_file(Amp0Pset(signed, amp0pset.blinding_nonces())))


@tx.command()
@network_options
@account_options
@in_option
@out_option
@click.option("--txid", metavar="TXID", help="Fetch a transaction again that the server has cosigned before.")
@code_options
def cosign(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    source: str,
    target: str,
    txid: str | None,
    codes: CodeSource,
) -> None:
    """Ask the AMP0 server for its signature, and check what comes back. Next: amp0 tx broadcast.

    A wallet with a second factor is asked for a code, unless the payment is within its limit. In a script: the first
    run has the code sent and ends with exit code 53; the second, with --code-sent and --code-file, hands it in.
    """
    require_one_stdin(password, codes.secret)
    account = Account(network, username, password, amp_id)
    if txid is not None:
        from amp0.elements.hashes import Txid

        wanted = Txid(txid)
        with open_account(account) as amp0:
            transaction = amp0.cosigned(wanted)
    else:
        if source == "-" and "-" in (password.path, codes.secret.path):
            raise click.UsageError("the PSET and a password or code cannot both come from standard input")
        amp0pset = pset_from_file(source)
        with open_account(account) as amp0:
            transaction = sign_with_code(amp0, amp0pset, codes)
    note(f"cosigned: {transaction.txid()}")
    write_file(target, transaction_to_file(transaction))


@tx.command()
@network_options
@chain_url_option
@in_option
@json_option
def broadcast(network: Network, chain: str | None, source: str, as_json: bool) -> None:
    """Hand the cosigned transaction to the chain. Repeating it is harmless."""
    transaction = transaction_from_file(source)
    with open_chain(network, chain) as client:
        txid = client.broadcast(transaction)
    if as_json:
        print_json({"txid": str(txid)})
    else:
        click.echo(str(txid))
