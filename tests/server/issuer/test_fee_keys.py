from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from amp0.errors import ConfigError
from amp0.server.app import build
from amp0.server.issuer import fee_keys
from amp0.server.keys import FEE_WALLET_FILE, KEY_FILE, ServiceKeys
from amp0.server.settings import Settings
from tests.server.chain import FakeChain


def _pubkey(settings: Settings, passphrase: bytes | None = b"correct horse") -> bytes:
    server = build(settings, passphrase=passphrase, chain_client=FakeChain().client())
    try:
        return server.side.desk.wallet.pubkey
    finally:
        asyncio.run(server.stop())


def test_the_wallet_has_a_seed_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    made = _pubkey(settings)
    assert {KEY_FILE, FEE_WALLET_FILE} <= {entry.name for entry in tmp_path.iterdir()}
    assert (tmp_path / FEE_WALLET_FILE).stat().st_mode & 0o777 == 0o600
    assert _pubkey(settings) == made
    other = tmp_path / "other"
    assert _pubkey(Settings(data_dir=other)) != made


def test_a_server_of_an_earlier_release_gets_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    _pubkey(settings)
    (tmp_path / FEE_WALLET_FILE).unlink()
    store = fee_keys.open_store(settings)
    with store.transaction() as db:
        db.exec_driver_sql(f"DELETE FROM service WHERE name = '{fee_keys.WALLET_FACT}'")
    store.close()
    _pubkey(settings)
    assert (tmp_path / FEE_WALLET_FILE).exists()


def test_a_missing_key_is_not_replaced_by_another(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    _pubkey(settings)
    (tmp_path / FEE_WALLET_FILE).unlink()
    with pytest.raises(ConfigError, match="restore it from its copy"):
        _pubkey(settings)
    assert not (tmp_path / FEE_WALLET_FILE).exists()


def test_another_wallet_s_key_is_refused(tmp_path: Path) -> None:
    here, there = Settings(data_dir=tmp_path / "here"), Settings(data_dir=tmp_path / "there")
    _pubkey(here)
    _pubkey(there)
    (tmp_path / "there" / FEE_WALLET_FILE).replace(tmp_path / "here" / FEE_WALLET_FILE)
    with pytest.raises(ConfigError, match="another fee wallet"):
        _pubkey(here)


def test_a_passphrase_that_can_be_read_once_opens_both_keys(tmp_path: Path) -> None:
    """A file descriptor gives its secret once."""
    for _ in range(2):
        reading, writing = os.pipe()
        os.write(writing, b"correct horse\n")
        os.close(writing)
        _pubkey(Settings(data_dir=tmp_path / "data", passphrase_fd=reading), None)


def test_a_stack_s_wallet_follows_from_its_test_key() -> None:
    server = build(Settings(), keys=ServiceKeys.test_key(), chain_client=FakeChain().client())
    again = build(Settings(), keys=ServiceKeys.test_key(), chain_client=FakeChain().client())
    assert server.side.desk.wallet.pubkey == again.side.desk.wallet.pubkey
    for one in (server, again):
        asyncio.run(one.stop())
