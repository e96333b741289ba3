"""The store: one database, one writer at a time, and nothing forgotten once it was answered.

:meth:`Store.transaction` yields a SQLAlchemy Core connection: return commits durably, an exception rolls back.
:meth:`Store.snapshot` is the same for reading only, and never waits for a writer (except in memory).

SQLite runs with a write-ahead log, ``synchronous=FULL`` and BEGIN IMMEDIATE, so that a transaction that has read
something may rely on it until it commits. PostgreSQL gives the same promise here through one advisory lock. A lock
of our own stands in front of both, because waiting threads in turn are cheaper than a busy timeout.

:meth:`Store.together` runs several pieces of work in one transaction, so that they share the wait for the disk. Each is
undone by itself when it raises, and nobody learns the outcome before the one commit.

**Failures.** Disk full, an I/O or fsync error, a database that became read-only: after any of these nobody knows
what is on the disk. The store then stays closed for writing until the process is started again, so that no
signature leaves without a durable record; :attr:`Store.failure` says why, and readiness shows it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from amp0.errors import ConfigError
from amp0.server.refusal import Refusal, ServerBusy, StoreUnavailable
from amp0.server.store import asset_schema as _asset_schema  # noqa: F401 (its tables belong to the schema)
from amp0.server.store import schema

log = logging.getLogger("amp0.server.store")

T = TypeVar("T")

Faults = Callable[[str], None]
"""A test's way to break the store: called with ``begin``, ``execute`` or ``commit``, before each; it may raise what
the driver would."""

_BUSY_SECONDS = 10
_POOL_SIZE = 16
# Any number will do, as long as nobody else on the database uses it: "amp0" in ASCII.
_POSTGRES_WRITER_LOCK = 0x616D7030

# What SQLite says when the disk, and not the statement, is at fault.
_FATAL_SQLITE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
_FATAL_SQLITE_TEXTS = ("disk i/o error", "disk is full", "readonly database", "malformed", "unable to open")
# PostgreSQL classes: 53 insufficient resources, 58 system error, XX internal error.
_FATAL_POSTGRES = ("53", "58", "XX")
# A server in recovery takes no writes; a snapshot of ours takes none by design.
_POSTGRES_READ_ONLY = "25006"


class Store:
    """An open database. Make one with :meth:`open`; it may be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = threading.Lock()
        # One shared connection cannot hold two transactions, so readers of an in-memory store queue as well.
        self._in_memory = isinstance(engine.pool, StaticPool)
        self._failure: str | None = None

    @classmethod
    def open(cls, url: str, *, faults: Faults | None = None) -> Store:
        """Open the database at an SQLAlchemy URL and bring its schema up to date.

        ``sqlite://`` is a database in memory. ``faults`` injects errors of the driver, for tests.
        A new SQLite file is its owner's alone. Raises :class:`~amp0.errors.ConfigError` for a URL that names no
        database, one that cannot be opened, and a schema newer than this program; no text repeats the URL, which
        may hold a password.
        """
        from amp0.server.store.migrations import upgrade

        engine = _make_engine(_parse(url), faults)
        try:
            upgrade(engine)
        except DBAPIError as error:
            engine.dispose()
            # The driver's own words: where it went and what it was told. The password is not among them.
            told = " ".join(str(error.orig).split())
            raise ConfigError(f"the database cannot be opened: {told}") from None
        return cls(engine)

    @property
    def failure(self) -> str | None:
        """Why nothing can be written any more, or None while all is well."""
        return self._failure

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for migrations and tests."""
        return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The one writing transaction: commits on return, rolls back on an exception.

        Raises :class:`StoreUnavailable` when the store has failed, now or earlier. Nested use deadlocks by design of
        a plain lock; no function that is given a connection opens another.
        """
        if self._failure is not None:
            raise StoreUnavailable(self._failure_text())
        with self._writer, self._watching_failures(), self._engine.connect() as connection:
            if self._failure is not None:
                raise StoreUnavailable(self._failure_text())
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_WRITER_LOCK})
                yield connection

    def together(self, works: Sequence[Callable[[Connection], T]]) -> list[T | Exception]:
        """Run pieces of work one after the other in one transaction, with one commit for all of them.

        The results are in the order of the works. Where one raised, its exception is in the place of its result, what
        it wrote is undone, and so is nothing of the others; a refusal's aftermath is kept. Works wait for nobody
        and open no transactions of their own.

        Raises :class:`StoreUnavailable` when the store has failed: then no work was kept.
        """
        if not works:
            return []
        with self.transaction() as connection:
            return [_attempt(connection, work) for work in works]

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A consistent view for reading; whatever is done in it is rolled back."""
        if self._in_memory:
            with self._writer, self._watching_failures(writing=False), self._engine.connect() as connection:
                yield connection
                connection.rollback()
            return
        with self._watching_failures(writing=False), self._engine.connect() as connection:
            options = (
                {"amp0_read_only": True}
                if connection.dialect.name == "sqlite"
                else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            )
            yield connection.execution_options(**options)
            connection.rollback()

    def ready(self) -> bool:
        """Whether a transaction can be begun, read and committed right now."""
        try:
            with self.transaction() as connection:
                connection.execute(sa.select(schema.service.c.name).limit(1)).all()
        except (Refusal, DBAPIError):
            return False
        return True

    def close(self) -> None:
        """Close every connection; SQLite's log is folded into its file by the last one."""
        self._engine.dispose()

    def _failure_text(self) -> str:
        return (
            "The server cannot write to its database, so it signs nothing and hands out nothing; "
            "its operator must look at the disk and start it again"
        )

    @contextmanager
    def _watching_failures(self, writing: bool = True) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if _is_fatal(error, writing):
                self._failure = type(error.orig).__name__ + ": " + str(error.orig)
                log.critical("store failed, writing stops error=%r", self._failure)
                raise StoreUnavailable(self._failure_text()) from error
            if _is_busy(error):
                raise ServerBusy("The server's database is busy; try again in a moment") from error
            raise
        except sqlite3.Error as error:
            # Raised outside SQLAlchemy's statements: by COMMIT, where it passes drivers' errors through.
            self._failure = type(error).__name__ + ": " + str(error)
            log.critical("store failed, writing stops error=%r", self._failure)
            raise StoreUnavailable(self._failure_text()) from error


