"""What ``amp0 tx`` and ``amp0 send`` share: recipients, the files between the steps, what is shown of them.

A file between two steps is one JSON object. After *build* and *sign* it holds the PSET and its blinding
nonces, after *cosign* the transaction; the key ``amp0`` says which. Amounts are integers of satoshi.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amp0.cli.output import asset_name, note
from amp0.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    from amp0.elements.pset import Amp0Pset
    from amp0.elements.pset_io import PsetOutput
    from amp0.elements.transaction import OutPoint, Transaction
    from amp0.network import Network
    from amp0.wallet.wollet import Wollet

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_FILE = 32 * 1024 * 1024
"""Largest file between two steps that is read, in bytes."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """``address`` (text) gets ``satoshi`` of ``asset_id`` (display hex; None is L-BTC)."""

    address: str
    satoshi: int
    asset_id: str | None

    @classmethod
    def from_string(cls, text: str) -> Recipient:
        """Parse ``ADDRESS:SATOSHI[:ASSET_ID]``; raises :class:`InvalidInput`."""
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidInput(f"{text[:300]!r} is not ADDRESS:SATOSHI or ADDRESS:SATOSHI:ASSET_ID")
        if not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= 16):
            raise InvalidInput(
                f"{parts[1][:80]!r} is not an amount: give ADDRESS:SATOSHI[:ASSET_ID], satoshi in digits only"
            )
        if len(parts) == 3 and not re.fullmatch(r"[0-9a-fA-F]{64}", parts[2]):
            raise InvalidInput(
                f"{parts[2][:80]!r} is not an asset id: 64 hex digits; amp0 balance shows those of an account"
            )
        return cls(parts[0], int(parts[1]), parts[2].lower() if len(parts) == 3 else None)


@dataclass(frozen=True, slots=True)
class Order:
    """What to pay, from the command line; at least one recipient or a drain."""

    recipients: tuple[Recipient, ...]
    drain_to: str | None
    drain: bool
    fee_rate: float | None

    def build(self, network: Network, wollet: Wollet, frozen: Sequence[OutPoint] = ()) -> Amp0Pset:
        """The PSET, blinded and unsigned, with its blinding nonces; ``frozen`` coins are left alone."""
        from amp0.elements.address import Address
        from amp0.wallet.tx_builder import TxBuilder

        builder = TxBuilder(network).leave_utxos(frozen)
        if self.fee_rate is not None:
            builder.fee_rate(self.fee_rate)
        for recipient in self.recipients:
            address = Address(recipient.address)
            if recipient.asset_id is None:
                builder.add_lbtc_recipient(address, recipient.satoshi)
            else:
                builder.add_recipient(address, recipient.satoshi, recipient.asset_id)
        if self.drain_to is not None:
            builder.drain_lbtc_to(Address(self.drain_to))
        elif self.drain:
            builder.drain_lbtc_wallet()
        return builder.finish_for_amp0(wollet)


def order_options(command: Command) -> Command:
    """Add ``--to``, ``--drain``, ``--drain-to`` and ``--fee-rate``; the command gets ``order``."""
    import functools

    @functools.wraps(command)
    def with_order(
        *args: Any,
        to: tuple[str, ...],
        drain: bool,
        drain_to: str | None,
        fee_rate: float | None,
        **kwargs: Any,
    ) -> Any:
        if not (to or drain or drain_to):
            raise click.UsageError("say whom to pay: --to ADDRESS:SATOSHI[:ASSET_ID], --drain-to ADDRESS or --drain")
        recipients = tuple(Recipient.from_string(text) for text in to)
        return command(*args, order=Order(recipients, drain_to, drain, fee_rate), **kwargs)

    for option in (
        click.option("--fee-rate", metavar="SAT_PER_KVB", type=float, help="Fee rate; 100 if left out."),
        click.option("--drain", is_flag=True, help="Gather all L-BTC of the account into one output of its own."),
        click.option("--drain-to", metavar="ADDRESS", help="Send all L-BTC that is left to ADDRESS."),
        click.option("--to", metavar="ADDRESS:SATOSHI[:ASSET_ID]", multiple=True, help="Pay; may be repeated."),
    ):
        with_order = option(with_order)
    return with_order  # type: ignore[return-value]


# -------------------------------------------------------------- files


def read_file(source: str) -> dict[str, Any]:
    """The JSON object in a file, or on standard input for ``-``. Raises :class:`InvalidInput`."""
    try:
        if source == "-":
            text = sys.stdin.read(MAX_FILE + 1)
        else:
            with Path(source).open(encoding="utf-8") as file:
                text = file.read(MAX_FILE + 1)
    except UnicodeDecodeError:
        raise InvalidInput(f"{source} is not text") from None
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from None
    if len(text) > MAX_FILE:
        raise InvalidInput(f"{source} is larger than {MAX_FILE} bytes: is it the right file?")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{source} is not a file of amp0 tx") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{source} is not a file of amp0 tx")
    return value


def write_file(target: str, value: dict[str, Any]) -> None:
    """Write one JSON object to a file, or to standard output for ``-``."""
    text = json.dumps(value, indent=2) + "\n"
    if target == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from None


def pset_to_file(amp0pset: Amp0Pset) -> dict[str, Any]:
    """The file after *build* and after *sign*."""
    return {
        "amp0": "pset",
        "pset": str(amp0pset.pset()),
        "blinding_nonces": list(amp0pset.blinding_nonces()),
    }


def pset_from_file(source: str) -> Amp0Pset:
    """Parse and check the file of *build* or *sign*: every nonce has to open its output."""
    from amp0.elements.pset import Amp0Pset, Pset

    value = read_file(source)
    text, nonces = value.get("pset"), value.get("blinding_nonces")
    if value.get("amp0") == "transaction":
        raise InvalidInput(f"{source} is a cosigned transaction already: give it to amp0 tx broadcast")
    if not isinstance(text, str) or not isinstance(nonces, list) or not all(isinstance(nonce, str) for nonce in nonces):
        raise InvalidInput(f"{source} lacks pset and blinding_nonces: it is not a file of amp0 tx build or sign")
    return Amp0Pset(Pset(text), nonces)


def transaction_to_file(transaction: Transaction) -> dict[str, Any]:
    """The file after *cosign*."""
    return {"amp0": "transaction", "txid": str(transaction.txid()), "tx": str(transaction)}


def transaction_from_file(source: str) -> Transaction:
    """Parse the file of *cosign*."""
    from amp0.elements.transaction import Transaction

    value = read_file(source)
    text = value.get("tx")
    if value.get("amp0") == "pset":
        raise InvalidInput(f"{source} is not cosigned yet: give it to amp0 tx sign, then amp0 tx cosign")
    if not isinstance(text, str):
        raise InvalidInput(f"{source} lacks tx: it is not a file of amp0 tx cosign")
    return Transaction(text)


# -------------------------------------------------------------- what is shown


def describe_outputs(amp0pset: Amp0Pset, network: Network) -> list[str]:
    """One line per output: amount, asset and where it goes.

    Amounts can be believed: an :class:`Amp0Pset` exists only when its nonces open the outputs to them. That
    an output comes back to the account is only claimed here; the signer checks it before it signs.
    """
    return [
        f"  {_amount(output.amount()):>20} {_asset(output.asset(), network)}  {_destination(output, network)}"
        for output in amp0pset.pset().outputs()
    ]


def _amount(satoshi: int | None) -> str:
    return "?" if satoshi is None else f"{satoshi:,}"


def _asset(asset_id: str | None, network: Network) -> str:
    return "?" if asset_id is None else asset_name(asset_id, network)


def _destination(output: PsetOutput, network: Network) -> str:
    from amp0.elements.address import Address
    from amp0.errors import InvalidAddress

    if not output.script:
        return "fee"
    try:
        where = f"to {Address.from_script(network, output.script, output.blinding_pubkey)}"
    except InvalidAddress:
        where = f"to script {output.script_pubkey()}"
    return f"{where} (own)" if output.derivations else where


def show_outputs(amp0pset: Amp0Pset, network: Network) -> None:
    """Show on stderr what a PSET pays."""
    for line in describe_outputs(amp0pset, network):
        note(line)
