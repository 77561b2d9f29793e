"""Who carries out a run holds a lock on its directory, which dies with the process.

A process number alone proves nothing: after a restart, of a container above all,
another process has the same one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetuner.artifacts.filelock import try_lock
from finetuner.errors import RunError

_TRIES = 10
_PAUSE = 0.05
"""Somebody who only looks (:func:`is_held`) may be in the way for a moment."""


@contextmanager
def hold(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock ``path`` for as long as the block takes; ``RunError(refusal)`` if taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        for left in reversed(range(_TRIES)):
            if try_lock(descriptor, exclusive=True) is not False:
                break
            if not left:
                raise RunError(refusal)
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a living process holds the lock; ``None`` where the system cannot tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        free = try_lock(descriptor, exclusive=False)
        return None if free is None else not free
    finally:
        os.close(descriptor)
