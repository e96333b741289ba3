"""``amp0 issuer rules``: what an asset's policy allows, how that changes, and what it refused."""

from __future__ import annotations

import json
from typing import Any

import click

from amp0.cli.issuer_login import Login, asset_argument, login_options, uuid_of

_rule = click.argument("rule", type=click.IntRange(min=1))
_change = click.argument("change", type=click.IntRange(min=1))
_parameters = click.argument("parameters", metavar="[NAME=VALUE]…", nargs=-1)
_CHANGE_COLUMNS = ["id", "action", "content", "state", "loosens", "not_before", "approvals", "required_approvals"]


@click.group()
def rules() -> None:
    """Rules of an asset, beside those that always hold (docs/policy.md lists the tags).

    What tightens takes effect at once. What loosens waits as long, and for as many other persons, as the asset's
    policy says.
    """


@rules.command("list")
@login_options
@asset_argument
def list_rules(login: Login, asset: str) -> None:
    """List the rules in force."""
    with login.open() as client:
        login.show(client.rules(uuid_of(client, asset)), ["id", "tag", "parameters", "created_at"])


@rules.command()
@login_options
@asset_argument
@click.argument("tag")
@_parameters
def add(login: Login, asset: str, tag: str, parameters: tuple[str, ...]) -> None:
    """Add a rule: its TAG, and its parameters as NAME=VALUE (numbers and lists as in JSON).

    \b
        amp0 issuer rules add EXB transfer_limit satoshi=50000 --username issuer
    """
    with login.open() as client:
        login.show(client.add_rule(uuid_of(client, asset), tag, _values(parameters)))


@rules.command("try")
@login_options
@asset_argument
@click.argument("tag")
@_parameters
def try_rule(login: Login, asset: str, tag: str, parameters: tuple[str, ...]) -> None:
    """Find out what a rule would do, without setting it.

    It is tried on the newest transfers on record, and on today's holders: how many of them could not redeem all they
    have, and how many could not be sent one satoshi more.
    """
    with login.open() as client:
        login.show(client.try_rule(uuid_of(client, asset), tag, _values(parameters)))


@rules.command()
@login_options
@asset_argument
@_rule
@click.argument("tag")
@_parameters
def edit(login: Login, asset: str, rule: int, tag: str, parameters: tuple[str, ...]) -> None:
    """Put a rule of the same TAG in the place of RULE: there is no moment without one of them."""
    with login.open() as client:
        login.show(client.edit_rule(uuid_of(client, asset), rule, tag, _values(parameters)))


@rules.command()
@login_options
@asset_argument
@_rule
def end(login: Login, asset: str, rule: int) -> None:
    """End RULE."""
    with login.open() as client:
        login.show(client.end_rule(uuid_of(client, asset), rule))


@rules.command()
@login_options
@asset_argument
@click.option("--state", type=click.Choice(["pending", "effective", "cancelled"]), help="Only those.")
@click.option("--count", type=click.IntRange(min=1), help="At most so many.")
def changes(login: Login, asset: str, state: Any, count: int | None) -> None:
    """List changes of the policy, newest first: what is done, and what waits."""
    with login.open() as client:
        login.show(client.changes(uuid_of(client, asset), state=state, count=count), _CHANGE_COLUMNS)


@rules.command()
@login_options
@asset_argument
@_change
@click.argument("content_hash")
def approve(login: Login, asset: str, change: int, content_hash: str) -> None:
    """Agree with a CHANGE that somebody else asked for.

    CONTENT_HASH is what changes --json shows for the content that you have read: so nobody can put something else in
    its place.
    """
    with login.open() as client:
        login.show(client.approve_change(uuid_of(client, asset), change, content_hash))


@rules.command()
@login_options
@asset_argument
@_change
def cancel(login: Login, asset: str, change: int) -> None:
    """Take back, or turn down, a CHANGE that waits."""
    with login.open() as client:
        login.show(client.cancel_change(uuid_of(client, asset), change))


@rules.command()
@login_options
@asset_argument
@click.option("--count", type=click.IntRange(min=1), help="At most so many.")
def refusals(login: Login, asset: str, count: int | None) -> None:
    """List transfers that were not cosigned, newest first, each with all its reasons."""
    with login.open() as client:
        found = client.refusals(uuid_of(client, asset), count=count)
    if login.as_json:
        login.show(found)
        return
    rows = [
        {
            "at": row.at,
            "registered_user": row.registered_user,
            "reasons": ", ".join(dict.fromkeys(reason.code for reason in row.reasons)),
            "text": "; ".join(dict.fromkeys(reason.text for reason in row.reasons)),
            "txid": row.txid,
        }
        for row in found
    ]
    login.show(rows, ["at", "registered_user", "reasons", "text", "txid"])


@rules.command()
@login_options
@asset_argument
@click.option("--delay", metavar="SECONDS", type=click.IntRange(min=0), help="How long loosening waits.")
@click.option("--approvals", type=click.IntRange(min=0), help="How many other persons have to agree with it.")
@click.option(
    "--sender-categories/--no-sender-categories",
    "sender_categories",
    default=None,
    help="Whether who sends has to be in the required categories too.",
)
def policy(login: Login, asset: str, delay: int | None, approvals: int | None, sender_categories: bool | None) -> None:
    """Show how the policy is changed, or change that."""
    with login.open() as client:
        uuid = uuid_of(client, asset)
        if (delay, approvals, sender_categories) == (None, None, None):
            login.show(client.policy(uuid))
            return
        login.show(
            client.edit_policy(
                uuid,
                loosening_delay=delay,
                required_approvals=approvals,
                checks_sender_categories=sender_categories,
            )
        )


def _values(parameters: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE: a JSON value where it is one, else text."""
    values = {}
    for parameter in parameters:
        name, equals, text = parameter.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{parameter[:80]!r} is not NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
