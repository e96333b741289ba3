"""``amp0 balance``: sync, and show what the account holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.options import account_options, chain_options, network_options
from amp0.cli.output import asset_name, json_option, print_json, print_table
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_venue

if TYPE_CHECKING:
    from amp0.network import Network


@click.command()
@network_options
@account_options
@chain_options
@json_option
def balance(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    chain: str | None,
    waterfalls: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Sync, and show what the account holds, in satoshi per asset."""
    account = Account(network, username, password, amp_id)
    with open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue:
        balances = dict(venue.wollet.balance())
    if as_json:
        print_json(balances)
    else:
        rows = sorted(balances.items(), key=lambda row: (row[0] != network.policy_asset(), row[0]))
        print_table(["asset", "satoshi"], [(asset_name(asset, network), amount) for asset, amount in rows])
