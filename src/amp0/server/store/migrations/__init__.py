"""Schema migrations: numbered, forward only, run when the store is opened.

A migration never imports ``schema.py``: it says what the schema became at its number, whatever it is today. The
previous release must still work on the schema that a migration leaves, so columns are added with defaults and
dropped a release later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from amp0.errors import ConfigError

HEAD = "0003"
"""The newest revision. Known here so that an up-to-date database starts without loading Alembic."""

_FOLDER = Path(__file__).parent


def current_revision(connection: Connection) -> str | None:
    """The revision a database stands at; None when it is empty."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return row


def upgrade(engine: Engine) -> None:
    """Bring a database to :data:`HEAD` in one transaction.

    Raises :class:`ConfigError` when the database was made by a newer release.
    """
    with engine.begin() as connection:
        revision = current_revision(connection)
        if revision == HEAD:
            return
        _run(connection, revision)


def _run(connection: Connection, revision: str | None) -> None:
    # Alembic is heavy and needed once in the life of a database.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    script = ScriptDirectory.from_config(config)
    if revision is not None and revision not in {entry.revision for entry in script.walk_revisions()}:
        raise ConfigError(
            f"the database is at schema {revision}, which this release does not know (its newest is {HEAD}); "
            "start the release that wrote it, or a newer one"
        )

    def steps(current: Any, _context: object) -> Any:
        return script._upgrade_revs("head", current)

    environment = EnvironmentContext(config, script, fn=steps)
    try:
        environment.configure(connection=connection, transactional_ddl=True)
        with environment.begin_transaction():
            environment.run_migrations()
    except CommandError as error:
        raise ConfigError(f"the database could not be migrated: {error}") from error
