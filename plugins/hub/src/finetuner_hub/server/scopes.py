"""What a token is good for, and who is behind one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a token is good for. ``read`` ⊂ ``run`` ⊂ ``admin``; the others stand alone."""

    READ = "read"
    """See one's own."""
    RUN = "run"
    """Start, cancel and delete one's own runs too."""
    ADMIN = "admin"
    """Look after users too. It shows nothing of what is another's."""
    WORKER = "worker"
    """Take runs from the queue, and nothing else. For administrators to give out."""
    ATTEMPT = "attempt"
    """One attempt at one run: see its inputs, write its outputs. Made when a run is taken."""

    def covers(self, other: Scope) -> bool:
        """Whether a token with this scope may do what asks for ``other``."""
        return other is self or (
            self in _LADDER and other in _LADDER and _LADDER.index(other) <= _LADDER.index(self)
        )


_LADDER = (Scope.READ, Scope.RUN, Scope.ADMIN)

FOR_ADMINS = (Scope.ADMIN, Scope.WORKER)
"""Scopes that only an administrator may ask for."""


@dataclass(frozen=True)
class Principal:
    """Who asks: the user behind a token, and what the token is good for.

    An attempt's token acts for the run's owner, and reaches ``run_id`` alone.
    """

    user_id: int
    user_name: str
    scope: Scope
    token_id: int
    run_id: str | None = None
    attempt: int | None = None
