"""``amp0 issuer asset``: issuing, what an asset is, and what an issuer does with it."""

from __future__ import annotations

from pathlib import Path

import click

from amp0.cli.issuer_login import (
    Login,
    Node,
    asset_argument,
    login_options,
    node_options,
    state_dir_option,
    state_folder,
    uuid_of,
)
from amp0.cli.options import satoshi_amount
from amp0.cli.output import note

_besides = click.option(
    "--besides", metavar="TXID", multiple=True, help="A transaction of the wallet to leave alone; may be repeated."
)


@click.group()
def asset() -> None:
    """Assets: issue, look, reissue, burn, lock.

    ASSET is everywhere a UUID, an asset id, or a ticker if only one of your assets has it.
    """


@asset.command()
@login_options
@click.argument("name")
@click.option("--ticker", required=True, help="3 to 24 letters, digits, dots and dashes.")
@click.option("--domain", required=True, help="Of the issuer; it vouches for the asset in the public registry.")
@click.option("--pubkey", metavar="HEX", required=True, help="The issuer's public key, compressed; in the contract.")
@click.option("--amount", metavar="SATOSHI", type=satoshi_amount, required=True, help="How much to issue.")
@click.option("--precision", type=click.IntRange(0, 8), default=0, show_default=True, help="Decimals, in wallets.")
@click.option("--tokens", metavar="SATOSHI", type=satoshi_amount, help="Reissuance tokens, to reissue later.")
@click.option("--destination", metavar="ADDRESS", help="Treasury address for the units; the node's if left out.")
@click.option("--token-destination", metavar="ADDRESS", help="Another one, for the tokens; the node's if left out.")
@click.option("--tracked", is_flag=True, help="Issuer-tracked: any AMP account may hold it, not only registered users.")
@click.option("--confidential", is_flag=True, help="Hide the issued amount on the chain.")
@click.option("--key", metavar="TEXT", help="Repeats an issuance whose answer was lost: the same key, the same asset.")
@node_options(required=False)
def issue(
    login: Login,
    name: str,
    ticker: str,
    domain: str,
    pubkey: str,
    amount: int,
    precision: int,
    tokens: int | None,
    destination: str | None,
    token_destination: str | None,
    tracked: bool,
    confidential: bool,
    key: str | None,
    node: Node | None,
) -> None:
    """Issue an asset called NAME. The server pays the fee; the units go to your treasury.

    \b
        amp0 issuer asset issue "Example Bond" --ticker EXB --domain example.com \\
            --pubkey 02… --amount 1000000 --tokens 1 \\
            --username issuer --node-auth-file ~/.elements/liquidv1/.cookie
    """
    import secrets

    from amp0.errors import ConnectionFailed, ServerBusy
    from amp0.issuer import Issue

    if node is None and (destination is None or (tokens and token_destination is None)):
        raise click.UsageError("give --destination (and --token-destination), or --node-auth-file for addresses of it")
    chosen = key or secrets.token_hex(16)
    with login.open() as client:
        if node is not None:
            destination = destination or client.treasury_address(node.treasury)
            if tokens:
                token_destination = token_destination or client.treasury_address(node.treasury)
        assert destination is not None
        request = Issue(
            name=name, amount=amount, destination_address=destination, domain=domain, ticker=ticker, pubkey=pubkey,
            precision=precision, is_confidential=confidential, is_reissuable=tokens is not None,
            reissuance_amount=tokens, reissuance_address=token_destination if tokens else None,
            transfer_restricted=not tracked,
        )  # fmt: skip
        try:
            login.show(client.issue(request, idempotency_key=chosen))
        except ConnectionFailed as error:
            # Who is busy has said so, and most likely done nothing; a proxy says it too, and knows nothing.
            known = "the server was busy" if isinstance(error, ServerBusy) else "whether it was issued is not known"
            note(
                f"{known}. The same command again with --key {chosen} --destination {destination}"
                + (f" --token-destination {token_destination}" if tokens else "")
                + " issues it once, whatever happened"
            )
            raise


@asset.command("list")
@login_options
def list_assets(login: Login) -> None:
    """List your assets."""
    with login.open() as client:
        found = client.assets()
    login.show(found, ["ticker", "name", "asset_uuid", "asset_id", "is_locked", "is_authorized"])


@asset.command()
@login_options
@asset_argument
def show(login: Login, asset: str) -> None:
    """Show an asset."""
    with login.open() as client:
        login.show(client.asset(uuid_of(client, asset)))


