"""``amp0 coins``: the account's unspent outputs, and which of them nobody may spend for now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from amp0.cli.code import CodeSource, code_options
from amp0.cli.options import account_options, chain_options, mnemonic_options, network_options
from amp0.cli.output import asset_name, json_option, note, print_json, print_table
from amp0.cli.secret import SecretSource, require_one_stdin
from amp0.cli.session import Account, open_venue
from amp0.cli.two_factor import logged_in

if TYPE_CHECKING:
    from amp0.elements.transaction import OutPoint
    from amp0.network import Network
    from amp0.wallet.wollet import WalletTxOut

COLUMNS = ("outpoint", "asset", "satoshi", "height", "frozen")


@click.group()
def coins() -> None:
    """Coins of the account, and freezing them.

    The AMP0 server signs nothing that spends a frozen coin; amp0 send and amp0 tx build leave it out.
    """


@coins.command("list")
@network_options
@account_options
@chain_options
@json_option
def list_coins(
    network: Network,
    username: str,
    password: SecretSource,
    amp_id: str,
    chain: str | None,
    waterfalls: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Sync, and list the coins, the newest first."""
    account = Account(network, username, password, amp_id)
    with open_venue(account, chain, waterfalls=waterfalls, data_dir=data_dir) as venue:
        held = list(venue.wollet.utxos())
        frozen_ones = set(venue.amp0.frozen_outputs())
    rows = [
        (
            _name(coin.outpoint()),
            coin.unblinded().asset(),
            coin.unblinded().value(),
            coin.height(),
            coin.outpoint() in frozen_ones,
        )
        for coin in held
    ]
    if as_json:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    else:
        shown = [
            (name, asset_name(asset, network), satoshi, height, "yes" if frozen else "")
            for name, asset, satoshi, height, frozen in rows
        ]
        print_table(COLUMNS, shown)


def _opened(coin: WalletTxOut) -> tuple[str, int]:
    return coin.unblinded().asset(), coin.unblinded().value()


def _name(outpoint: OutPoint) -> str:
    return f"{outpoint.txid()}:{outpoint.vout()}"


@coins.command()
@network_options
@mnemonic_options
@click.argument("outpoint", metavar="TXID:VOUT", nargs=-1, required=True)
@code_options
@json_option
def freeze(
    network: Network, mnemonic: SecretSource, outpoint: tuple[str, ...], codes: CodeSource, as_json: bool
) -> None:
    """Have the server sign nothing that spends these coins. Wants a code where there is a second factor."""
    from amp0.client.two_factor import TwoFactorAction

    require_one_stdin(mnemonic, codes.secret)
    action = TwoFactorAction.freeze(outpoint)
    with logged_in(network, mnemonic) as session:
        codes.authorise(
            session.two_factor_config(),
            lambda by: session.request_code(by, action),
            lambda code: session.freeze(outpoint, code),
        )
        frozen = [_name(one) for one in session.frozen_outputs()]
    _show(frozen, as_json)


@coins.command()
@network_options
@mnemonic_options
@click.argument("outpoint", metavar="TXID:VOUT", nargs=-1, required=True)
@json_option
def unfreeze(network: Network, mnemonic: SecretSource, outpoint: tuple[str, ...], as_json: bool) -> None:
    """Let these coins be spent again; the spend itself still wants its code."""
    with logged_in(network, mnemonic) as session:
        session.unfreeze(outpoint)
        frozen = [_name(one) for one in session.frozen_outputs()]
    _show(frozen, as_json)


def _show(frozen: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"frozen": frozen})
    else:
        note(f"{len(frozen)} frozen in all")
        for outpoint in frozen:
            click.echo(outpoint)
