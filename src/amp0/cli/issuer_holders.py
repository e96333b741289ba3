"""``amp0 issuer user``, ``category`` and ``gaid``: who may hold."""

from __future__ import annotations

import click

from amp0.cli.issuer_login import Login, asset_argument, login_options, plain, uuid_of

_user = click.argument("user", type=click.IntRange(min=1))
_category = click.argument("category", type=click.IntRange(min=1))
_gaid = click.argument("gaid", metavar="GAID")
_USER_COLUMNS = ["id", "name", "GAID", "is_company", "is_frozen", "categories"]
_CATEGORY_COLUMNS = ["id", "name", "description", "registered_users", "assets"]


@click.group()
def user() -> None:
    """Registered users: people and companies, and the AMP accounts (GAIDs) that are theirs."""


@user.command("add")
@login_options
@click.argument("name")
@click.option("--gaid", metavar="GAID", help="AMP ID of their account; more with add-gaid.")
@click.option("--company", is_flag=True, help="It is a company.")
def add_user(login: Login, name: str, gaid: str | None, company: bool) -> None:
    """Register somebody called NAME.

    \b
        amp0 issuer user add "Alice Example" --gaid GA2zxWdhAYtREeYCVFTGRhHQmYMPAP --username issuer
    """
    with login.open() as client:
        login.show(client.add_user(name, gaid=gaid, is_company=company))


@user.command("list")
@login_options
def list_users(login: Login) -> None:
    """List registered users."""
    with login.open() as client:
        login.show(client.users(), _USER_COLUMNS)


@user.command("show")
@login_options
@_user
def show_user(login: Login, user: int) -> None:
    """Show a registered user."""
    with login.open() as client:
        login.show(client.user(user))


@user.command("summary")
@login_options
@_user
def summarise_user(login: Login, user: int) -> None:
    """Show what a user was assigned, was paid and holds, of each asset."""
    with login.open() as client:
        login.show(client.user_summary(user), ["asset_uuid", "assignments_sum", "distributions_sum", "balance"])


@user.command("edit")
@login_options
@_user
@click.argument("name")
def edit_user(login: Login, user: int, name: str) -> None:
    """Give a user another NAME."""
    with login.open() as client:
        login.show(client.edit_user(user, name))


@user.command("delete")
@login_options
@_user
def delete_user(login: Login, user: int) -> None:
    """Delete a user. Their GAIDs cannot be anybody else's afterwards."""
    with login.open() as client:
        client.delete_user(user)
    login.done("deleted", deleted=user)


@user.command("freeze")
@login_options
@_user
def freeze_user(login: Login, user: int) -> None:
    """Have a user neither send nor receive anything you issued, from now on."""
    with login.open() as client:
        login.show(client.freeze_user(user))


@user.command("unfreeze")
@login_options
@_user
def unfreeze_user(login: Login, user: int) -> None:
    """End that."""
    with login.open() as client:
        login.show(client.unfreeze_user(user))


@user.command("gaids")
@login_options
@_user
def list_gaids(login: Login, user: int) -> None:
    """List a user's GAIDs."""
    with login.open() as client:
        found = client.user_gaids(user)
    if login.as_json:
        login.show(found)
    else:
        for gaid in found:
            click.echo(plain(gaid))


@user.command("add-gaid")
@login_options
@_user
@_gaid
@click.option("--default", "default", is_flag=True, help="Pay distributions there from now on.")
def add_gaid(login: Login, user: int, gaid: str, default: bool) -> None:
    """Give a user one more AMP account."""
    with login.open() as client:
        client.add_gaid(user, gaid)
        if default:
            client.set_default_gaid(user, gaid)
        login.show(client.user(user))


@user.command("default-gaid")
@login_options
@_user
@_gaid
def default_gaid(login: Login, user: int, gaid: str) -> None:
    """Pay a user's distributions at another of their GAIDs."""
    with login.open() as client:
        client.set_default_gaid(user, gaid)
        login.show(client.user(user))


