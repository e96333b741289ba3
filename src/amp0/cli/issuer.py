"""``amp0 issuer``: the issuer's side, from the first login to the register of holders."""

from __future__ import annotations

from pathlib import Path

import click

from amp0.cli.issuer_login import Login, login_options
from amp0.cli.output import json_option, print_facts, print_json
from amp0.cli.root import LazyGroup
from amp0.cli.secret import SecretSource, require_one_stdin, secret_options

_M, _L = "amp0.cli.issuer_money:", "amp0.cli.issuer_ledger:"
COMMANDS = {
    "create": ("amp0.cli.issuer:create", "Make an issuer at a server of yours."),
    "token": ("amp0.cli.issuer:token", "Print the token, for other tools."),
    "password": ("amp0.cli.issuer:password", "Set a new password."),
    "events": ("amp0.cli.issuer:events", "What was changed, by whom and when."),
    "asset": ("amp0.cli.issuer_assets:asset", "Issue, look, reissue, burn, lock."),
    "user": ("amp0.cli.issuer_holders:user", "Registered users and their AMP accounts."),
    "category": ("amp0.cli.issuer_holders:category", "Categories of users, and what requires them."),
    "gaid": ("amp0.cli.issuer_holders:gaid", "AMP accounts, by their AMP ID."),
    "assign": (_M + "assign", "Assign units to a user."),
    "assignments": (_M + "assignments", "List assignments."),
    "assignment": (_M + "assignment", "Lock, unlock or delete one."),
    "distribute": (_M + "distribute", "Pay what is assigned."),
    "distributions": (_M + "distributions", "List distributions."),
    "cancel-distribution": (_M + "cancel_distribution", "Free what no wallet has paid."),
    "treasury": (_M + "treasury", "Addresses of the treasury."),
    "holders": (_L + "holders", "Who holds how much: now, or at a height."),
    "balance": (_L + "balance", "Confirmed holdings, and whether anything is lost."),
    "summary": (_L + "summary", "An asset in figures."),
    "activities": (_L + "activities", "Outputs that moved the asset."),
    "txs": (_L + "txs", "Transactions of the asset."),
    "utxos": (_L + "utxos", "Unspent outputs, and whose they are."),
    "blacklist": (_L + "blacklist", "Freeze outputs."),
    "whitelist": (_L + "whitelist", "End that."),
    "lost-outputs": (_L + "lost_outputs", "What the ledger lost sight of, and finding it."),
    "rules": ("amp0.cli.issuer_rules:rules", "What transfers are allowed, and what was refused."),
    "manager": ("amp0.cli.issuer_managers:manager", "People who work for an issuer."),
}
_new_password = secret_options("new-password", "the new password")


@click.group(cls=LazyGroup, lazy=COMMANDS)
def issuer() -> None:
    """Issue assets, say who may hold them, and see who does.

    The server at --url keeps the register and decides about transfers; the units that nobody holds yet are in a wallet
    of your own, the treasury: an Elements node (--node). docs/issuer.md walks through all of it.

    \b
        amp0 issuer asset list --username issuer --password-file password
    """


@click.command()
@click.argument("name")
@click.option("--person", metavar="NAME", help="Who is behind the login, where that is not its name.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder of the server, which may be running; else its AMP0_… settings say where the database is.",
)
@click.option(
    "--dev-url", metavar="URL", help="Ask the local stack whose chain is at this URL (http://127.0.0.1:3000)."
)
@secret_options("password", "the new issuer's password")
@json_option
def create(
    name: str, person: str | None, data_dir: Path | None, dev_url: str | None, password: SecretSource, as_json: bool
) -> None:
    """Make an issuer called NAME. Run it where the server's database is.

    \b
        amp0 issuer create bonds --data-dir /var/lib/amp0 --password-file password
        amp0 issuer create bonds --dev-url http://127.0.0.1:3000
    """
    if dev_url is not None and (data_dir is not None or person is not None):
        raise click.UsageError("--dev-url goes with neither --data-dir nor --person")
    secret = password.read(confirm=True)
    if dev_url is not None:
        from amp0.local.dev_client import DevClient

        with DevClient(dev_url) as dev:
            made = dev.create_issuer(name, secret)
    else:
        made = _create(data_dir, name, secret, person)
    if as_json:
        print_json({"id": made, "username": name})
    else:
        print_facts([("issuer", name), ("id", made)])


def _create(data_dir: Path | None, name: str, password: str, person: str | None) -> int:
    """In the server's own database. SQLite and PostgreSQL let us beside a running server."""
    import os
    import time

    from amp0.errors import ConfigError, InvalidInput
    from amp0.server.issuer.principals import create_issuer
    from amp0.server.issuer.refusals import WrongFields
    from amp0.server.settings import Settings
    from amp0.server.store.engine import Store

    settings = Settings.from_environment(data_dir=data_dir)
    if settings.database_url is None:
        if settings.data_dir is None:
            raise click.UsageError("give --data-dir, or --dev-url for a local stack")
        if not (settings.data_dir / "amp0.sqlite").exists():
            raise ConfigError(f"there is no database in {settings.data_dir}; start the server once (amp0 server run)")
    store = Store.open(settings.store_url())
    try:
        with store.transaction() as db:
            return create_issuer(db, os.urandom, name, password, int(time.time()), person=person)
    except WrongFields as refused:
        raise InvalidInput(str(refused)) from None
    finally:
        store.close()


@click.command()
@login_options
@click.option("--fresh", is_flag=True, help="Another one: those before are worth nothing from then on.")
def token(login: Login, fresh: bool) -> None:
    """Print the token of a login, for other tools. Who has it can do all that the login can."""
    with login.open() as client:
        text = client.refresh_token() if fresh else client.token()
    if login.as_json:
        print_json({"token": text})
    else:
        click.echo(text)


@click.command()
@login_options
@_new_password
def password(login: Login, new_password: SecretSource) -> None:
    """Set a new password for your login; tokens from before end."""
    require_one_stdin(login.password, new_password)
    with login.open() as client:
        client.change_password(new_password.read(confirm=True))
    login.done("the password is set", username=login.username)


@click.command()
@login_options
@click.option("--count", type=click.IntRange(min=1), help="At most so many.")
def events(login: Login, count: int | None) -> None:
    """List what was changed, by whom and when, newest first."""
    with login.open() as client:
        found = client.events(count=count)
    login.show(found, ["at", "username", "action", "asset_uuid", "detail"])
