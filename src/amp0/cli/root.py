"""The root of the command tree.

Every noun is imported only when it is used, so that ``amp0 --help`` stays instant; the one-line helps are
kept here for that reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when they are named.

    ``lazy`` maps a command's name to ``(module:attribute, short help)``.
    """

    def __init__(self, *args: object, lazy: Mapping[str, tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, now that it is named."""
        if cmd_name not in self.lazy:
            return None
        module_name, _, attribute = self.lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])


COMMANDS = {
    "demo": ("amp0.cli.demo:demo", "Walk the whole AMP0 day on a chain and a server of its own."),
    "stack": ("amp0.cli.stack:stack", "Chain and server together, on this machine."),
    "server": ("amp0.cli.server:server", "The AMP0 cosigning server."),
    "devchain": ("amp0.cli.devchain:devchain", "The embedded Liquid regtest chain."),
    "account": ("amp0.cli.account:account", "AMP0 accounts of a signer."),
    "watch-only": ("amp0.cli.watch_only:watch_only", "Credentials that see everything and sign nothing."),
    "address": ("amp0.cli.address:address", "Addresses, always from the server."),
    "balance": ("amp0.cli.balance:balance", "Sync, and show what the account holds."),
    "coins": ("amp0.cli.coins:coins", "Coins of the account, and freezing them."),
    "transactions": ("amp0.cli.transactions:transactions", "Sync, and show what came and went."),
    "preflight": ("amp0.cli.preflight:preflight", "Ask whether a transfer would be signed, before anybody signs."),
    "send": ("amp0.cli.send:send", "Build, sign, cosign and broadcast in one go."),
    "tx": ("amp0.cli.tx:tx", "The same in four steps, with files in between."),
    "watch": ("amp0.cli.watch:watch", "Print new transactions and blocks as they come."),
    "issuer": ("amp0.cli.issuer:issuer", "Issue assets, say who may hold them, see who does."),
    "2fa": ("amp0.cli.two_factor:two_factor", "Second factors: codes that a spend needs besides the signer's key."),
    "limits": ("amp0.cli.limits:limits", "How much L-BTC may leave without a two-factor code."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="amp0", prog_name="amp0")
def root() -> None:
    """AMP0 assets on Liquid: client, server and chain.

    Tables are for people; every command takes --json for programs. Progress and warnings go to stderr. Each
    kind of error has an exit code of its own (docs/cli.md).
    """
