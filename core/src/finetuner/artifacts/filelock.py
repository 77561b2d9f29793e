"""A lock on a file, which dies with the process that holds it."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_POLL = 0.1


def try_lock(descriptor: int, *, exclusive: bool) -> bool | None:
    """Whether the lock was got; ``None`` where the system has none."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


@contextmanager
def waited(path: Path) -> Iterator[bool]:
    """Hold the lock ``path`` for the length of the block, waiting for whoever has it.

    Gives ``False`` where the system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        got = try_lock(descriptor, exclusive=True)
        if got is not False and _is_at(descriptor, path):
            break
        os.close(descriptor)
        time.sleep(_POLL)
    try:
        yield bool(got)
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for it finds another file there
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
