"""A database that an earlier release wrote, with data in it, is brought up to date and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from amp0.server.store import migrations, schema
from amp0.server.store.engine import Store

KEY, CODE = b"\x02" + b"\x11" * 32, b"\x22" * 32


def at_revision(url: str, revision: str) -> sa.Engine:
    """A database as the release with that revision left it."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)

    def steps(current: Any, _context: object) -> Any:
        return script._upgrade_revs(revision, current)

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        environment = EnvironmentContext(config, script, fn=steps)
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
    return engine


def test_a_database_of_the_first_release_keeps_what_it_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'amp0.sqlite'}"
    engine = at_revision(url, "0001")
    user = {
        "id": 7, "master_pubkey": KEY, "master_chain_code": CODE, "login_hash": b"\x33" * 20, "gait_path": b"\x44" * 64,
        "user_agent": "x", "appearance": "{}", "cache_password": "", "csv_blocks": 65535, "nlocktime_blocks": 12960,
        "client_blob": "", "client_blob_hmac": "", "created_at": 1,
    }  # fmt: skip
    account = {
        "id": 3, "user_id": 7, "pointer": 1, "type": "2of2_no_recovery", "name": "", "receiving_id": "GA3",
        "user_pubkey": KEY, "user_chain_code": CODE, "last_pointer": 1, "created_at": 1,
    }  # fmt: skip
    paid = {
        "txid": b"\x55" * 32, "state": 1, "height": 4, "fee": 30, "weight": 1000, "vsize": 250, "first_seen_at": 1,
        "changed_at": 2, "raw": b"\x02",
    }  # fmt: skip
    with engine.begin() as connection:
        assert "assets" not in sa.inspect(connection).get_table_names()
        connection.execute(schema.users.insert().values(user))
        connection.execute(schema.accounts.insert().values(account))
        connection.execute(schema.transactions.insert().values(paid))
    engine.dispose()

    store = Store.open(url)
    with store.transaction() as db:
        assert migrations.current_revision(db) == migrations.HEAD
        assert db.execute(sa.select(schema.accounts.c.receiving_id)).scalars().all() == ["GA3"]
        assert db.execute(sa.select(schema.transactions.c.height)).scalars().all() == [4]
        # What came later works on what was there before.
        principals, holders = (schema.metadata.tables[name] for name in ("principals", "user_gaids"))
        login = {
            "id": 1, "username": "acme", "person": "acme", "salt": bytes(16), "password_hash": bytes(32),
            "token_generation": 1, "is_locked": 0, "created_at": 3,
        }  # fmt: skip
        db.execute(principals.insert().values(login))
        bob = {
            "id": 1, "issuer_id": 1, "creator_id": 1, "name": "Bob", "is_company": 0, "is_frozen": 0, "created_at": 3,
        }  # fmt: skip
        db.execute(schema.metadata.tables["registered_users"].insert().values(bob))
        db.execute(holders.insert().values(issuer_id=1, account_id=3, user_id=1, is_default=1, added_at=3))
    store.close()


def test_each_migration_follows_the_one_before(tmp_path: Path) -> None:
    names = sorted(path.stem[:4] for path in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py"))
    assert names == [f"{number:04d}" for number in range(1, len(names) + 1)]
    for i, name in enumerate(names):
        engine = at_revision(f"sqlite:///{tmp_path / name}.sqlite", name)
        with engine.connect() as connection:
            assert migrations.current_revision(connection) == names[i]
        engine.dispose()
