"""``amp0 issuer rules``: what an asset's policy allows, how that changes, and what it refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amp0.cli.issuer_login import Login, asset_argument, login_options, uuid_of
from amp0.cli.rule_text import EXAMPLES, read_parameters, write_parameters

if TYPE_CHECKING:
    from amp0.blocking import IssuerClient
    from amp0.protocol.issuer import Change

_KINDS = "\b\nRules, with example parameters (docs/policy.md says what each does):\n" + "\n".join(
    f"  {tag:<15} {parameters}" for tag, parameters in EXAMPLES.items()
)

_rule = click.argument("rule", type=click.IntRange(min=1))
_change = click.argument("change", type=click.IntRange(min=1))
_parameters = click.argument("parameters", metavar="[NAME=VALUE]…", nargs=-1)
_CHANGE_COLUMNS = ["change", "action", "content", "state", "loosens", "not_before", "approvals", "required_approvals"]


@click.group(epilog=_KINDS)
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
        found = client.rules(uuid_of(client, asset))
    if login.as_json:
        login.show(found)
        return
    rows = [
        {"rule": row.id, "tag": row.tag, "parameters": write_parameters(row.parameters), "created_at": row.created_at}
        for row in found
    ]
    login.show(rows, ["rule", "tag", "parameters", "created_at"])


@rules.command(epilog=_KINDS)
@login_options
@asset_argument
@click.argument("tag")
@_parameters
def add(login: Login, asset: str, tag: str, parameters: tuple[str, ...]) -> None:
    """Add a rule: its TAG, and its parameters as NAME=VALUE (numbers and lists as in JSON; a time may be a date, in
    UTC: 2028-01-01 or 2028-01-01T12:00:00Z).

    \b
        amp0 issuer rules add EXB transfer_limit satoshi=50000 --username issuer
    """
    values = read_parameters(parameters)
    with login.open() as client:
        uuid = uuid_of(client, asset)
        _show_change(login, client, asset, client.add_rule(uuid, tag, values))


@rules.command("try", epilog=_KINDS)
@login_options
@asset_argument
@click.argument("tag")
@_parameters
def try_rule(login: Login, asset: str, tag: str, parameters: tuple[str, ...]) -> None:
    """Find out what a rule would do, without setting it.

    It is tried on the newest transfers on record, and on today's holders: how many of them could not redeem all they
    have, and how many could not be sent one satoshi more.
    """
    values = read_parameters(parameters)
    with login.open() as client:
        found = client.try_rule(uuid_of(client, asset), tag, values)
    if login.as_json:
        login.show(found)
        return
    login.show(
        {
            "transfers": found.transfers,
            "refused": len(found.refused),
            "holders": found.holders,
            "cannot_redeem": found.cannot_redeem,
            "cannot_receive": found.cannot_receive,
        }
    )
    if found.refused:
        rows = [
            {"at": row.at, "text": "; ".join(dict.fromkeys(one.text for one in row.reasons)), "txid": row.txid}
            for row in found.refused
        ]
        login.show(rows, ["at", "text", "txid"])


@rules.command(epilog=_KINDS)
@login_options
@asset_argument
@_rule
@click.argument("tag")
@_parameters
def edit(login: Login, asset: str, rule: int, tag: str, parameters: tuple[str, ...]) -> None:
    """Put a rule of the same TAG in the place of RULE: there is no moment without one of them.

    The new rule has a number of its own.
    """
    values = read_parameters(parameters)
    with login.open() as client:
        uuid = uuid_of(client, asset)
        _show_change(login, client, asset, client.edit_rule(uuid, rule, tag, values))


@rules.command()
@login_options
@asset_argument
@_rule
def end(login: Login, asset: str, rule: int) -> None:
    """End RULE, by the number that list shows."""
    with login.open() as client:
        _show_change(login, client, asset, client.end_rule(uuid_of(client, asset), rule))


@rules.command()
@login_options
@asset_argument
@click.option("--state", type=click.Choice(["pending", "effective", "cancelled"]), help="Only those.")
@click.option("--count", type=click.IntRange(min=1), help="At most so many.")
def changes(login: Login, asset: str, state: Any, count: int | None) -> None:
    """List changes of the policy, newest first: what is done, and what waits."""
    with login.open() as client:
        found = client.changes(uuid_of(client, asset), state=state, count=count)
    if login.as_json:
        login.show(found)
    else:
        login.show([_change_row(row) for row in found], _CHANGE_COLUMNS)


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
        _show_change(login, client, asset, client.approve_change(uuid_of(client, asset), change, content_hash))


@rules.command()
@login_options
@asset_argument
@_change
def cancel(login: Login, asset: str, change: int) -> None:
    """Take back, or turn down, a CHANGE that waits."""
    with login.open() as client:
        _show_change(login, client, asset, client.cancel_change(uuid_of(client, asset), change))


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
        change = client.edit_policy(
            uuid,
            loosening_delay=delay,
            required_approvals=approvals,
            checks_sender_categories=sender_categories,
        )
        _show_change(login, client, asset, change)


def _show_change(login: Login, client: IssuerClient, asset: str, change: Change) -> None:
    """A change, and the number of the rule that it made: the two are counted apart."""
    if login.as_json:
        login.show(change)
        return
    made = {}
    if change.state == "effective" and change.action in ("add_rule", "replace_rule"):
        content = change.content
        same = [
            row.id
            for row in client.rules(change.asset_uuid)
            if (row.tag, row.parameters) == (content["tag"], content["parameters"])
        ]
        made = {"rule": max(same)} if same else {}
    login.show({**made, **_change_row(change)})
    if change.state == "pending":
        login.waits(asset)


def _change_row(change: Change) -> dict[str, Any]:
    """A change under names for people; ``id`` could be taken for that of a rule."""
    import msgspec

    row = msgspec.to_builtins(change)
    content = dict(row.pop("content"))
    rule = (
        " ".join([content.pop("tag"), write_parameters(content.pop("parameters"))]) if "parameters" in content else ""
    )
    return {
        "change": row.pop("id"),
        "action": row.pop("action"),
        "content": f"{write_parameters(content)} {rule}".strip(),
        **row,
    }
