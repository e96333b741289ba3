"""``amp0 server wallet``: the server's own wallet, which pays the fees of issuances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from amp0.cli.output import json_option, print_facts, print_json

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def wallet() -> None:
    """The wallet of the server that pays for issuances.

    It holds L-BTC of the operator's and nobody else's. Run these where the server's data folder is; the server may be
    running. It says in its log, and at /v1/ready, when the wallet runs low.
    """


def server_options(command: Command) -> Command:
    """``--data-dir`` and ``--network``; the command gets ``settings``, the keywords of :class:`Settings`."""

    @click.option(
        "--network",
        type=click.Choice(["liquid", "testnet-liquid", "liquidregtest"]),
        help="The server's chain; liquidregtest if left out.",
    )
    @click.option(
        "--data-dir",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Data folder of the server; else its AMP0_… settings say where the database is.",
    )
    @json_option
    @functools.wraps(command)
    def with_settings(network: str | None, data_dir: Path | None, **others: Any) -> Any:
        return command(settings={"network": network, "data_dir": data_dir}, **others)

    return with_settings  # type: ignore[return-value]


@wallet.command()
@server_options
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the passphrase of the server's keys.",
)
@click.option("--passphrase-fd", metavar="NUMBER", type=int, help="File descriptor to read the passphrase from.")
def address(settings: dict[str, Any], passphrase_file: Path | None, passphrase_fd: int | None, as_json: bool) -> None:
    """Print the address to fill the wallet at: the same one until something came in there."""
    import time

    from amp0.server.issuer import fee_coins, fee_keys
    from amp0.server.settings import Settings

    chosen = Settings.from_environment(**settings, passphrase_file=passphrase_file, passphrase_fd=passphrase_fd)
    store = fee_keys.open_store(chosen)
    try:
        opened = fee_keys.open_wallet(chosen, store)
        with store.transaction() as db:
            text = str(fee_coins.deposit_address(db, opened, int(time.time())))
    finally:
        store.close()
    if as_json:
        print_json({"address": text})
    else:
        click.echo(text)


@wallet.command()
@server_options
def balance(settings: dict[str, Any], as_json: bool) -> None:
    """Print what the wallet holds, in satoshi of L-BTC.

    Of what is confirmed and unconfirmed, some may be promised to issuances on their way; the rest is spendable.
    """
    from amp0.server.issuer import fee_coins, fee_keys
    from amp0.server.settings import Settings

    chosen = Settings.from_environment(**settings)
    store = fee_keys.open_store(chosen)
    try:
        with store.snapshot() as db:
            funds = fee_coins.funds(db)
    finally:
        store.close()
    facts = {
        "confirmed": funds.confirmed,
        "unconfirmed": funds.unconfirmed,
        "promised": funds.promised,
        "spendable": funds.spendable,
        "is_low": funds.spendable < chosen.fee_wallet_low,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts([*((name, value) for name, value in facts.items() if name != "is_low")])
        if facts["is_low"]:
            click.echo(f"less than the {chosen.fee_wallet_low:,} satoshi that should be there: fill it", err=True)
