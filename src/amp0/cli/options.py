"""Options that several commands share, and what they become."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amp0.cli.secret import SecretSource, secret_options

if TYPE_CHECKING:
    from amp0.network import Network

Command = TypeVar("Command", bound=Callable[..., Any])


def satoshi_amount(text: str) -> int:
    """The type of an option or argument that is an amount: a whole number of satoshi above zero.

    Decimals and separators are refused: taking them would be a guess at what is meant.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and 0 < int(text) <= MAX_SATOSHI):
        raise click.BadParameter(
            f"{text[:80]!r} is not an amount: give a whole number of satoshi, digits only; 1 satoshi is 1e-8 of what "
            "a node calls 1."
        )
    return int(text)


MAX_SATOSHI = 21_000_000 * 100_000_000
"""Largest amount of an asset."""


def network_options(command: Command) -> Command:
    """Add ``--network`` and ``--service-fingerprint``; the command gets ``network``, a :class:`Network`."""

    @functools.wraps(command)
    def with_network(*args: Any, network: str, service_fingerprint: str | None, **kwargs: Any) -> Any:
        return command(*args, network=resolve_network(network, service_fingerprint), **kwargs)

    return click.option(
        "--network",
        metavar="NETWORK",
        default="liquidregtest",
        show_default=True,
        help="liquid, testnet-liquid or liquidregtest; or the URL of an AMP0 server that describes its "
        "network; or a file with that description.",
    )(
        click.option(
            "--service-fingerprint",
            metavar="HEX",
            help="Fingerprint of the AMP0 service's key, from its operator; needed with the URL of a server "
            "that is not on this machine.",
        )(with_network)
    )  # type: ignore[return-value]


def resolve_network(text: str, service_fingerprint: str | None = None) -> Network:
    """A network from its name, from the URL of a server, or from a JSON file."""
    from amp0.errors import ConfigError
    from amp0.network import MAX_NETWORK_JSON, Network

    if text.startswith(("http://", "https://")):
        return Network.from_server(text, service_fingerprint)
    path = Path(text)
    if path.suffix == ".json" or path.is_file():
        try:
            with path.open("rb") as file:
                network = Network.from_json(file.read(MAX_NETWORK_JSON + 1))
        except OSError as error:
            raise ConfigError(f"cannot read the network description {path}: {error.strerror}") from None
    else:
        network = Network.by_name(text)
    if service_fingerprint is not None:
        network.require_service_key(service_fingerprint)
    return network


def account_options(command: Command) -> Command:
    """Add the watch-only credentials; the command gets ``username``, ``password`` and ``amp_id``."""
    decorated = secret_options("password", "the watch-only password")(command)
    decorated = click.option(
        "--amp-id", metavar="GA…", default="", help="AMP ID of the account; the first one if left out."
    )(decorated)
    return click.option("--username", metavar="NAME", required=True, help="Watch-only user name.")(decorated)


def either_options(command: Command) -> Command:
    """Add the watch-only credentials and the mnemonic, one of which is needed; ``username`` may be None."""
    decorated = mnemonic_options(secret_options("password", "the watch-only password")(command))
    return click.option(
        "--username", metavar="NAME", help="Watch-only user name; without one the mnemonic is used to log in."
    )(decorated)


def mnemonic_options(command: Command) -> Command:
    """Add ``--mnemonic-file`` and ``--mnemonic-fd``; the command gets ``mnemonic``."""
    return secret_options("mnemonic", "the signer's mnemonic (BIP39 words)")(command)


def chain_options(command: Command) -> Command:
    """Add ``--chain``, ``--waterfalls`` and ``--data-dir`` for commands that sync."""
    decorated = click.option(
        "--data-dir",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Keep what was synced here, encrypted, so that the next sync is short.",
    )(command)
    decorated = click.option("--waterfalls", is_flag=True, help="The chain's URL speaks Waterfalls.")(decorated)
    return chain_url_option(decorated)


def chain_url_option(command: Command) -> Command:
    """Add ``--chain``; the command gets ``chain``, a URL or None."""
    return click.option(
        "--chain", metavar="URL", help="Esplora (or Waterfalls) to use; the network's own if left out."
    )(command)


def signer_from(mnemonic: SecretSource, network: Network) -> Any:
    """The software signer of the mnemonic that ``mnemonic`` names."""
    from amp0.elements.keys import Mnemonic
    from amp0.wallet.signer import Signer

    return Signer(Mnemonic(mnemonic.read()), network)
