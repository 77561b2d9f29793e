"""Streams on their way up: read in parts, and blamed for what they raise themselves."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from finetuner.errors import StoreError
from finetuner_objectstore.bucket import PART


class Source:
    """A caller's stream. What it raises is the caller's, however many layers it crosses."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._error: BaseException | None = None
        self.size = _size(stream)
        """Bytes in all, where the stream can tell."""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer at the end only."""
        blocks: list[bytes] = []
        while count:
            try:
                block = self._stream.read(count)
            except BaseException as error:
                self._error = error
                raise
            if not block:
                break
            blocks.append(block)
            count -= len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Raise what the stream raised, in place of what others made of it."""
        try:
            yield
        except BaseException as error:
            if self._error is not None and error is not self._error:
                raise self._error from None
            raise


class Parts:
    """How many uploads in parts may be under way at a time."""

    def __init__(self, uploads: int) -> None:
        self._slots = threading.BoundedSemaphore(uploads)

    @contextmanager
    def one(self) -> Iterator[Callable[[bytes, Source], Iterator[bytes]]]:
        """Wait for one's turn; gives the function that cuts a stream."""
        with self._slots:
            yield _cut


def _cut(head: bytes, source: Source) -> Iterator[bytes]:
    """Parts of the same size, but for the last; ``head`` is longer than one."""
    yield head[:PART]
    part = head[PART:] + source.take(2 * PART - len(head))
    while part:
        yield part
        part = source.take(PART)


@contextmanager
def spooled(head: bytes, source: Source) -> Iterator[tuple[BinaryIO, int]]:
    """The stream as a file on disk, which has no name, and its size."""
    with tempfile.TemporaryFile() as file:
        try:
            file.write(head)
            while part := source.take(PART):
                file.write(part)
            file.flush()
        except OSError as error:
            with source.blamed():
                raise StoreError(
                    f"{tempfile.gettempdir()} cannot hold what is uploaded ({error.strerror}): "
                    "make room there, or name another directory in TMPDIR"
                ) from error
        size = file.tell()
        file.seek(0)
        yield file, size


def _size(stream: BinaryIO) -> int | None:
    with suppress(OSError, AttributeError, ValueError):
        if stream.seekable():
            here = stream.tell()
            end = stream.seek(0, os.SEEK_END)
            stream.seek(here)
            return end - here
    return None
