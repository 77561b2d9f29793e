"""Trying again: the one place where it is done, over any store."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

from finetuner.artifacts.streams import read_into
from finetuner.contracts import ObjectInfo, Store
from finetuner.errors import NotFoundError, TransientStoreError

R = TypeVar("R")

TRIES = 6
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0


class RetryingStore:
    """``inner``, with every request that failed for the moment tried again.

    Pauses double from one to the next and are drawn at random below that, so that
    many who failed together do not come back together. A stream that breaks off goes
    on where it was, a listing behind its last key. A ``put`` is tried again only if
    its stream can be rewound; one with ``if_absent`` may then find what its own first
    try wrote, and says ``ConflictError``.
    """

    def __init__(
        self, inner: Store, tries: int = TRIES, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.inner, self.url = inner, inner.url
        self._tries, self._sleep = tries, sleep

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        start = stream.tell() if stream.seekable() else None

        def attempt() -> None:
            if start is not None:
                stream.seek(start)
            self.inner.put(key, stream, if_absent=if_absent)

        if start is None:
            attempt()
        else:
            self.again(attempt)

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        return io.BufferedReader(_Resumed(self, key, start, end, self.open(key, start, end)))

    def open(self, key: str, start: int, end: int | None) -> BinaryIO:
        """A stream of the store itself, which breaks where it breaks."""
        return self.again(lambda: self.inner.get(key, start, end))

    def stat(self, key: str) -> ObjectInfo:
        return self.again(lambda: self.inner.stat(key))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        place, failures = after, 0
        while True:
            try:
                for info in self.inner.list(prefix, place):
                    yield info
                    place, failures = info.key, 0
                return
            except TransientStoreError:
                failures += 1
                if failures >= self._tries:
                    raise
                self.pause(failures)

    def delete(self, key: str) -> None:
        failures = 0
        while True:
            try:
                return self.inner.delete(key)
            except NotFoundError:
                if failures:  # the try before was carried out after all
                    return None
                raise
            except TransientStoreError:
                failures += 1
                if failures >= self._tries:
                    raise
                self.pause(failures)

    def again(self, attempt: Callable[[], R]) -> R:
        """What ``attempt`` gives, at the first try that does not fail for the moment."""
        for failures in range(1, self._tries):
            try:
                return attempt()
            except TransientStoreError:
                self.pause(failures)
        return attempt()

    def pause(self, failures: int) -> None:
        """Wait as long as after that many failures in a row."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        self._sleep(longest * random.uniform(0.5, 1.0))

    @property
    def tries(self) -> int:
        """Tries in all, the first one among them."""
        return self._tries


class _Resumed(io.RawIOBase):
    """A range of an object; a read that fails for the moment goes on from where it was."""

    def __init__(
        self, store: RetryingStore, key: str, start: int, end: int | None, source: BinaryIO
    ) -> None:
        super().__init__()
        self._store, self._key, self._place, self._end = store, key, start, end
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        failures = 0
        while True:
            try:
                count = read_into(self._source, memoryview(buffer))
                break
            except TransientStoreError:
                failures += 1
                if failures >= self._store.tries:
                    raise
                self._store.pause(failures)
                self._source.close()
                self._source = self._store.open(self._key, self._place, self._end)
        self._place += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def reliable(store: Store) -> RetryingStore:
    """``store`` with retries, once."""
    return store if isinstance(store, RetryingStore) else RetryingStore(store)
