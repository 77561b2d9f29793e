"""Data sets made ready once: the ragged token cache, lazy images, and chunks of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from finetuner.contracts import Inputs, Preprocessing
from finetuner.data.buckets import bucket_of, choose_buckets
from finetuner.data.text import Tokens
from finetuner.errors import UsageError

Chunks = tuple[tuple[Inputs, ...], np.ndarray]


class Encoded(Protocol):
    """A data set that gives model inputs by row number. Safe to read from several threads."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Tokens in each text (int64, N); ``None`` where rows have no length."""

    def __len__(self) -> int: ...

    def chunks(self, rows: np.ndarray, count: int, *, epoch: int | None = None) -> Chunks:
        """The batch ``rows`` cut into at most ``count`` chunks, and ``rows`` in chunk order.

        Texts are sorted by length and each chunk is padded to a bucket; no more
        than eight lengths occur in a data set. Their chunks differ by one row at
        most. Rows of one shape stay together: there is no padding to save, and
        batch statistics must see every class of the batch. ``epoch`` given means
        training: augmentation is on, seeded by (seed, epoch, row); ``None`` means
        evaluation.
        """


@dataclass(frozen=True)
class EncodedText:
    """Texts as token ids; see :class:`Encoded`."""

    tokens: Tokens
    spec: Preprocessing
    buckets: np.ndarray

    @classmethod
    def build(cls, tokens: Tokens, spec: Preprocessing, limit: int | None) -> EncodedText:
        """Choose the buckets for ``tokens``; ``limit`` is the most that the model takes."""
        return cls(tokens, spec, choose_buckets(tokens.lengths, limit))

    @property
    def lengths(self) -> np.ndarray:
        return self.tokens.lengths

    def __len__(self) -> int:
        return len(self.tokens)

    def chunks(self, rows: np.ndarray, count: int, *, epoch: int | None = None) -> Chunks:
        rows = _checked(rows, count, len(self))
        order = rows[np.argsort(self.lengths[rows], kind="stable")]
        return tuple(self._padded(part) for part in _cut(order, count)), order

    def _padded(self, rows: np.ndarray) -> Inputs:
        length = bucket_of(int(self.lengths[rows].max()), self.buckets)
        return self.tokens.padded(rows, length, self.spec)


@dataclass(frozen=True)
class EncodedRows:
    """Images or arrays, made ready batch by batch; see :class:`Encoded`.

    ``prepare(row, epoch)`` gives one row of the input ``name``.
    """

    name: str
    size: int
    prepare: Callable[[int, int | None], np.ndarray]
    workers: int = 0
    lengths: None = field(default=None, init=False)

    def __len__(self) -> int:
        return self.size

    def chunks(self, rows: np.ndarray, count: int, *, epoch: int | None = None) -> Chunks:
        rows = _checked(rows, count, len(self))
        made = map_rows(lambda row: self.prepare(row, epoch), rows.tolist(), self.workers)
        return ({self.name: np.stack(made)},), rows


def map_rows(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[Any]:
    """``function`` of every item, in order, on ``workers`` threads (0: on this one)."""
    if workers < 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(workers, len(items)), "finetuner-data") as pool:
        return list(pool.map(function, items))


def _checked(rows: np.ndarray, count: int, size: int) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.int64)
    if count < 1:
        raise UsageError(f"a batch was to be cut into {count} chunks: give at least 1")
    if rows.ndim != 1 or len(rows) == 0:
        raise UsageError(f"a batch has shape {rows.shape}: give at least one row number")
    if rows.min() < 0 or rows.max() >= size:
        raise UsageError(
            f"rows {rows.min()} to {rows.max()} were asked of a data set of {size} rows"
        )
    return rows


def _cut(rows: np.ndarray, count: int) -> list[np.ndarray]:
    return np.array_split(rows, min(count, len(rows)))
