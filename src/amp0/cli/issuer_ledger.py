"""``amp0 issuer holders``, ``balance``, ``txs`` and the like: where every unit is."""

from __future__ import annotations

import csv
import sys
from typing import Any

import click

from amp0.cli.issuer_login import Login, Node, asset_argument, login_options, node_options, uuid_of
from amp0.cli.output import print_json

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "|")
"""What a spreadsheet takes for the beginning of a formula."""


@click.command()
@login_options
@asset_argument
@click.option("--at-height", metavar="HEIGHT", type=click.IntRange(min=0), help="After this block, and not now.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for a spreadsheet, with the users' names.")
def holders(login: Login, asset: str, at_height: int | None, as_csv: bool) -> None:
    """Show who holds how much, the treasury first: the register of holders.

    \b
        amp0 issuer holders EXB --at-height 3141592 --csv --username issuer > register.csv
    """
    with login.open() as client:
        found = client.ownerships(uuid_of(client, asset), at_height)
        names = {} if login.as_json else {str(row.id): row.name for row in client.users()}
    rows: list[dict[str, Any]] = [
        {
            "owner": row.owner,
            "name": names.get(row.owner or "", "treasury" if row.gaid is None else None),
            "GAID": row.gaid,
            "amount": row.amount,
        }
        for row in found
    ]
    if login.as_json:
        login.show(found)
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(["owner", "name", "GAID", "satoshi"])
        writer.writerows([_harmless(value) for value in row.values()] for row in rows)
    else:
        login.show(rows, ["owner", "name", "GAID", "amount"])


