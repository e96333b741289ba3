"""``amp0 issuer assign``, ``distribute`` and ``treasury``: units on their way out of the treasury."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from amp0.cli.issuer_login import (
    Login,
    Node,
    asset_argument,
    login_options,
    node_options,
    plain,
    state_dir_option,
    state_folder,
    uuid_of,
)
from amp0.cli.options import satoshi_amount

_assignment = click.argument("assignment", type=click.IntRange(min=1))
_addresses = click.argument("addresses", metavar="ADDRESS…", nargs=-1, required=True)
_COLUMNS = ["id", "registered_user", "amount", "ready_for_distribution", "has_vested", "distribution_uuid",
            "is_distributed"]  # fmt: skip


@click.command()
@login_options
@asset_argument
@click.argument("user", type=click.IntRange(min=1))
@click.argument("satoshi", type=satoshi_amount)
@click.option(
    "--vesting",
    metavar="TIME",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Not to be paid before this, in UTC: 2027-01-31 or 2027-01-31T12:00:00Z.",
)
@click.option("--not-ready", is_flag=True, help="Leave it out of distributions until assignment unlock.")
def assign(login: Login, asset: str, user: int, satoshi: int, vesting: datetime | None, not_ready: bool) -> None:
    """Assign SATOSHI to a registered USER, for the next distribution to pay.

    \b
        amp0 issuer assign EXB 7 250000 --username issuer
        amp0 issuer distribute EXB --node-auth-file cookie --username issuer
    """
    when = None if vesting is None else int(vesting.replace(tzinfo=UTC).timestamp())
    with login.open() as client:
        uuid = uuid_of(client, asset)
        login.show(client.assign(uuid, user, satoshi, ready=not not_ready, vesting_timestamp=when))


@click.command()
@login_options
@asset_argument
@click.option("--distributed/--waiting", "distributed", default=None, help="Only those that are paid, or are not.")
def assignments(login: Login, asset: str, distributed: bool | None) -> None:
    """List assignments."""
    with login.open() as client:
        found = client.assignments(uuid_of(client, asset), distributed=distributed)
    login.show(found, _COLUMNS)


@click.group()
def assignment() -> None:
    """One assignment that is not distributed yet."""


@assignment.command("lock")
@login_options
@asset_argument
@_assignment
def lock_assignment(login: Login, asset: str, assignment: int) -> None:
    """Leave an assignment out of distributions."""
    with login.open() as client:
        login.show(client.lock_assignment(uuid_of(client, asset), assignment))


@assignment.command("unlock")
@login_options
@asset_argument
@_assignment
def unlock_assignment(login: Login, asset: str, assignment: int) -> None:
    """Make an assignment ready for the next distribution."""
    with login.open() as client:
        login.show(client.unlock_assignment(uuid_of(client, asset), assignment))


@assignment.command("delete")
@login_options
@asset_argument
@_assignment
def delete_assignment(login: Login, asset: str, assignment: int) -> None:
    """Take an assignment back."""
    with login.open() as client:
        client.delete_assignment(uuid_of(client, asset), assignment)
    login.done("deleted", deleted=assignment)


# --- distributions ---------------------------------------------------------------------------------


@click.command()
@login_options
@node_options()
@asset_argument
@click.option("--use-existing", metavar="TXID", help="Confirm this payment of the wallet; nothing is sent.")
@state_dir_option
def distribute(login: Login, node: Node, asset: str, use_existing: str | None, state_dir: Path | None) -> None:
    """Pay every assignment that is ready and vested: asks the server, has the node pay, waits, confirms.

    After a crash run it again: what the wallet has paid already is finished, not repeated. While one run is at it,
    another one with the same --state-dir refuses.
    """
    with login.resumable(), login.open() as client:
        done = client.distribute(
            uuid_of(client, asset),
            node.treasury,
            state_dir=state_folder(state_dir),
            use_existing=use_existing,
            report=login.told,
        )
    login.show(done, ["distribution_uuid", "satoshi", "resumed", "txid"])


@click.command()
@login_options
@asset_argument
def distributions(login: Login, asset: str) -> None:
    """List distributions, those that were never paid included."""
    with login.open() as client:
        uuid = uuid_of(client, asset)
        found = client.distributions(uuid)
        # Of what is not confirmed only the assignments say how much it is.
        waiting = [] if login.as_json else client.assignments(uuid, distributed=False)
    if login.as_json:
        login.show(found)
        return
    rows = [
        {
            "distribution_uuid": row.distribution_uuid,
            "status": row.distribution_status,
            "amount": sum(paid.amount for tx in row.transactions for paid in tx.assignments)
            + sum(one.amount for one in waiting if one.distribution_uuid == row.distribution_uuid),
            "txid": ", ".join(tx.txid for tx in row.transactions) or None,
            "transaction_status": ", ".join(tx.transaction_status for tx in row.transactions) or None,
        }
        for row in found
    ]
    login.show(rows, ["distribution_uuid", "status", "amount", "txid", "transaction_status"])


@click.command()
@login_options
@asset_argument
@click.argument("distribution")
def cancel_distribution(login: Login, asset: str, distribution: str) -> None:
    """Free the assignments of a DISTRIBUTION that no wallet has paid, nor will."""
    with login.open() as client:
        client.cancel_distribution(uuid_of(client, asset), distribution)
    login.done("cancelled", cancelled=distribution)


# --- treasury --------------------------------------------------------------------------------------


@click.group()
def treasury() -> None:
    """Treasury addresses: what they hold is the issuer's own, and holders may send to them."""


@treasury.command("list")
@login_options
@asset_argument
def list_addresses(login: Login, asset: str) -> None:
    """List treasury addresses."""
    with login.open() as client:
        found = client.treasury_addresses(uuid_of(client, asset))
    if login.as_json:
        login.show(found)
    else:
        for address in found:
            click.echo(plain(address))


@treasury.command("add")
@login_options
@asset_argument
@_addresses
def add_addresses(login: Login, asset: str, addresses: tuple[str, ...]) -> None:
    """Add addresses of your own wallet; that may have to wait."""
    from amp0.elements.address import Address

    with login.open() as client:
        uuid = uuid_of(client, asset)
        client.add_treasury_addresses(uuid, addresses)
        effective = login.as_json or {str(Address(one)) for one in addresses} <= set(client.treasury_addresses(uuid))
    if effective:
        login.done("added", addresses=addresses)
    else:
        login.waits(asset)


@treasury.command("remove")
@login_options
@asset_argument
@_addresses
def remove_addresses(login: Login, asset: str, addresses: tuple[str, ...]) -> None:
    """Have holders no longer send to ADDRESS…; what it holds stays yours."""
    with login.open() as client:
        client.remove_treasury_addresses(uuid_of(client, asset), addresses)
    login.done("removed", addresses=addresses)
