"""What is done to a hub's database beside requests: the first start, and users by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from finetuner.errors import UsageError
from finetuner_hub.server.database.connection import Database
from finetuner_hub.server.database.migrate import migrate
from finetuner_hub.server.database.models import User
from finetuner_hub.server.secrets import Passwords, new_password
from finetuner_hub.server.services import users
from finetuner_hub.server.settings import Settings

FIRST = "admin"
"""The administrator whom a hub without users gets."""


def prepare(settings: Settings) -> str | None:
    """Bring the tables up to date; gives the first administrator's password if one was made."""
    with _writing(settings) as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
        password = new_password()
        users.add(session, Passwords(), FIRST, password, time.time(), admin=True)
        return password


def add_user(settings: Settings, name: str, password: str, *, admin: bool) -> None:
    """Make a user; as :func:`users.add`."""
    with _writing(settings) as session:
        users.add(session, Passwords(), name, password, time.time(), admin=admin)


def set_password(settings: Settings, name: str, password: str) -> None:
    """Give a user another password; as :func:`users.set_password`."""
    with _writing(settings) as session:
        users.set_password(session, Passwords(), name, password)


def greeting(settings: Settings, password: str | None) -> str:
    """What is printed at the start: where the hub is, and how to log in."""
    lines = [
        f"hub at {settings.url}, described in {settings.url}/openapi.json",
        "a token for a name and a password:",
        f"  curl {settings.url}/v1/tokens -H 'Content-Type: application/json' \\",
        f'    -d \'{{"user": "{FIRST}", "password": "{password or "…"}"}}\'',
        "more users: finetuner hub add-user NAME",
    ]
    if password is not None:
        lines[1:1] = [
            f"administrator {FIRST!r}, password {password}",
            f"  shown this once; to change it: finetuner hub set-password {FIRST}",
        ]
    return "\n".join(lines)


@contextmanager
def _writing(settings: Settings) -> Iterator[Session]:
    if settings.database is None:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        migrate(database.engine)
        with database.write() as session:
            yield session
    except OperationalError as error:
        raise UsageError(f"the hub's database cannot be used: {error.orig}") from None
    finally:
        database.close()
