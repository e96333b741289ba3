"""``amp0 server acknowledge``: after a database was put back from a copy."""

from __future__ import annotations

from typing import Any

import click

from amp0.cli.output import print_json
from amp0.cli.server_wallet import server_options


@click.command()
@server_options
@click.option("--yes", is_flag=True, help="Sign again. Without it, only say what was found.")
def acknowledge(settings: dict[str, Any], yes: bool, as_json: bool) -> None:
    """Say that you know the database is older than its chain, and let the server sign again.

    The server stops signing when the chain has what its database does not: the database was put back from a copy, a
    second server has the same keys, or they were stolen. Find out which before you go on. Assets that were issued
    meanwhile are not signed for all the same: their rules are lost. The server may be running.
    """
    from amp0.elements.hashes import asset_id_to_str
    from amp0.server import behind
    from amp0.server.issuer import fee_keys
    from amp0.server.settings import Settings

    store = fee_keys.open_store(Settings.from_environment(**settings))
    try:
        with store.transaction() as db:
            found = behind.acknowledge(db) if yes else behind.found(db)
            lost = [asset_id_to_str(asset) for asset in behind.lost_assets(db)]
    finally:
        store.close()
    if as_json:
        print_json({"found": found, "acknowledged": yes and found is not None, "lost_assets": lost})
        return
    click.echo("nothing was found" if found is None else found)
    for asset in lost:
        click.echo(f"never signed for, its rules are lost: {asset}")
    if found is not None:
        click.echo("acknowledged: the server signs again" if yes else "the server signs nothing; see --yes", err=True)
