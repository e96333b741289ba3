"""``amp0 preflight``: would the AMP0 server sign this, asked before anybody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amp0.cli.options import account_options, network_options
from amp0.cli.output import json_option, print_json, progress
from amp0.cli.secret import SecretSource
from amp0.cli.session import Account, open_account
from amp0.cli.spend import Recipient, pset_from_file

if TYPE_CHECKING:
    from amp0.client.preflight import Plan, Preflight
    from amp0.network import Network


@click.command()
@network_options
@account_options
@click.option("--to", metavar="ADDRESS:SATOSHI[:ASSET_ID]", multiple=True, help="A payment; may be repeated.")
@click.option("--in", "source", metavar="FILE", help="A file of amp0 tx build; - for standard input.")
@json_option
def preflight(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    to: tuple[str, ...],
    source: str | None,
    as_json: bool,
) -> int:
    """Ask whether the AMP0 server would sign a transfer, before anybody signs.

    Either a list of payments, or what amp0 tx build wrote. The answer is what the rules of the assets say now, and no
    promise. Exits with 0 when it is allowed, and with 52 when it is not, as amp0 send would.
    """
    from amp0.cli.exit_codes import EXIT_CODES
    from amp0.errors import CosignRefused

    if bool(to) is (source is not None):
        raise click.UsageError("say what to ask about: --to ADDRESS:SATOSHI[:ASSET_ID], or --in FILE")
    plan: Plan
    if source is not None:
        plan = pset_from_file(source)
    else:
        recipients = [Recipient.from_string(text) for text in to]
        plan = [(one.address, one.satoshi, one.asset_id or network.policy_asset()) for one in recipients]
    with open_account(Account(network, username, password, amp_id)) as amp0, progress("asking"):
        verdict = amp0.preflight(plan)
    if as_json:
        print_json(to_json(verdict))
    else:
        show(verdict)
    return 0 if verdict.allowed else EXIT_CODES[CosignRefused]


def to_json(verdict: Preflight) -> dict[str, object]:
    """The verdict for programs."""
    import msgspec

    return {"allowed": verdict.allowed, "reasons": [msgspec.to_builtins(reason) for reason in verdict.reasons]}


def show(verdict: Preflight) -> None:
    """The verdict for people: yes or no, and a line for each reason."""
    from amp0.protocol.reasons import sentence

    click.echo("allowed" if verdict.allowed else "not allowed")
    for reason in verdict.reasons:
        click.echo(f"  {sentence(reason)} ({reason.asset_id})")