# --- categories ------------------------------------------------------------------------------------


@click.group()
def category() -> None:
    """Categories of users. An asset may require some: who receives it is in all of them."""


@category.command("add")
@login_options
@click.argument("name")
@click.option("--description", metavar="TEXT", help="What it means.")
def add_category(login: Login, name: str, description: str | None) -> None:
    """Make a category called NAME.

    \b
        amp0 issuer category add accredited --username issuer
        amp0 issuer category add-user 1 7 --username issuer
        amp0 issuer category add-asset 1 EXB --username issuer
    """
    with login.open() as client:
        login.show(client.add_category(name, description))


@category.command("list")
@login_options
def list_categories(login: Login) -> None:
    """List categories."""
    with login.open() as client:
        login.show(client.categories(), _CATEGORY_COLUMNS)


@category.command("show")
@login_options
@_category
def show_category(login: Login, category: int) -> None:
    """Show a category."""
    with login.open() as client:
        login.show(client.category(category))


@category.command("edit")
@login_options
@_category
@click.option("--name", help="What it is called from now on.")
@click.option("--description", metavar="TEXT", help="What it means.")
def edit_category(login: Login, category: int, name: str | None, description: str | None) -> None:
    """Call a category otherwise."""
    with login.open() as client:
        login.show(client.edit_category(category, name=name, description=description))


@category.command("delete")
@login_options
@_category
def delete_category(login: Login, category: int) -> None:
    """Delete a category."""
    with login.open() as client:
        client.delete_category(category)
    login.done("deleted", deleted=category)


@category.command("add-user")
@login_options
@_category
@_user
def add_category_user(login: Login, category: int, user: int) -> None:
    """Put a user into a category."""
    with login.open() as client:
        login.show(client.add_category_user(category, user))


@category.command("remove-user")
@login_options
@_category
@_user
def remove_category_user(login: Login, category: int, user: int) -> None:
    """Take a user out of a category. What they hold stays theirs; they receive no more."""
    with login.open() as client:
        login.show(client.remove_category_user(category, user))


@category.command("add-asset")
@login_options
@_category
@asset_argument
def add_category_asset(login: Login, category: int, asset: str) -> None:
    """Have an asset require a category."""
    with login.open() as client:
        login.show(client.add_category_asset(category, uuid_of(client, asset)))


@category.command("remove-asset")
@login_options
@_category
@asset_argument
def remove_category_asset(login: Login, category: int, asset: str) -> None:
    """Have an asset require a category no longer; that may have to wait."""
    with login.open() as client:
        uuid = uuid_of(client, asset)
        found = client.remove_category_asset(category, uuid)
    login.show(found)
    if uuid in found.assets:
        login.waits(asset)


# --- GAIDs -----------------------------------------------------------------------------------------


@click.group()
def gaid() -> None:
    """AMP accounts, by their AMP ID."""


@gaid.command("check")
@login_options
@_gaid
def check_gaid(login: Login, gaid: str) -> None:
    """Say whether a GAID names an AMP account of this server."""
    with login.open() as client:
        login.show(client.validate_gaid(gaid))


@gaid.command("owner")
@login_options
@_gaid
def show_owner(login: Login, gaid: str) -> None:
    """Show which of your users a GAID belongs to."""
    with login.open() as client:
        login.show(client.gaid_user(gaid))


@gaid.command("balance")
@login_options
@_gaid
def show_balance(login: Login, gaid: str) -> None:
    """Show what an AMP account holds of each of your assets."""
    with login.open() as client:
        login.show(client.gaid_balances(gaid), ["asset_uuid", "asset_id", "balance"])


@gaid.command("address")
@login_options
@_gaid
def new_address(login: Login, gaid: str) -> None:
    """Get a fresh address of an AMP account; each call uses one up."""
    with login.open() as client:
        login.show(client.gaid_address(gaid))