_SAVEPOINT, _UNDO, _KEEP = "SAVEPOINT amp0_work", "ROLLBACK TO SAVEPOINT amp0_work", "RELEASE SAVEPOINT amp0_work"


def _attempt(connection: Connection, work: Callable[[Connection], T]) -> T | Exception:
    # As plain statements: the savepoints of SQLAlchemy do the same and cost as much as a call's own statements.
    result: T | Exception
    connection.exec_driver_sql(_SAVEPOINT)
    try:
        result = work(connection)
    except Exception as error:  # noqa: BLE001 (every kind of it is the caller's to see)
        _undo(connection, error)
        result = error
        if isinstance(error, Refusal) and error.aftermath is not None:
            try:
                error.aftermath(connection)
            except Exception as worse:  # noqa: BLE001
                _undo(connection, worse)
                result = worse
    connection.exec_driver_sql(_KEEP)
    return result


def _undo(connection: Connection, error: Exception) -> None:
    """Back to the savepoint; where the disk is at fault, the whole transaction ends here."""
    if isinstance(error, sqlite3.Error) or (isinstance(error, DBAPIError) and _is_fatal(error, writing=True)):
        raise error
    connection.exec_driver_sql(_UNDO)


def _is_fatal(error: DBAPIError, writing: bool) -> bool:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        if code is not None:
            return (code & 0xFF) in _FATAL_SQLITE
        text = str(original).lower()
        return any(part in text for part in _FATAL_SQLITE_TEXTS)
    state = str(getattr(original, "sqlstate", None) or "")
    return state.startswith(_FATAL_POSTGRES) or (writing and state == _POSTGRES_READ_ONLY)


def _is_busy(error: DBAPIError) -> bool:
    """Whether somebody else (a back-up, an operator's shell) held the database for longer than we wait."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _parse(url: str) -> sa.URL:
    """The URL, if it is one of a database that this store speaks to."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(
            "the database's URL is none of SQLite or PostgreSQL; give one like "
            "postgresql://amp0@127.0.0.1/amp0 or sqlite:////var/lib/amp0/amp0.sqlite"
        )
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _make_engine(url: sa.URL, faults: Faults | None) -> Engine:
    # Parameters are hidden everywhere: what fails is logged, and what a statement was given may be a secret.
    if url.get_backend_name() == "sqlite":
        return _make_sqlite(url, faults)
    engine = sa.create_engine(url, pool_size=_POOL_SIZE, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
    _inject(engine, faults)
    return engine


def _make_sqlite(url: sa.URL, faults: Faults | None) -> Engine:
    in_memory = not url.database or url.database == ":memory:"
    arguments = {"check_same_thread": False, "timeout": _BUSY_SECONDS}
    if in_memory:
        engine = sa.create_engine(url, poolclass=StaticPool, connect_args=arguments, hide_parameters=True)
    else:
        _make_private(Path(str(url.database)))
        engine = sa.create_engine(
            url,
            poolclass=QueuePool,
            pool_size=_POOL_SIZE,
            max_overflow=0,
            connect_args=arguments,
            hide_parameters=True,
        )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions by itself: see "begin" below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA trusted_schema=OFF")
        if not in_memory:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("amp0_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    _inject(engine, faults)
    return engine


def _make_private(path: Path) -> None:
    """A new database is made for its owner alone, whatever folder it is in and whatever the umask says.

    It holds who owns what, and the secrets of second factors. SQLite gives the files beside it the same mode. One that
    is there already, and everybody may read, is closed to them too; what its owner gave to a group stays.
    """
    with suppress(OSError):  # What it cannot open the driver says itself.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for one in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with suppress(OSError):
            if os.name == "posix" and (mode := stat.S_IMODE(one.stat().st_mode)) & 0o007:
                one.chmod(mode & ~0o007)


def _inject(engine: Engine, faults: Faults | None) -> None:
    if faults is None:
        return
    break_now = faults

    @sa.event.listens_for(engine, "begin")
    def before_begin(_connection: Connection) -> None:
        break_now("begin")

    @sa.event.listens_for(engine, "commit")
    def before_commit(_connection: Connection) -> None:
        break_now("commit")

    @sa.event.listens_for(engine, "before_cursor_execute")
    def before_execute(*_arguments: object) -> None:
        break_now("execute")
