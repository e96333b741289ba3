"""``amp0 transactions``: sync, and show what came and went."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from amp0.cli.options import account_options, chain_options, network_options
from amp0.cli.output import asset_name, json_option, print_json, print_table
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_venue

if TYPE_CHECKING:
    from amp0.network import Network
    from amp0.wallet.wollet import WalletTx


@click.command()
@network_options
@account_options
@chain_options
@json_option
def transactions(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    chain: str | None,
    waterfalls: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Sync, and show what came and went, newest first."""
    account = Account(network, username, password, amp_id)
    with open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue:
        history = list(venue.wollet.transactions())
    if as_json:
        print_json([as_object(row) for row in history])
        return
    rows: list[tuple[object, ...]] = []
    for row in history:
        for place, (asset, net) in enumerate(sorted(row.balance().items())):
            first = (row.txid(), row.type(), row.height(), _when(row.timestamp()), row.fee())
            rows.append((*(first if place == 0 else ("",) * len(first)), asset_name(asset, network), net))
    print_table(["txid", "type", "height", "time", "fee", "asset", "net"], rows)


def as_object(row: WalletTx) -> dict[str, Any]:
    """One transaction for programs; amounts in satoshi, net of what stayed with the account."""
    return {
        "txid": str(row.txid()),
        "type": row.type(),
        "height": row.height(),
        "timestamp": row.timestamp(),
        "fee": row.fee(),
        "balance": dict(row.balance()),
    }


def _when(timestamp: int | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
