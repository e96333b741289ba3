"""``amp0 issuer manager``: people who work for an issuer."""

from __future__ import annotations

import click

from amp0.cli.issuer_login import Login, asset_argument, login_options, uuid_of
from amp0.cli.secret import SecretSource, require_one_stdin, secret_options

_manager = click.argument("manager", metavar="ID", type=click.IntRange(min=1))
_new_password = secret_options("new-password", "the new password")


@click.group()
def manager() -> None:
    """Managers: logins of people who work for this issuer, each on some of the assets."""


@manager.command()
@login_options
@click.argument("name")
@click.option("--person", metavar="NAME", help="Who is behind it, where that is not its name.")
@_new_password
def create(login: Login, name: str, person: str | None, new_password: SecretSource) -> None:
    """Make a login called NAME. It begins locked, with no asset: see unlock and add-asset."""
    require_one_stdin(login.password, new_password)
    with login.open() as client:
        login.show(client.create_manager(name, new_password.read(confirm=True), person=person))


@manager.command("list")
@login_options
def list_managers(login: Login) -> None:
    """List managers."""
    with login.open() as client:
        login.show(client.managers(), ["id", "username", "person", "is_locked", "assets"])


@manager.command()
@login_options
def me(login: Login) -> None:
    """Show the manager whose login this is."""
    with login.open() as client:
        login.show(client.me())


@manager.command()
@login_options
@_manager
def lock(login: Login, manager: int) -> None:
    """Take a manager's access away at once."""
    with login.open() as client:
        login.show(client.lock_manager(manager))


@manager.command()
@login_options
@_manager
def unlock(login: Login, manager: int) -> None:
    """Give a manager access."""
    with login.open() as client:
        login.show(client.unlock_manager(manager))


@manager.command("add-asset")
@login_options
@_manager
@asset_argument
def add_asset(login: Login, manager: int, asset: str) -> None:
    """Let a manager work on an asset."""
    with login.open() as client:
        login.show(client.add_manager_asset(manager, uuid_of(client, asset)))


@manager.command("remove-asset")
@login_options
@_manager
@asset_argument
def remove_asset(login: Login, manager: int, asset: str) -> None:
    """Let a manager no longer work on an asset."""
    with login.open() as client:
        login.show(client.remove_manager_asset(manager, uuid_of(client, asset)))


@manager.command()
@login_options
@_manager
@_new_password
def password(login: Login, manager: int, new_password: SecretSource) -> None:
    """Set a manager's password."""
    require_one_stdin(login.password, new_password)
    with login.open() as client:
        client.change_manager_password(manager, new_password.read(confirm=True))
    login.done("the password is set", manager=manager)
