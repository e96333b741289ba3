"""``amp0 stack``: chain and server together on this machine."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from amp0.cli.output import LOG_LINE, json_option, note, print_facts, print_json, print_table
from amp0.cli.waiting import until_stopped


@click.group()
def stack() -> None:
    """Chain and server together, on this machine."""


@stack.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep chain and accounts here; in memory if left out.",
)
@click.option("--wamp-port", type=int, default=8080, show_default=True, help="0 takes a free port.")
@click.option("--cosign-port", type=int, default=9908, show_default=True, help="0 serves cosigning on the WAMP port.")
@click.option("--chain-port", type=int, default=3000, show_default=True, help="0 takes a free port.")
@click.option(
    "--block-time",
    metavar="SECONDS",
    type=click.FloatRange(min=0.05),
    help="Make a block this often; only when asked (POST /dev/mine) if left out.",
)
@click.option(
    "--allow-origin",
    "allowed_origins",
    metavar="ORIGIN",
    multiple=True,
    help="A web origin whose pages may use the server, such as http://localhost:5173; may be repeated.",
)
@click.option(
    "--node-port",
    metavar="PORT",
    type=int,
    is_flag=False,
    flag_value=7041,
    help="Serve an Elements node's JSON-RPC too; without a number on 7041, 0 takes a free port.",
)
@json_option
def run(
    data_dir: Path | None,
    wamp_port: int,
    cosign_port: int,
    chain_port: int,
    block_time: float | None,
    allowed_origins: tuple[str, ...],
    node_port: int | None,
    as_json: bool,
) -> None:
    """Run chain and server until Ctrl-C or SIGTERM.

    Both listen on loopback only. With --json the first line of stdout, once both are ready, is one object
    with the keys chain, wamp, cosign, api, network and data_dir; with --node-port also node and node_cookie, the file
    with the node's user and password.
    """
    from amp0.local.stack import Stack

    arguments: dict[str, Any] = {
        "wamp_port": wamp_port,
        "cosign_port": cosign_port,
        "chain_port": chain_port,
        "data_dir": data_dir,
        "block_seconds": block_time,
        "allowed_origins": allowed_origins,
        "node_port": node_port,
    }
    logging.basicConfig(level=logging.WARNING, format=LOG_LINE)
    with until_stopped() as wait, Stack(**arguments) as running:
        if as_json:
            print_json(running.to_json())
        else:
            print_facts([(name, value or "in memory") for name, value in running.to_json().items()])
            note("Ready; Ctrl-C stops. Coins: POST /dev/faucet {address, satoshi} at the chain's URL.")
            note(f"Issuers: amp0 issuer create NAME --dev-url {running.chain_url}")
            note("Two-factor codes are sent nowhere: amp0 stack outbox shows them.")
        wait()


chain_option = click.option(
    "--chain", metavar="URL", default="http://127.0.0.1:3000", show_default=True, help="The stack's chain URL."
)


@stack.command()
@chain_option
@click.option("--to", metavar="ADDRESS", help="Only messages to this address.")
@click.option("--code", "only_code", is_flag=True, help="Print the newest code and nothing else.")
@json_option
def outbox(chain: str, to: str | None, only_code: bool, as_json: bool) -> None:
    """Show the messages that the stack's server would have sent, the newest last: two-factor codes and notices."""
    from amp0.errors import ChainError
    from amp0.local.dev_client import DevClient

    with DevClient(chain) as dev:
        messages = [message for message in dev.outbox() if to in (None, message.get("to"))]
    if only_code:
        codes = [message["code"] for message in messages if message.get("code")]
        if not codes:
            raise ChainError("no code was sent" + (f" to {to}" if to else "") + " since the stack started")
        click.echo(codes[-1])
    elif as_json:
        print_json(messages)
    else:
        print_table(
            ["time", "method", "to", "code", "subject"],
            [(_when(row["at"]), row["method"], row["to"], row["code"], row["subject"]) for row in messages],
        )


@stack.command()
@chain_option
@click.argument("offset_seconds", type=float)
@json_option
def clock(chain: str, offset_seconds: float, as_json: bool) -> None:
    """Set chain and server OFFSET_SECONDS ahead of this machine's clock, to see codes expire and resets take effect."""
    from amp0.local.dev_client import DevClient

    with DevClient(chain) as dev:
        now = dev.move_clock(offset_seconds)
    if as_json:
        print_json({"offset_seconds": offset_seconds, "now": now})
    else:
        print_facts([("the stack's time", _when(now))])


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
