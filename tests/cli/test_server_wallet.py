from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amp0.cli import root
from amp0.elements.address import Address
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind
from amp0.elements.transaction import OutPoint, Transaction, TxIn
from amp0.network import Network
from amp0.server import chainindex
from amp0.server.app import Server, build
from amp0.server.issuer.fee_coins import FeeCoins
from amp0.server.settings import Settings

LBTC = bytes.fromhex(Network.regtest_default().policy_asset_hex)[::-1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with a data folder of its own, running beside the command."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    made = build(Settings(data_dir=tmp_path / "data", passphrase_file=passphrase))
    yield made
    asyncio.run(made.stop())


def run(server: Server, *arguments: str) -> Result:
    folder = server.settings.data_dir
    assert folder is not None
    command = ["server", "wallet", *arguments, "--data-dir", str(folder)]
    return CliRunner().invoke(root.root, command)


def test_the_wallet_is_filled_at_its_address_and_says_so(server: Server, tmp_path: Path) -> None:
    secret = ("--passphrase-file", str(tmp_path / "passphrase"))
    text = run(server, "address", *secret).stdout.strip()
    assert json.loads(run(server, "address", "--json", *secret).stdout) == {"address": text}
    address = Address(text, Network.regtest_default())
    assert address.is_blinded()
    outputs = [PlainOutput(address.script, LBTC, 150_000, address.blinding_pubkey), PlainOutput(b"", LBTC, 500)]
    domain = DomainEntry(b"\x01" + LBTC, Opening(LBTC, 150_500))
    tx = Transaction.of(2, 0, [TxIn(OutPoint(b"\x01" * 32, 0))], [out.txout for out in blind([domain], outputs)])
    with server.services.store.transaction() as db:
        policy_asset = server.services.network.policy_asset_hex
        followers = [FeeCoins(server.side.desk.wallet)]
        chainindex.add_unconfirmed(db, [tx], policy_asset, 0, followers)
    facts = json.loads(run(server, "balance", "--json").stdout)
    assert facts == {"confirmed": 0, "unconfirmed": 150_000, "promised": 0, "spendable": 150_000, "is_low": False}
    assert run(server, "address", *secret).stdout.strip() != text


def test_an_empty_wallet_is_told_to_be_filled(server: Server) -> None:
    result = run(server, "balance")
    assert result.exit_code == 0
    assert "fill it" in result.stderr
    assert "0" in result.stdout


def test_the_address_needs_the_passphrase_and_the_network(server: Server, tmp_path: Path) -> None:
    assert "passphrase" in str(run(server, "address").exception or run(server, "address").stderr)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong horse")
    wrong.chmod(0o600)
    for arguments in (
        ("--passphrase-file", str(wrong)),
        ("--passphrase-file", str(tmp_path / "passphrase"), "--network", "liquid"),
    ):
        result = run(server, "address", *arguments)
        assert result.exit_code != 0
        assert "ert1" not in result.output


def test_a_folder_without_a_server_says_how_to_begin(tmp_path: Path) -> None:
    result = CliRunner().invoke(root.root, ["server", "wallet", "balance", "--data-dir", str(tmp_path)])
    assert result.exit_code != 0
    assert "start the server once" in str(result.exception or result.output)
