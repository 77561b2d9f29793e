"""A hub in this process, with a clock that tests set and passwords that are quick to hash."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from hubs import Clock, House
from postgres import postgresql

from finetuner_hub.server.app import create_app
from finetuner_hub.server.database.connection import Database
from finetuner_hub.server.database.migrate import migrate
from finetuner_hub.server.secrets import Passwords
from finetuner_hub.server.settings import Settings


@pytest.fixture
def clock():
    return Clock(1_000_000.0)


@pytest.fixture(scope="session")
def passwords():
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An SQLite file that the migrations were run on: once, for tests of other things."""
    path = tmp_path_factory.mktemp("migrated") / "hub.sqlite3"
    database = Database(f"sqlite:///{path}")
    migrate(database.engine)
    database.close()
    return path


@pytest.fixture
def settings(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "hub.sqlite3")
    return Settings(tmp_path, stream_poll=0.01, keep_every=3600.0, max_log_characters=1000)


@pytest.fixture
def house(settings, clock, passwords):
    with TestClient(create_app(settings, clock=clock, passwords=passwords)) as client:
        yield House(client, clock)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A PostgreSQL of the tests' own, or one that ``FINETUNER_TEST_POSTGRES`` names."""
    given = os.environ.get("FINETUNER_TEST_POSTGRES")
    if given:
        yield given
        return
    with postgresql(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """An empty database, brought up by the migrations."""
    url = f"sqlite:///{tmp_path / 'hub.sqlite3'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("fresh_postgres")
    database = Database(url)
    migrate(database.engine)
    yield database
    database.close()


@pytest.fixture
def fresh_postgres(server):
    """A new database on the server."""
    from sqlalchemy import create_engine, make_url, text

    name = f"hub_{os.urandom(6).hex()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