@asset.command()
@login_options
@node_options()
@asset_argument
@click.argument("satoshi", type=satoshi_amount)
@click.option("--use-existing", metavar="TXID:VIN", help="Confirm this reissue of the wallet; nothing is sent.")
@_besides
@state_dir_option
def reissue(
    login: Login,
    node: Node,
    asset: str,
    satoshi: int,
    use_existing: str | None,
    besides: tuple[str, ...],
    state_dir: Path | None,
) -> None:
    """Issue SATOSHI more, to the treasury: asks the server, has the node reissue, waits, confirms.

    After a crash run it again: a reissue that the wallet has made already is finished, not repeated.
    """
    with login.resumable(), login.open() as client:
        done = client.reissue(
            uuid_of(client, asset),
            satoshi,
            node.treasury,
            state_dir=state_folder(state_dir),
            use_existing=use_existing,
            besides=besides,
            report=login.told,
        )
    login.show(done)


@asset.command()
@login_options
@node_options()
@asset_argument
@click.argument("satoshi", type=satoshi_amount)
@click.option("--use-existing", metavar="TXID", help="Confirm this burn of the wallet; nothing is sent.")
@_besides
@state_dir_option
def burn(
    login: Login,
    node: Node,
    asset: str,
    satoshi: int,
    use_existing: str | None,
    besides: tuple[str, ...],
    state_dir: Path | None,
) -> None:
    """Destroy SATOSHI of the treasury, for ever.

    After a crash run it again: a burn that the wallet has made already is finished, not repeated.
    """
    with login.resumable(), login.open() as client:
        done = client.burn(
            uuid_of(client, asset),
            satoshi,
            node.treasury,
            state_dir=state_folder(state_dir),
            use_existing=use_existing,
            besides=besides,
            report=login.told,
        )
    login.show(done)


@asset.command()
@login_options
@asset_argument
def reissuances(login: Login, asset: str) -> None:
    """List confirmed reissues."""
    with login.open() as client:
        found = client.reissuances(uuid_of(client, asset))
    login.show(found, ["created", "reissuance_amount", "txid", "vout"])


@asset.command()
@login_options
@asset_argument
def burns(login: Login, asset: str) -> None:
    """List confirmed burns."""
    with login.open() as client:
        found = client.burns(uuid_of(client, asset))
    login.show(found, ["created", "amount", "txid", "transaction_status"])


@asset.command()
@login_options
@asset_argument
def lock(login: Login, asset: str) -> None:
    """Have no transfer of an asset cosigned, from now on."""
    with login.open() as client:
        login.show(client.lock_asset(uuid_of(client, asset)))


@asset.command()
@login_options
@asset_argument
def unlock(login: Login, asset: str) -> None:
    """End a lock; where loosening waits (rules policy), this does as well: rules changes shows it."""
    with login.open() as client:
        found = client.unlock_asset(uuid_of(client, asset))
    login.show(found)
    if found.is_locked:
        login.waits(asset)


@asset.command("register-authorized")
@login_options
@asset_argument
def register_authorized(login: Login, asset: str) -> None:
    """Mark an asset as one for AMP accounts only. Cannot be undone."""
    with login.open() as client:
        login.show(client.register_authorized(uuid_of(client, asset)))


@asset.command()
@login_options
@asset_argument
def register(login: Login, asset: str) -> None:
    """Put an asset into the public registry; its domain has to serve the proof already."""
    with login.open() as client:
        login.show(client.register_asset(uuid_of(client, asset)))


@asset.command()
@login_options
@asset_argument
@click.option(
    "--authorization-endpoint",
    metavar="URL",
    required=True,
    help="Asked before each transfer; empty: nobody is.",
)
def edit(login: Login, asset: str, authorization_endpoint: str) -> None:
    """Set the URL of yours that decides, with the rules, about each transfer."""
    with login.open() as client:
        endpoint = authorization_endpoint or None
        found = client.edit_asset(uuid_of(client, asset), issuer_authorization_endpoint=endpoint)
    login.show(found)
    if found.issuer_authorization_endpoint != endpoint:
        login.waits(asset)


@asset.command()
@login_options
@asset_argument
def delete(login: Login, asset: str) -> None:
    """Take an asset out of the API, for ever. Its units live on, and its rules hold on."""
    with login.open() as client:
        uuid = uuid_of(client, asset)
        client.delete_asset(uuid)
    login.done("deleted", deleted=uuid)


@asset.command()
@login_options
@asset_argument
@click.argument("text", required=False)
def memo(login: Login, asset: str, text: str | None) -> None:
    """Show your note about an asset, or replace it by TEXT."""
    with login.open() as client:
        uuid = uuid_of(client, asset)
        if text is not None:
            client.set_memo(uuid, text)
        login.show({"memo": client.memo(uuid)})
