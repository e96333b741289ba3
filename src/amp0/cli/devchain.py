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
@click.option(
    "--node-port",
    metavar="PORT",
    type=int,
    is_flag=False,
    flag_value=7041,
    help="Serve an Elements node's JSON-RPC too; without a number on 7041, 0 takes a free port.",
)
@json_option
def run(data_dir: Path | None, port: int, block_time: float | None, node_port: int | None, as_json: bool) -> None:
    """Run the chain until Ctrl-C or SIGTERM: Esplora, Waterfalls and /dev routes, on loopback only.

    With --json the first line of stdout, once it is ready, is one object with the keys chain, network and
    data_dir; with --node-port also node and node_cookie, the file with the node's user and password.
    """
    from contextlib import ExitStack, closing

    from amp0.devchain.app import build
    from amp0.devchain.node.face import build_node
    from amp0.local.hosting import LOOPBACK, Host, bind, port_of

    with until_stopped() as wait, ExitStack() as open_things, Host("amp0-devchain") as host:
        listening = bind(port)
        node_socket = None if node_port is None else bind(node_port)
        built = build(dev=True, folder=data_dir, mine_every=block_time)
        facts = {"chain": f"http://{LOOPBACK}:{port_of(listening)}"}
        if node_socket is not None:
            node = build_node(built, folder=None if data_dir is None else data_dir / "node")
            open_things.enter_context(closing(node))
            host.serve(node.app, [node_socket])
            facts["node"] = f"http://{LOOPBACK}:{port_of(node_socket)}"
            facts["node_cookie"] = str(node.cookie_path)
        host.serve(built.app, [listening])
        if as_json:
            print_json({**facts, "network": "liquidregtest", "data_dir": None if data_dir is None else str(data_dir)})
        else:
            for fact in facts.values():
                click.echo(fact)
            note("Ready; Ctrl-C stops. Coins: POST /dev/faucet {address, satoshi}.")
        wait()
