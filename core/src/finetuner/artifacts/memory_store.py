"""``memory://``: a store that lives as long as the process, for tests and trials."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

from finetuner.artifacts.keys import check_key
from finetuner.artifacts.streams import range_length
from finetuner.contracts import ObjectInfo
from finetuner.errors import ConflictError, NotFoundError


class MemoryStore:
    """Objects in a dictionary; safe to use from several threads."""

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        check_key(key)
        data = stream.read()
        with self._lock:
            if if_absent and key in self._objects:
                raise ConflictError(f"{self.url}/{key} is already there")
            self._objects[key] = (data, time.time())

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        range_length(start, end)
        return io.BytesIO(self._find(key)[0][start:end])

    def stat(self, key: str) -> ObjectInfo:
        data, modified = self._find(key)
        return ObjectInfo(key, len(data), modified)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            found = [
                ObjectInfo(key, len(data), modified)
                for key, (data, modified) in self._objects.items()
                if key.startswith(prefix) and key > after
            ]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._lock:
            if self._objects.pop(key, None) is None:
                raise NotFoundError(f"there is nothing at {self.url}/{key}")

    def _find(self, key: str) -> tuple[bytes, float]:
        check_key(key)
        with self._lock:
            try:
                return self._objects[key]
            except KeyError:
                raise NotFoundError(f"there is nothing at {self.url}/{key}") from None
