"""``amp0 watch``: what the server tells about the account, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amp0.cli.options import account_options, network_options
from amp0.cli.output import json_option, print_json
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_account
from amp0.cli.waiting import until_stopped

if TYPE_CHECKING:
    from amp0.client.events import Event
    from amp0.network import Network


@click.command()
@network_options
@account_options
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many events; at Ctrl-C if left out.")
@json_option
def watch(
    network: Network, username: str, password: SecretSource, amp_id: str, count: int | None, as_json: bool
) -> None:
    """Print new transactions and blocks as they come, one line each, until Ctrl-C or SIGTERM.

    The first line says resync: from there on the server is listened to. Another one follows whenever events may have
    been missed, after a lost connection for example, which is made again by itself. An event only says that
    something happened; amp0 balance and amp0 transactions say what.
    """
    account = Account(network, username, password, amp_id)
    with until_stopped(), open_account(account) as amp0, amp0.events() as events:
        for number, event in enumerate(events, 1):
            facts = as_object(event)
            if as_json:
                print_json(facts)
            else:
                click.echo("  ".join(str(value) for value in facts.values()))
            if number == count:
                return


def as_object(event: Event) -> dict[str, Any]:
    """One event for programs; hashes in display hex."""
    from amp0.client.events import NewBlock, NewTransaction, Resync

    if isinstance(event, NewTransaction):
        return {"event": "transaction", "txid": str(event.txid)}
    if isinstance(event, NewBlock):
        return {
            "event": "block",
            "height": event.height,
            "hash": str(event.block_hash),
            "previous_hash": str(event.previous_hash),
        }
    if isinstance(event, Resync):
        return {"event": "resync", "reason": event.reason}
    return {"event": "wallet"}
