"""``amp0 devchain``: the embedded Liquid regtest chain alone."""

from __future__ import annotations

from pathlib import Path

import click

from amp0.cli.output import json_option, note, print_json
from amp0.cli.waiting import until_stopped


@click.group()
def devchain() -> None:
    """The embedded Liquid regtest chain."""


@devchain.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the chain here; in memory if left out.",
)
@click.option("--port", type=int, default=3000, show_default=True, help="0 takes a free port.")
@click.option(
    "--block-time",
    metavar="SECONDS",
    type=click.FloatRange(min=0.05),
    help="Make a block this often; only when asked (POST /dev/mine) if left out.",
)
@json_option
def run(data_dir: Path | None, port: int, block_time: float | None, as_json: bool) -> None:
    """Run the chain until Ctrl-C or SIGTERM: Esplora, Waterfalls and /dev routes, on loopback only.

    With --json the first line of stdout, once it is ready, is one object with the keys chain, network and
    data_dir.
    """
    from amp0.devchain.app import build
    from amp0.local.hosting import LOOPBACK, Host, bind, port_of

    with until_stopped() as wait, Host("amp0-devchain") as host:
        listening = bind(port)
        url = f"http://{LOOPBACK}:{port_of(listening)}"
        host.serve(build(dev=True, folder=data_dir, mine_every=block_time).app, [listening])
        if as_json:
            print_json(
                {"chain": url, "network": "liquidregtest", "data_dir": None if data_dir is None else str(data_dir)}
            )
        else:
            click.echo(url)
            note("Ready; Ctrl-C stops. Coins: POST /dev/faucet {address, satoshi}.")
        wait()
