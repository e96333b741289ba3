from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from amp0.errors import ConfigError
from amp0.server.refusal import NotFound, ServerBusy, StoreUnavailable
from amp0.server.store import engine, migrations, schema
from amp0.server.store.engine import Store


def put(store: Store, name: str, value: bytes = b"") -> None:
    with store.transaction() as connection:
        connection.execute(schema.service.insert().values(name=name, value=value))


def names(store: Store) -> set[str]:
    with store.snapshot() as connection:
        return set(connection.execute(sa.select(schema.service.c.name)).scalars())


def test_return_commits_and_an_exception_rolls_back(any_store: Store) -> None:
    put(any_store, "kept")

    def write_and_fail() -> None:
        with any_store.transaction() as connection:
            connection.execute(schema.service.insert().values(name="lost", value=b""))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert names(any_store) == {"kept"}


def test_a_snapshot_writes_nothing(any_store: Store) -> None:
    if any_store.engine.dialect.name == "postgresql":
        with pytest.raises(sa.exc.DBAPIError), any_store.snapshot() as connection:
            connection.execute(schema.service.insert().values(name="lost", value=b""))
    else:
        with any_store.snapshot() as connection:
            connection.execute(schema.service.insert().values(name="lost", value=b""))
    assert names(any_store) == set()
    put(any_store, "after")
    assert names(any_store) == {"after"}


def test_foreign_keys_are_enforced(any_store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError), any_store.transaction() as connection:
        connection.execute(schema.account_transactions.insert().values(account_id=1, created_at_us=1, txid=bytes(32)))


def test_read_modify_write_of_many_threads_loses_nothing(any_store: Store) -> None:
    put(any_store, "n", b"\0")

    def add() -> None:
        for _ in range(10):
            with any_store.transaction() as connection:
                value = connection.execute(sa.select(schema.service.c.value)).scalar_one()
                connection.execute(schema.service.update().values(value=bytes((value[0] + 1,))))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_store.snapshot() as connection:
        assert connection.execute(sa.select(schema.service.c.value)).scalar_one() == bytes((80,))


def test_sqlite_is_configured_for_durability(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with store.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_database_is_its_owner_s_alone(tmp_path: Path) -> None:
    """The data folder that an operator had made was open to everybody, and so was the register of holders in it."""
    path = tmp_path / "amp0.sqlite"
    store = Store.open(f"sqlite:///{path}")
    put(store, "written")
    assert {mode(one) for one in tmp_path.iterdir()} == {0o600}, "the log beside it is as private"
    store.close()

    path.chmod(0o644)
    Store.open(f"sqlite:///{path}").close()
    assert mode(path) == 0o640, "one of an earlier release is closed to everybody; a group keeps what it was given"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "url",
    ["nonsense hunter2", "postgres://amp0:hunter2@127.0.0.1/x", "mysql://amp0:hunter2@127.0.0.1/x", "sqlite:/x:y"],
)
def test_a_url_of_no_database_is_one_sentence_without_its_password(url: str) -> None:
    """It was a traceback of eighty lines, and exit code 1: a bug."""
    with pytest.raises(ConfigError, match="none of SQLite or PostgreSQL") as error:
        Store.open(url)
    assert "hunter2" not in str(error.value)


def test_a_database_that_is_away_is_one_sentence_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match=r"the database cannot be opened: .*port 1 ") as error:
        Store.open("postgresql://amp0:hunter2@127.0.0.1:1/amp0")
    assert "hunter2" not in str(error.value)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "amp0.sqlite").write_text("not a database, and longer than the header of one would be" * 20)
    with pytest.raises(ConfigError, match="the database cannot be opened: file is not a database"):
        Store.open(f"sqlite:///{tmp_path / 'amp0.sqlite'}")


def test_a_reader_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with store.transaction() as connection:
        connection.execute(schema.service.insert().values(name="a", value=b""))
        assert names(store) == set()
    assert names(store) == {"a"}
    store.close()


# --- failures ------------------------------------------------------------------------------------------------------


class Disk:
    """A disk that breaks when told to."""

    def __init__(self) -> None:
        self.breaks_at: str | None = None
        self.error: Exception = sqlite3.OperationalError("disk I/O error")

    def __call__(self, step: str) -> None:
        if step == self.breaks_at:
            raise self.error


@pytest.mark.parametrize("step", ["begin", "execute", "commit"])
@pytest.mark.parametrize("text", ["database or disk is full", "disk I/O error", "attempt to write a readonly database"])
def test_g04_a_disk_error_closes_the_store_for_writing(tmp_path: Path, step: str, text: str) -> None:
    disk = Disk()
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    store = Store.open(url, faults=disk)
    put(store, "before")
    assert store.ready()

    disk.breaks_at, disk.error = step, sqlite3.OperationalError(text)
    with pytest.raises(StoreUnavailable):
        put(store, "during")
    disk.breaks_at = None

    assert not store.ready()
    assert store.failure is not None
    assert text in store.failure
    with pytest.raises(StoreUnavailable):
        put(store, "after")
    store.close()
    again = Store.open(url)
    assert names(again) == {"before"}
    assert again.ready()
    again.close()