def _harmless(value: object) -> object:
    """A cell that no spreadsheet runs: a name may begin like a formula."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(_RISKY) else value


@click.command()
@login_options
@asset_argument
def balance(login: Login, asset: str) -> None:
    """Show confirmed holdings, and say whether the ledger lost sight of anything."""
    with login.open() as client:
        found = client.balance(uuid_of(client, asset))
    if login.as_json:
        login.show(found)
        return
    login.show(found.confirmed_balance, ["owner", "GAID", "amount"])
    lost = [*found.lost_outputs, *found.reissuance_lost_outputs]
    click.echo(f"{len(lost)} lost outputs" + ("; see amp0 issuer lost-outputs" if lost else ""))


@click.command()
@login_options
@asset_argument
def summary(login: Login, asset: str) -> None:
    """Show an asset in figures."""
    with login.open() as client:
        login.show(client.summary(uuid_of(client, asset)))


_count = click.option("--count", type=click.IntRange(min=1), help="At most so many.")
_start = click.option("--start", type=click.IntRange(min=0), help="Leave out so many first.")
_newest = click.option("--newest-first", is_flag=True, help="The other way round.")


@click.command()
@login_options
@asset_argument
@_start
@_count
@_newest
def activities(login: Login, asset: str, start: int | None, count: int | None, newest_first: bool) -> None:
    """List outputs that moved the asset, oldest first."""
    order: Any = "desc" if newest_first else None
    with login.open() as client:
        found = client.activities(uuid_of(client, asset), start=start, count=count, sortorder=order)
    login.show(found, ["datetime", "type", "amount", "registered_user", "GAID", "txid", "vout"])


@click.command()
@login_options
@asset_argument
@_start
@_count
@_newest
def txs(login: Login, asset: str, start: int | None, count: int | None, newest_first: bool) -> None:
    """List confirmed transactions of the asset, oldest first."""
    order: Any = "desc" if newest_first else None
    with login.open() as client:
        found = client.txs(uuid_of(client, asset), start=start, count=count, sortorder=order)
    login.show(found, ["datetime", "blockheight", "is_issuance", "is_reissuance", "is_distribution", "txid"])


@click.command()
@login_options
@asset_argument
@click.option("--gaid", metavar="GAID", help="Only those of this AMP account.")
def utxos(login: Login, asset: str, gaid: str | None) -> None:
    """List unspent outputs of the asset, and whose they are."""
    with login.open() as client:
        found = [row for row in client.utxos(uuid_of(client, asset)) if gaid in (None, row.gaid)]
    login.show(found, ["txid", "vout", "amount", "registered_user", "gaid", "blacklisted"])


_outpoints = click.argument("outpoints", metavar="TXID:VOUT…", nargs=-1)


@click.command()
@login_options
@asset_argument
@_outpoints
@click.option("--gaid", metavar="GAID", help="All that this AMP account has now: its wallet is lost, or stolen.")
def blacklist(login: Login, asset: str, outpoints: tuple[str, ...], gaid: str | None) -> None:
    """Have no transfer cosigned that spends these outputs.

    What an account receives later is not among them; user freeze holds everything of somebody.
    """
    _mark(login, asset, outpoints, gaid, "blacklist")


@click.command()
@login_options
@asset_argument
@_outpoints
@click.option("--gaid", metavar="GAID", help="All that this AMP account has.")
def whitelist(login: Login, asset: str, outpoints: tuple[str, ...], gaid: str | None) -> None:
    """Take outputs off the blacklist; that may have to wait."""
    _mark(login, asset, outpoints, gaid, "whitelist")


def _mark(login: Login, asset: str, outpoints: tuple[str, ...], gaid: str | None, verb: str) -> None:
    from amp0.errors import InvalidInput
    from amp0.issuer import Outpoint

    if bool(outpoints) == (gaid is not None):
        raise click.UsageError("give outputs as TXID:VOUT, or --gaid")
    chosen = []
    for text in outpoints:
        txid, _, vout = text.partition(":")
        if len(txid) != 64 or not vout.isdigit():
            raise click.UsageError(f"{text[:80]!r} is not TXID:VOUT")
        chosen.append(Outpoint(txid=txid.lower(), vout=int(vout)))
    with login.open() as client:
        uuid = uuid_of(client, asset)
        if gaid is not None:
            # A mistyped one has no outputs either, and a stolen wallet would seem to be frozen.
            if not client.validate_gaid(gaid).is_valid:
                raise InvalidInput(f"{gaid[:80]!r} is no AMP ID of an account here; nothing was done")
            chosen = [Outpoint(txid=row.txid, vout=row.vout) for row in client.utxos(uuid) if row.gaid == gaid]
        found = (client.blacklist if verb == "blacklist" else client.whitelist)(uuid, chosen) if chosen else []
    login.show(found, ["txid", "vout", "amount", "registered_user", "gaid", "blacklisted"])
    if not chosen:
        login.remark("this account has nothing of the asset: nothing was done")
    elif verb == "whitelist" and any(row.blacklisted for row in found):
        login.waits(asset)


@click.command("lost-outputs")
@login_options
@node_options(required=False)
@asset_argument
def lost_outputs(login: Login, node: Node | None, asset: str) -> None:
    """List outputs that the ledger lost sight of; nothing is sent while there are any.

    With --node-auth-file the blinders that the treasury's wallet knows of them are handed in first.
    """
    with login.open() as client:
        uuid = uuid_of(client, asset)
        found = [] if node is None else client.find_lost_outputs(uuid, node.treasury)
        lost = client.lost_outputs(uuid)
    if login.as_json:
        print_json(
            {
                "found": [f"{one.txid}:{one.vout}" for one in found],
                "lost_outputs": [f"{one.txid}:{one.vout}" for one in lost.lost_outputs],
                "reissuance_lost_outputs": [f"{one.txid}:{one.vout}" for one in lost.reissuance_lost_outputs],
            }
        )
        return
    rows = [
        {"state": state, "output": f"{one.txid}:{one.vout}"}
        for state, outpoints in (
            ("found", found),
            ("lost", lost.lost_outputs),
            ("lost token", lost.reissuance_lost_outputs),
        )
        for one in outpoints
    ]
    if rows:
        login.show(rows, ["state", "output"])
    else:
        click.echo("nothing is lost")
