"""``amp0 server``: the AMP0 cosigning server."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from amp0.cli.output import LOG_LINE, json_option, note, print_facts, print_json
from amp0.cli.server_behind import acknowledge
from amp0.cli.server_wallet import wallet
from amp0.cli.waiting import until_stopped


@click.group()
def server() -> None:
    """The AMP0 cosigning server."""


server.add_command(wallet)
server.add_command(acknowledge)


@server.command()
@click.option(
    "--network",
    type=click.Choice(["liquid", "testnet-liquid", "liquidregtest"]),
    help="Which chain to serve; liquidregtest if left out.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the service key and the database: half of every wallet.",
)
@click.option("--chain", metavar="URL", help="Base URL of an Esplora; or a node: elements+http://127.0.0.1:7041.")
@click.option(
    "--chain-auth-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The node's cookie file, or one with user:password.",
)
@click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the passphrase of the service key.",
)
@click.option("--passphrase-fd", metavar="NUMBER", type=int, help="File descriptor to read the passphrase from.")
@click.option("--listen", metavar="HOST:PORT", multiple=True, help="Where to listen; may be repeated.")
@json_option
def run(
    network: str | None,
    data_dir: Path | None,
    chain: str | None,
    chain_auth_file: Path | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    listen: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    The service key is made at the first start and kept in the data folder, encrypted with the passphrase.
    All other settings are AMP0_… environment variables (docs/server.md). With --json the first line of
    stdout, once it is ready, is one object with the keys wamp, cosign, network, service_fingerprint and
    listening.
    """
    from amp0.local.hosting import Host
    from amp0.server.app import build
    from amp0.server.settings import Listener, Settings

    settings = Settings.from_environment(
        network=network,
        data_dir=data_dir,
        chain_url=chain,
        chain_auth_file=chain_auth_file,
        passphrase_file=passphrase_file,
        passphrase_fd=passphrase_fd,
        listen=tuple(Listener.parse(text) for text in listen) or None,
    )
    logging.basicConfig(level=logging.INFO, format=LOG_LINE)
    for noisy in ("uvicorn", "httpx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with until_stopped() as wait, Host("amp0-server") as host:
        running = build(settings)
        try:
            host.call(running.start())
            listening = [str(listener) for listener in host.call(running.listen(own_process=True))]
            public = running.network
            facts = {
                "wamp": public.wamp_url,
                "cosign": public.cosign_url,
                "network": public.name,
                "service_fingerprint": public.service_fingerprint(),
                "listening": listening,
            }
            if as_json:
                print_json(facts)
            else:
                print_facts(list({**facts, "listening": ", ".join(listening)}.items()))
                note("Ready; Ctrl-C stops. Venues need the service fingerprint from you, not from the network.")
            wait()
        finally:
            host.call(running.stop())
