"""Exact nearest neighbours, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finetuner.errors import DataError, UsageError
from finetuner.evaluation.similarity import DistanceFunction, similarity_to

BLOCK_BYTES = 64 * 2**20
"""Size of one block of similarities; a few times as much is used while it is searched."""

MOST_ROWS = 4096


def neighbours(
    queries: np.ndarray,
    index: np.ndarray | None = None,
    k: int = 5,
    *,
    distance: str | DistanceFunction = "cosine",
    block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest index rows of every query.

    ``queries`` is Q×D and ``index`` N×D; without an index the queries are
    searched among themselves, each without itself. Returns row numbers (int64,
    Q×k) and similarities (float32, Q×k), nearest first and ties by row number;
    k is cut to the number of candidates. Similarity is the cosine, or the
    distance with its sign changed. ``block`` is the number of queries at a time.

    Raises ``DataError`` for vectors that cannot be compared and ``UsageError``
    for k below 1.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")
    queries, index, leave_one_out = check_vectors(queries, index)
    count = min(k, len(index) - leave_one_out)
    found = np.empty((len(queries), count), dtype=np.int64)
    similarities = np.empty((len(queries), count), dtype=np.float32)
    similarity = similarity_to(queries, index, distance)
    for rows in blocks(np.arange(len(queries)), len(index), block):
        scores = similarity(rows)
        if leave_one_out:
            scores[np.arange(len(rows)), rows] = -np.inf
        found[rows] = nearest(scores, count)
        similarities[rows] = np.take_along_axis(scores, found[rows], axis=1)
    return found, similarities


def nearest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest scores of each row, largest first, ties by column.

    ``scores`` is B×N without NaN, 0 ≤ k ≤ N; the result is int64 B×k.
    """
    rows, columns = scores.shape
    if k == 0:
        return np.empty((rows, 0), dtype=np.int64)
    least = np.partition(scores, columns - k, axis=1)[:, columns - k]
    chosen = scores >= least[:, None]
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > k):
        # Several candidates share the last place: the first of them in the index get it.
        tied = np.flatnonzero(scores[row] == least[row])
        surplus = np.count_nonzero(chosen[row]) - k
        chosen[row, tied[len(tied) - surplus :]] = False
    found = (np.flatnonzero(chosen) % columns).reshape(rows, k)
    # Columns ascend here, so a stable sort keeps ties in index order.
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def blocks(rows: np.ndarray, columns: int, size: int | None = None) -> Iterator[np.ndarray]:
    """``rows`` in pieces of ``size``, by default so many that a block of scores is small."""
    if size is None:
        size = min(MOST_ROWS, max(1, BLOCK_BYTES // (4 * columns)))
    if size < 1:
        raise UsageError(f"block must be at least 1, not {size}")
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def check_vectors(
    queries: np.ndarray, index: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Queries and index as float32 matrices, and whether they are one and the same.

    Raises ``DataError`` for the wrong rank or width, emptiness, and values that
    are not finite (the row is named).
    """
    asked = _matrix("queries", queries)
    if index is None:
        if len(asked) < 2:
            raise DataError("one vector has no neighbours: give two or more, or an index")
        return asked, asked, True
    searched = _matrix("index", index)
    if asked.shape[1] != searched.shape[1]:
        raise DataError(
            f"queries are {asked.shape[1]} wide and the index {searched.shape[1]}: "
            "both must come from the same model"
        )
    return asked, searched, False


def _matrix(name: str, vectors: np.ndarray | Sequence[Any]) -> np.ndarray:
    result = np.ascontiguousarray(vectors, dtype=np.float32)
    if result.ndim != 2 or 0 in result.shape:
        raise DataError(
            f"{name} must be a filled matrix, rows × width, not of shape {result.shape}"
        )
    for rows in blocks(np.arange(len(result)), result.shape[1]):
        finite = np.isfinite(result[rows]).all(axis=1)
        if not finite.all():
            row = rows[np.argmin(finite)]
            raise DataError(f"row {row} of {name} holds values that are not finite")
    return result
