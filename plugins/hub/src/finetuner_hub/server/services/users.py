"""Users."""

from __future__ import annotations

import re

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from finetuner_hub.server.database.models import Run, Token, User
from finetuner_hub.server.errors import ConflictingError, NotThereError, UnusableError
from finetuner_hub.server.secrets import Passwords
from finetuner_hub.server.services import runs

SHORTEST_PASSWORD = 10

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def add(
    session: Session, passwords: Passwords, name: str, password: str, now: float, *, admin: bool
) -> User:
    """A new user. ``UnusableError`` for a bad name or password, ``ConflictingError`` if taken."""
    if not _NAME.fullmatch(name):
        raise UnusableError(
            f"user name {name!r}: use up to 64 small letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    user = User(name=name, password=hashed(passwords, password), admin=admin, created=now)
    session.add(user)
    try:
        session.flush()
    except IntegrityError:
        raise ConflictingError(f"there is a user {name!r} already") from None
    return user


def hashed(passwords: Passwords, password: str) -> str:
    """What is kept of a new password; ``UnusableError`` for one that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= 1024:
        raise UnusableError(
            f"the password has {len(password)} characters: use {SHORTEST_PASSWORD} to 1024"
        )
    return passwords.hash(password)


def find(session: Session, name: str) -> User:
    """The user ``name``; ``NotThereError``."""
    user = session.scalar(select(User).where(User.name == name)) if name.isprintable() else None
    if user is None:
        raise NotThereError("user", name)
    return user


def everybody(session: Session) -> list[User]:
    """All users, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def set_password(session: Session, passwords: Passwords, name: str, password: str) -> None:
    """Give a user another password; every token of theirs but those of attempts goes."""
    user = find(session, name)
    user.password = hashed(passwords, password)
    session.execute(delete(Token).where(Token.user_id == user.id, Token.run_id.is_(None)))


def enable(session: Session, name: str) -> None:
    """Let a user log in again."""
    find(session, name).disabled = False


def disable(session: Session, name: str, now: float) -> None:
    """Lock a user out: their tokens go, and what they have running or queued is cancelled."""
    user = find(session, name)
    user.disabled = True
    open_runs = select(Run).where(Run.owner_id == user.id).with_for_update()
    for run in session.scalars(open_runs):
        if not run.state.final:
            runs.stop(session, run, now, "its owner was locked out")
    session.execute(delete(Token).where(Token.user_id == user.id))
