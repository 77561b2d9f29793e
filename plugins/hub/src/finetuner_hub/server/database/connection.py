"""Connections: one engine, and transactions that say whether they write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session

from finetuner.errors import MissingDependencyError, UsageError

_BUSY_MILLISECONDS = 30_000
_POOL: dict[str, Any] = {"pool_size": 20, "max_overflow": 30}
"""As many connections as the server has threads, and some for what it does by itself."""
_READ_ONLY = "hub_read_only"


class Database:
    """Transactions on the tables at ``url``."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._reading = self.engine.execution_options(**{_READ_ONLY: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that changes nothing and waits for nobody."""
        with Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end, or undone if anything is raised.

        On SQLite writers come one after another, from the beginning of each.
        """
        with Session(self.engine) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def open_engine(url: str) -> Engine:
    """The engine for ``url``; ``UsageError`` for one that is neither SQLite nor PostgreSQL."""
    try:
        parsed = make_url(url)
        known = parsed.get_backend_name() in ("sqlite", "postgresql")
        if known and parsed.get_backend_name() == "sqlite":
            waits = {"timeout": _BUSY_MILLISECONDS / 1000}
            engine = create_engine(parsed, connect_args=waits, **_POOL)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        if known:
            return create_engine(parsed, pool_pre_ping=True, **_POOL)
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(f"the database's URL cannot be used: {error}") from None
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the database needs {error.name}, which is not installed: "
            'pip install "finetuner-hub[postgresql]"'
        ) from error
    raise UsageError(
        f"a database of the kind {parsed.get_backend_name()!r} cannot be used: "
        "expected sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Write-ahead log, so that readers and the writer do not wait for each other."""
    connection.isolation_level = None  # the driver begins nothing itself: _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock first: one that read before could not get it any more."""
    reading = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
