"""The migrations, from nothing, make the tables that the code knows."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from finetuner.errors import UsageError
from finetuner_hub.server.database.connection import Database, open_engine
from finetuner_hub.server.database.migrate import is_current, migrate
from finetuner_hub.server.database.models import Base


def test_migrations_from_nothing_equal_the_models(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        assert is_current(connection)


def test_migrating_again_changes_nothing(database):
    migrate(database.engine)
    with database.engine.connect() as connection:
        assert is_current(connection)


def test_tables_of_a_later_version_are_refused(database):
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match=r"revision 9999.*upgrade finetuner-hub"):
        migrate(database.engine)


def test_sqlite_writes_ahead_and_minds_references(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    with database.read() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1


@pytest.mark.parametrize("url", ["mysql://localhost/hub", "hub.db", "nonsense://x"])
def test_databases_of_other_kinds_are_refused(url):
    with pytest.raises(UsageError, match="database"):
        open_engine(url)
