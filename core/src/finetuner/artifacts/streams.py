"""Byte ranges as streams."""

from __future__ import annotations

import io
from typing import BinaryIO

from finetuner.errors import StoreError, UsageError

_BLOCK = 64 << 10


class RangeReader(io.RawIOBase):
    """At most ``length`` further bytes of ``source`` (``None``: all). Closing it closes ``source``.

    A failing read is a ``StoreError`` that names ``what``.
    """

    def __init__(self, source: BinaryIO, length: int | None, what: str) -> None:
        super().__init__()
        self._source, self._left, self._what = source, length, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        most = len(buffer) if self._left is None else min(len(buffer), self._left)
        try:
            count = read_into(self._source, memoryview(buffer)[:most])
        except OSError as error:
            raise StoreError(f"{self._what} cannot be read: {error}") from error
        if self._left is not None:
            self._left -= count
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


def read_into(source: BinaryIO, buffer: memoryview) -> int:
    """Read at most as much as ``buffer`` holds to its beginning; the count, 0 at the end.

    Nothing is copied on the way where the stream can write to a buffer itself.
    """
    readinto = getattr(source, "readinto", None)
    if readinto is not None:
        return int(readinto(buffer) or 0)
    block = source.read(len(buffer))
    buffer[: len(block)] = block
    return len(block)


def read_at_most(stream: BinaryIO, most: int) -> bytes:
    """All of a stream that is no longer than ``most`` bytes; of a longer one, one byte more.

    Room is taken as the bytes come: whoever wrote them does not decide how much.
    """
    found = bytearray()
    while len(found) <= most and (block := stream.read(min(_BLOCK, most + 1 - len(found)))):
        found += block
    return bytes(found)


def range_length(start: int, end: int | None) -> int | None:
    """Bytes from ``start`` up to ``end``; ``UsageError`` unless 0 ≤ start ≤ end."""
    if start < 0 or (end is not None and end < start):
        raise UsageError(f"a range from {start} to {end} does not exist: 0 ≤ start ≤ end")
    return None if end is None else end - start
