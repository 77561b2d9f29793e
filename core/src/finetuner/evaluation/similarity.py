"""Similarity of blocks of queries to a whole index, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import numpy as np

from finetuner.errors import DataError, PluginError, UnknownNameError

TILE = 4096
"""Index rows that are held in float64 at a time."""

NAMES = ("cosine", "euclidean", "squared-euclidean")

DistanceFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Distances B×N (smaller is nearer) of queries B×D and index N×D."""


class Similarity(Protocol):
    """An index made ready: ``similarity(rows)`` of queries gives float32 B×N, larger nearer."""

    def __call__(self, rows: np.ndarray) -> np.ndarray: ...


def similarity_to(
    queries: np.ndarray, index: np.ndarray, distance: str | DistanceFunction
) -> Similarity:
    """A function from row numbers of ``queries`` to their similarities to all of ``index``.

    ``"cosine"`` gives the cosine (of a vector of zeros: 0), ``"euclidean"`` the
    Euclidean distance with its sign changed, ``"squared-euclidean"`` the same of its
    square. A function of (queries B×D, index N×D) gives distances. Index rows that
    are bit for bit the same get the same similarity, whatever the order in which
    the machine adds up, so that ties are ties.
    """
    if callable(distance):
        function, prepared, asked = _by_function(distance), index, queries
    elif distance == "cosine":
        function, prepared = _cosine, unit_rows(index)
        asked = prepared if queries is index else unit_rows(queries)
    elif distance in NAMES:
        function = _euclidean if distance == "euclidean" else _squared_euclidean
        prepared, asked = index, queries
    else:
        raise UnknownNameError("distance", distance, NAMES)
    twins, firsts = repeated_rows(prepared)

    def similarity(rows: np.ndarray) -> np.ndarray:
        block = function(asked[rows], prepared)
        if len(twins):
            block[:, twins] = block[:, firsts]
        return block

    return similarity


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their Euclidean norm, float32; rows of zeros stay as they are."""
    result = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), TILE):
        # Squares of float32 extremes overflow or vanish in float32.
        tile = vectors[start : start + TILE].astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", tile, tile))
        result[start : start + TILE] = tile / np.where(norms > 0, norms, 1.0)[:, None]
    return result


def repeated_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that repeat an earlier one, and for each the earliest row like it."""
    seen: dict[bytes, int] = {}
    firsts = np.empty(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), TILE):
        # Adding zero makes one of the two zeros, whose bits differ.
        for number, row in enumerate(vectors[start : start + TILE] + 0.0, start):
            # A digest in place of the bytes: the memory of a copy would be too much.
            firsts[number] = seen.setdefault(sha256(row.tobytes()).digest(), number)
    twins = np.flatnonzero(firsts != np.arange(len(vectors)))
    return twins, firsts[twins]


def _cosine(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = np.matmul(queries, index.T)
    return cosines


def _euclidean(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    """|a - b|² = |a|² + |b|² - 2ab loses close pairs in float32; float64 keeps them."""
    left = queries.astype(np.float64)
    left_squares = np.einsum("bd,bd->b", left, left)[:, None]
    result = np.empty((len(queries), len(index)), dtype=np.float32)
    for start in range(0, len(index), TILE):
        right = index[start : start + TILE].astype(np.float64)
        squares = np.matmul(left, right.T)
        squares *= -2.0
        squares += left_squares
        squares += np.einsum("nd,nd->n", right, right)
        np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares)
        result[:, start : start + TILE] = squares
    return np.negative(result, out=result)


def _squared_euclidean(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    # Squared in place, so that it ranks exactly as the distance does.
    distances = _euclidean(queries, index)
    distances *= -distances
    return distances


def _by_function(distance: DistanceFunction) -> DistanceFunction:
    def similarity(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
        distances = np.asarray(distance(queries, index))
        expected = (len(queries), len(index))
        if distances.shape != expected:
            raise PluginError(f"the distance gave shape {distances.shape}, not {expected}")
        if not np.isfinite(distances).all():
            raise DataError("the distance gave values that are not finite")
        return -distances.astype(np.float32)

    return similarity
