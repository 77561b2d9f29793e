"""One stream out of many ranges, fetched ahead in parallel."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from finetuner_objectstore.bucket import PART

_AHEAD = 4
"""Parts that one reader fetches ahead of what was read of it."""

_AHEAD_OF_ALL = 8
"""Parts that all readers of a store fetch ahead together."""

Read = Callable[[int, int], memoryview]


class Readers:
    """What the readers of one store share: threads, and how much they may fetch ahead."""

    def __init__(self) -> None:
        self._room = threading.Semaphore(_AHEAD_OF_ALL)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def ahead(self, read: Read, start: int, end: int) -> Future[memoryview] | None:
        """Begin a read if there is room for what it brings."""
        if not self._room.acquire(blocking=False):
            return None
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AHEAD_OF_ALL, "finetuner-objectstore")
        return self._pool.submit(read, start, end)

    def used(self) -> None:
        """Make room: what ``ahead`` brought is in the reader's hands, or not wanted."""
        self._room.release()


class ObjectReader(io.RawIOBase):
    """Bytes ``first`` and then those from ``place`` up to ``end``, read in parts.

    Parts are fetched ahead as far as there is room; where there is none, the part that
    is wanted is read by the caller's own thread, so that no reader waits for another.
    """

    def __init__(
        self, read: Read, first: memoryview, place: int, end: int, readers: Readers
    ) -> None:
        super().__init__()
        self._read, self._here, self._place, self._end = read, first, place, end
        self._readers = readers
        self._pending: deque[Future[memoryview]] = deque()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._fetch_ahead()
        if not self._here:
            self._here = self._next()
        count = min(len(buffer), len(self._here))
        buffer[:count] = self._here[:count]
        self._here = self._here[count:]
        return count

    def close(self) -> None:
        while self._pending:
            future = self._pending.popleft()
            future.cancel()
            future.add_done_callback(lambda _: self._readers.used())
        self._here = memoryview(b"")
        super().close()

    def _fetch_ahead(self) -> None:
        while len(self._pending) < _AHEAD and self._place < self._end:
            stop = min(self._place + PART, self._end)
            future = self._readers.ahead(self._read, self._place, stop)
            if future is None:
                return
            self._pending.append(future)
            self._place = stop

    def _next(self) -> memoryview:
        if self._pending:
            future = self._pending.popleft()
            try:
                return future.result()
            finally:
                self._readers.used()
        if self._place == self._end:
            return memoryview(b"")
        stop = min(self._place + PART, self._end)
        part, self._place = self._read(self._place, stop), stop
        return part
