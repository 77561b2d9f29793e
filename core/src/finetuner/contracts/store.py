"""The narrow protocol of a store: blobs by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object: its key, size in bytes and time of writing (POSIX seconds)."""

    key: str
    size: int
    modified: float


class Store(Protocol):
    """A flat space of objects under slash-separated keys.

    Every method raises ``NotFoundError`` for a key that is not there,
    ``TransientStoreError`` for what may succeed when it is tried again, and
    ``StoreError`` for anything else that goes wrong. Every method may be called from
    several threads at once; a stream that ``get`` gave is read by one.
    """

    url: str

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        """Write the whole stream or nothing. ``ConflictError`` if present and ``if_absent``."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        """The bytes from ``start`` up to ``end``, as a stream to be closed."""

    def stat(self, key: str) -> ObjectInfo: ...

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with ``prefix`` and sorts behind ``after``, by key."""

    def delete(self, key: str) -> None: ...
