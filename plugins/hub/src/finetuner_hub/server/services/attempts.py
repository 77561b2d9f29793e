"""Rate limits, counted in the database, so that hubs that share one share the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from finetuner_hub.server.database.models import Attempts
from finetuner_hub.server.errors import TooManyError

WINDOW = 60.0
"""Seconds for which tries are counted together."""

_INSERT: dict[str, Callable[..., Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def count(session: Session, what: str, now: float) -> int:
    """Note one more try of ``what``; gives how many there were in this window, with this one."""
    window = int(now // WINDOW)
    statement = (
        _INSERT[session.get_bind().dialect.name](Attempts)
        .values(key=_key(what), window=window, count=1)
        .on_conflict_do_update(
            index_elements=[Attempts.key, Attempts.window], set_={"count": Attempts.count + 1}
        )
        .returning(Attempts.count)
    )
    return int(session.execute(statement).scalar_one())


def forget(session: Session, what: str) -> None:
    """Count ``what`` from nothing again."""
    session.execute(delete(Attempts).where(Attempts.key == _key(what)))


def refuse_above(limits: dict[str, int], counted: dict[str, int], now: float) -> None:
    """``TooManyError`` where something was tried more often than its limit allows."""
    if any(counted[what] > limit for what, limit in limits.items()):
        wait = WINDOW - now % WINDOW
        raise TooManyError(f"tried too often: try again in {max(1, round(wait))} s", wait)


def sweep(session: Session, now: float) -> None:
    """Forget the windows that are over."""
    session.execute(delete(Attempts).where(Attempts.window < int(now // WINDOW)))


def _key(what: str) -> str:
    """Names and addresses are not kept, only what tells them apart."""
    return hashlib.sha256(what.encode()).hexdigest()
