"""``amp0 address``: addresses come from the server, which cosigns only for those it has issued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amp0.cli.options import account_options, network_options
from amp0.cli.output import json_option, print_json, print_table
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_account

if TYPE_CHECKING:
    from amp0.elements.address import AddressResult
    from amp0.network import Network


@click.group()
def address() -> None:
    """Addresses, always from the server."""


@address.command()
@network_options
@account_options
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many.")
@json_option
def new(network: Network, username: str, password: SecretSource, amp_id: str, count: int, as_json: bool) -> None:
    """Ask the server for the next unused address."""
    with open_account(Account(network, username, password, amp_id)) as amp0:
        show_addresses([amp0.address(None) for _ in range(count)], as_json)


@address.command()
@network_options
@account_options
@click.argument("index", type=click.IntRange(1, 2**31 - 1), nargs=-1, required=True)
@json_option
def show(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    index: tuple[int, ...],
    as_json: bool,
) -> None:
    """Show addresses the server has issued before, by INDEX."""
    with open_account(Account(network, username, password, amp_id)) as amp0:
        show_addresses([amp0.address(i) for i in index], as_json)


def show_addresses(results: list[AddressResult], as_json: bool) -> None:
    """Index and address, as a table or as a JSON list."""
    rows = [(result.index(), str(result.address())) for result in results]
    if as_json:
        print_json([{"index": index, "address": text} for index, text in rows])
    else:
        print_table(["index", "address"], rows)