def test_g04_a_database_that_is_really_full(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")
        connection.rollback()
    # The pragma belongs to the connection, and the pool hands out the same one again.
    with pytest.raises(StoreUnavailable):
        put(store, "large", bytes(1 << 20))
    assert store.failure is not None
    assert "full" in store.failure
    assert not store.ready()
    store.close()


def test_a_database_that_somebody_holds_is_busy_and_not_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BUSY_SECONDS", 0.05)
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}")
    other = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ServerBusy):
        put(store, "a")
    assert store.failure is None
    other.execute("ROLLBACK")
    put(store, "a")
    other.close()
    store.close()


def test_an_ordinary_error_does_not_close_the_store(any_store: Store) -> None:
    put(any_store, "a")
    with pytest.raises(sa.exc.IntegrityError):
        put(any_store, "a")
    assert any_store.failure is None
    assert any_store.ready()


# --- migrations ----------------------------------------------------------------------------------------------------


def test_the_migrated_schema_is_the_one_in_schema_py(any_store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with any_store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []


def constraints(connection: sa.Connection) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    inspector = sa.inspect(connection)
    for table in schema.metadata.tables:
        found[table] = {row["name"] for row in inspector.get_check_constraints(table)}
        found[table] |= {row["name"] for row in inspector.get_indexes(table)}
        found[table] |= {row["name"] for row in inspector.get_unique_constraints(table)}
        found[table] |= {row["name"] for row in inspector.get_foreign_keys(table)}
    return found


def test_the_migrated_constraints_are_those_in_schema_py() -> None:
    """Autogeneration does not compare checks and partial indexes, and those guard money."""
    migrated = Store.open("sqlite://")
    created = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    schema.metadata.create_all(created)
    with migrated.engine.connect() as left, created.connect() as right:
        assert constraints(left) == constraints(right)
        query = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
        assert left.execute(query).all() == right.execute(query).all()
    created.dispose()
    migrated.close()


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    store = Store.open(url)
    put(store, "kept")
    store.close()
    store = Store.open(url)
    assert names(store) == {"kept"}
    store.close()


def test_head_is_the_newest_migration() -> None:
    versions = Path(migrations.__file__).parent / "versions"
    assert max(path.name[:4] for path in versions.glob("[0-9]*.py")) == migrations.HEAD


def test_j14_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    store = Store.open(url)
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(ConfigError, match="9999"):
        Store.open(url)


def test_every_table_names_an_owner_that_exists() -> None:
    root = Path(schema.__file__).parent.parent
    for table in schema.metadata.tables.values():
        owner = table.info["owner"]
        assert (root / (owner.replace(".", "/") + ".py")).exists() or owner in {"accounts", "watcher", "cosigner"}


# --- work that shares a commit -------------------------------------------------------------------------------------


def putting(name: str) -> Callable[[sa.Connection], str]:
    def work(connection: sa.Connection) -> str:
        connection.execute(schema.service.insert().values(name=name, value=b""))
        return name

    return work


def test_work_together_is_undone_by_itself(any_store: Store) -> None:
    def refused(connection: sa.Connection) -> str:
        putting("refused")(connection)
        raise NotFound("no")

    def failed(connection: sa.Connection) -> str:
        putting("failed")(connection)
        return putting("first")(connection)

    first, second, third, fourth = any_store.together([putting("first"), refused, failed, putting("last")])
    assert (first, fourth) == ("first", "last")
    assert isinstance(second, NotFound)
    assert isinstance(third, sa.exc.IntegrityError)
    assert names(any_store) == {"first", "last"}
    assert any_store.together([]) == []


def test_the_aftermath_of_a_refusal_is_kept_and_a_broken_one_harms_nobody(any_store: Store) -> None:
    def refused(aftermath: Callable[[sa.Connection], object]) -> Callable[[sa.Connection], str]:
        def work(connection: sa.Connection) -> str:
            putting("undone")(connection)
            refusal = NotFound("no")
            refusal.aftermath = aftermath  # type: ignore[assignment]
            raise refusal

        return work

    results = any_store.together([refused(putting("counted")), refused(putting("counted")), putting("last")])
    assert [type(result) for result in results] == [NotFound, sa.exc.IntegrityError, str]
    assert names(any_store) == {"counted", "last"}


def test_nobody_sees_work_before_the_one_commit(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}")

    def look(_connection: sa.Connection) -> str:
        return ",".join(names(store))

    assert store.together([putting("a"), look, putting("b"), look]) == ["a", "", "b", ""]
    assert names(store) == {"a", "b"}
    store.close()


@pytest.mark.parametrize("step", ["begin", "commit"])
def test_g04_a_disk_error_fails_all_that_share_the_commit(tmp_path: Path, step: str) -> None:
    disk = Disk()
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    store = Store.open(url, faults=disk)
    disk.breaks_at = step
    with pytest.raises(StoreUnavailable):
        store.together([putting("a"), putting("b")])
    disk.breaks_at = None
    assert store.failure is not None
    with pytest.raises(StoreUnavailable):
        store.together([putting("c")])
    store.close()
    again = Store.open(url)
    assert names(again) == set()
    again.close()


def test_g04_a_disk_error_in_the_middle_is_nobody_s_own(tmp_path: Path) -> None:
    """Work that meets a full disk is not merely undone: nobody knows what is on the disk, so all of it fails."""
    disk = Disk()
    store = Store.open(f"sqlite:///{tmp_path / 'x.sqlite'}", faults=disk)

    def breaking(connection: sa.Connection) -> str:
        disk.breaks_at = "execute"
        return putting("b")(connection)

    with pytest.raises(StoreUnavailable):
        store.together([putting("a"), breaking, putting("c")])
    assert store.failure is not None
    assert not store.ready()
    store.close()
