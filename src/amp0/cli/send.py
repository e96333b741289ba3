"""``amp0 send``: build, sign, cosign and broadcast in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.code import CodeSource, code_options, sign_with_code
from amp0.cli.options import account_options, chain_options, mnemonic_options, network_options, signer_from
from amp0.cli.output import json_option, note, print_json, progress
from amp0.cli.secret import SecretSource, require_one_stdin
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
@code_options
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
    codes: CodeSource,
    as_json: bool,
) -> None:
    """Build, sign, cosign and broadcast in one go.

    A wallet with a second factor is asked for a code, unless the payment is within its limit: on a terminal, or from
    --code-file or --code-fd, which are read once the code was sent.

    Before anything is signed the server is asked whether it would agree; what the rules of an asset do not allow ends
    here, with the reasons.

    For a mnemonic on another machine use amp0 tx, one step at a time.
    """
    from amp0.elements.pset import Amp0Pset

    require_one_stdin(mnemonic, password, codes.secret)
    signer = signer_from(mnemonic, network)
    account = Account(network, username, password, amp_id)
    with open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue:
        with progress("building"):
            amp0pset = order.build(network, venue.wollet, venue.amp0.frozen_outputs())
        show_outputs(amp0pset, network)
        with progress("asking the AMP0 server"):
            venue.amp0.require_allowed(amp0pset)
        signed = Amp0Pset(signer.sign(amp0pset.pset()), amp0pset.blinding_nonces())
        transaction = sign_with_code(venue.amp0, signed, codes)
        txid = venue.chain.broadcast(transaction)
    fee = transaction.fee(network.policy_asset())
    if as_json:
        print_json({"txid": str(txid), "fee": fee})
    else:
        click.echo(str(txid))
        note(f"fee {fee} satoshi")
