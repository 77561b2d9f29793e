"""Bring the tables to the form that this version knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from finetuner.errors import UsageError

_LOCK = 0x46494E45
"""The number of the lock that PostgreSQL gives to one of several hubs that start together."""


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing; hubs that start together do so in turn.

    ``UsageError`` for tables that a later version has made.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config(connection)
        now = revision(connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if now is not None and now not in known:
            raise UsageError(
                f"the database is at revision {now}, which a later version of finetuner-hub "
                "has made: upgrade finetuner-hub"
            )
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """The revision that the tables are at, ``None`` where there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def is_current(connection: Connection) -> bool:
    """Whether the tables have the form that this version knows."""
    script = ScriptDirectory.from_config(_config(connection))
    return revision(connection) == script.get_current_head()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
