"""Embeddings of a whole dataset."""

from __future__ import annotations

import numpy as np

from finetuner.contracts import Backend
from finetuner.contracts.backend import State
from finetuner.errors import ModelError, UsageError
from finetuner.training.loader import Rows, prefetch

BATCH_SIZE = 64


def embed_all(
    backend: Backend, state: State, encoded: Rows, *, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Float32 embeddings N×D in the order of the dataset, in evaluation mode.

    Rows of like length share a batch, the longest first, so that little is padded
    and memory that does not suffice shows at once. ``UsageError`` where there are
    no rows or ``batch_size`` is below 1; ``ModelError`` where an embedding is not
    a B×D array of finite numbers.
    """
    if len(encoded) == 0:
        raise UsageError("there are no rows to embed")
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}: give at least 1")
    rows = np.arange(len(encoded))
    if encoded.lengths is not None:
        rows = np.argsort(-np.asarray(encoded.lengths), kind="stable")
    parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    found: np.ndarray | None = None
    for (inputs,), order in prefetch(lambda part: encoded.chunks(part, 1), parts):
        vectors = backend.embed(state, inputs)
        _check(vectors, order)
        if found is None:
            found = np.empty((len(encoded), vectors.shape[1]), np.float32)
        found[order] = vectors
    assert found is not None
    return found


def _check(vectors: np.ndarray, rows: np.ndarray) -> None:
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise ModelError(
            f"{len(rows)} rows gave embeddings of shape {vectors.shape}: a B×D array is needed"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ModelError(f"the embedding of row {int(rows[~finite].min())} is not finite")
