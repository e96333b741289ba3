"""The fee wallet of a data folder, for commands that run beside the server: opened, and never made."""

from __future__ import annotations

import sqlalchemy as sa

from amp0.errors import ConfigError
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.keys import FEE_WALLET_FILE, FEE_WALLET_KEY, load_seed_file
from amp0.server.settings import Settings
from amp0.server.store import schema
from amp0.server.store.engine import Store

WALLET_FACT = "fee_wallet_pubkey"
"""Row of the store's facts that says whose coins it has."""


def open_store(settings: Settings) -> Store:
    """The database of the settings, which a server has made before. Raises :class:`ConfigError`."""
    if settings.database_url is None:
        if settings.data_dir is None:
            raise ConfigError("say which server: name its data folder (data_dir) or its database (database_url)")
        if not (settings.data_dir / "amp0.sqlite").exists():
            raise ConfigError(f"there is no database in {settings.data_dir}; start the server once (amp0 server run)")
    return Store.open(settings.store_url())


def open_wallet(settings: Settings, store: Store) -> FeeWallet:
    """The wallet whose coins the database has. Raises :class:`ConfigError`."""
    if settings.data_dir is None:
        raise ConfigError("the key of the fee wallet is in the server's data folder: name it (data_dir)")
    path = settings.data_dir / FEE_WALLET_FILE
    if not path.exists():
        raise ConfigError(f"there is no {path}; start the server once (amp0 server run)")
    passphrase = settings.read_passphrase()
    if passphrase is None:
        raise ConfigError(
            "the key of the fee wallet is kept encrypted: name a file or file descriptor that holds the server's "
            "passphrase (passphrase_file or passphrase_fd)"
        )
    wallet = FeeWallet(load_seed_file(path, passphrase, what=FEE_WALLET_KEY), settings.chain_network())
    with store.snapshot() as db:
        query = sa.select(schema.service.c.value).where(schema.service.c.name == WALLET_FACT)
        expected = db.execute(query).scalar_one_or_none()
    if expected is None or bytes(expected) != wallet.pubkey:
        raise ConfigError(
            f"the database has the coins of another wallet than the one of {path} on {settings.network}; is this the "
            "server's network?"
        )
    return wallet
