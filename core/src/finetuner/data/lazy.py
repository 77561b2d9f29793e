"""Contents that are read when they are looked at, so that a data set may be larger than memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np


class LazySequence(Sequence[Any]):
    """``read(row)`` of so many rows. A slice is a list; :func:`pick` keeps it lazy."""

    def __init__(self, size: int, read: Callable[[int], Any]) -> None:
        self._size, self._read = size, read

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._read(row) for row in range(*index.indices(self._size))]
        row = index + self._size if index < 0 else index
        if not 0 <= row < self._size:
            raise IndexError(f"row {index} of {self._size}")
        return self._read(int(row))

    def __iter__(self) -> Iterator[Any]:
        return map(self._read, range(self._size))


class RowFile:
    """Rows of bytes in one file, read by number. Safe to use from several threads.

    The file is read, not mapped into memory: what counts against a limit on memory is
    what a caller holds, whatever kind of limit it is.
    """

    def __init__(self, path: Path, offsets: np.ndarray) -> None:
        self._file, self._offsets = path.open("rb", buffering=0), offsets
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, row: int) -> bytes:
        """The bytes of one row."""
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        with self._lock:
            self._file.seek(start)
            return self._file.read(end - start)


def pick(contents: Sequence[Any] | np.ndarray, rows: np.ndarray) -> Sequence[Any] | np.ndarray:
    """The contents at these rows; lazily where they are, copied where they are in memory."""
    if isinstance(contents, LazySequence | np.memmap):
        chosen: Sequence[Any] | np.ndarray = contents
        return LazySequence(len(rows), lambda row: chosen[int(rows[row])])
    if isinstance(contents, np.ndarray):
        copied: np.ndarray = contents[rows]
        return copied
    return [contents[row] for row in rows]
