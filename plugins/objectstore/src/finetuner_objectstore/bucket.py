"""The few requests in which clouds differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from finetuner_objectstore.failures import Words

PART = 8 << 20
"""Bytes of one request: what is longer goes and comes in several at once."""

SLOWEST = 1 << 20
"""Bytes a second below which one long request counts as hanging."""


@dataclass(frozen=True)
class Entry:
    """One object: its name below the prefix, size in bytes, time of writing by the server."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True)
class Piece:
    """Bytes of an object, the size of all of it, and which version they are of."""

    data: memoryview
    size: int
    version: str


class Bucket(Protocol):
    """A bucket's objects below a prefix; everything it raises of its own is ``CloudError``."""

    words: Words

    def write(self, name: str, data: bytes, create: bool) -> None:
        """Write in one request; ``EXISTS`` if there is something and ``create``."""

    def write_parts(self, name: str, parts: Iterator[bytes], size: int | None) -> None:
        """Write in many requests of which the last makes the object, or none."""

    def create_from(self, name: str, file: BinaryIO, size: int) -> None:
        """Create from a file on disk, without holding it in memory."""

    def read(self, name: str, start: int, end: int, version: str = "") -> Piece:
        """Bytes from ``start`` up to ``end`` or the object's end; ``RANGE`` if there are none.

        ``CHANGED`` if the object is no longer of that ``version``.
        """

    def head(self, name: str) -> Entry: ...

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        """In order, names with the prefix and behind ``after``; others may be among them."""

    def delete(self, name: str) -> None: ...

    def check(self) -> None:
        """``NO_BUCKET`` if the bucket is not there."""

    def tidy(self, before: float) -> int:
        """Abort uploads begun before that POSIX time; bytes freed."""
