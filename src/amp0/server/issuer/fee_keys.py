"""Where the key of the fee wallet is kept: a file beside the service key's, under the same passphrase.

The server makes it at its first start; commands that run beside the server only open it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from amp0.errors import ConfigError
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.keys import FEE_WALLET_FILE, FEE_WALLET_KEY, create_seed_file, load_seed_file
from amp0.server.settings import Settings
from amp0.server.store import schema
from amp0.server.store.engine import Store

WALLET_FACT = "fee_wallet_pubkey"
"""Row of the store's facts that says whose coins it has."""


def open_or_make(
    settings: Settings, store: Store, passphrase: bytes | None, random: Callable[[int], bytes]
) -> FeeWallet:
    """The server's wallet; a new one at its first start. Whoever calls has opened the service key in the same folder
    with the same passphrase, and compares :data:`WALLET_FACT`. Raises :class:`ConfigError`."""
    assert settings.data_dir is not None
    assert passphrase is not None
    path = settings.data_dir / FEE_WALLET_FILE
    if path.exists():
        seed = load_seed_file(path, passphrase, what=FEE_WALLET_KEY)
    elif _known(store) is not None:
        raise ConfigError(
            f"the database has the coins of a fee wallet, and its key {path} is missing; restore it from its copy "
            "(without it these coins are lost, and issued amounts that are hidden cannot be read again)"
        )
    else:
        seed = create_seed_file(path, passphrase, random, what=FEE_WALLET_KEY)
    return FeeWallet(seed, settings.chain_network())


def _known(store: Store) -> bytes | None:
    """Public key of the wallet whose coins the database has."""
    query = sa.select(schema.service.c.value).where(schema.service.c.name == WALLET_FACT)
    with store.snapshot() as db:
        value = db.execute(query).scalar_one_or_none()
    return None if value is None else bytes(value)


def open_store(settings: Settings) -> Store:
    """The database of the settings, which a server has made before. Raises :class:`ConfigError`."""
    if settings.database_url is None:
        if settings.data_dir is None:
            raise ConfigError(
                "say which server: name its data folder (--data-dir, AMP0_DATA_DIR) or its database (AMP0_DATABASE_URL)"
            )
        if not (settings.data_dir / "amp0.sqlite").exists():
            raise ConfigError(f"there is no database in {settings.data_dir}; start the server once (amp0 server run)")
    return Store.open(settings.store_url())


def open_wallet(settings: Settings, store: Store) -> FeeWallet:
    """The wallet whose coins the database has. Raises :class:`ConfigError`."""
    if settings.data_dir is None:
        raise ConfigError(
            "the key of the fee wallet is in the server's data folder: name it (--data-dir, AMP0_DATA_DIR)"
        )
    path = settings.data_dir / FEE_WALLET_FILE
    if not path.exists():
        raise ConfigError(f"there is no {path}; start the server once (amp0 server run)")
    passphrase = settings.read_passphrase()
    if passphrase is None:
        raise ConfigError(
            "the key of the fee wallet is kept encrypted: name a file or file descriptor that holds the server's "
            "passphrase (--passphrase-file, --passphrase-fd, or the AMP0_… variables of these names)"
        )
    wallet = FeeWallet(load_seed_file(path, passphrase, what=FEE_WALLET_KEY), settings.chain_network())
    if _known(store) != wallet.pubkey:
        raise ConfigError(
            f"the database has the coins of another wallet than the one of {path} on {settings.network}; is this the "
            "server's network?"
        )
    return wallet
