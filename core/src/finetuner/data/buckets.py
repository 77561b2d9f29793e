"""Few lengths that many texts are padded to."""

from __future__ import annotations

import numpy as np

MOST_BUCKETS = 8
_STEP = 8


def choose_buckets(
    lengths: np.ndarray, limit: int | None = None, most: int = MOST_BUCKETS
) -> np.ndarray:
    """At most ``most`` lengths, ascending, that hold all ``lengths`` with least padding.

    Candidates are multiples of 8; the last bucket never exceeds ``limit``, the
    most tokens that the model can take (``None``: the longest text itself). The
    padding minimised is that of every text padded to its own bucket, exactly,
    by dynamic programming over the candidates.
    """
    if len(lengths) == 0:
        return np.zeros(0, np.int64)
    longest = max(1, int(lengths.max()))
    top = longest if limit is None else min(_round_up(longest), max(limit, longest))
    ceilings = np.minimum(-(-np.maximum(lengths, 1) // _STEP) * _STEP, top)
    candidates, counts = np.unique(ceilings, return_counts=True)
    if len(candidates) <= most:
        return candidates.astype(np.int64)
    return candidates[_cheapest(candidates, counts, most)].astype(np.int64)


def bucket_of(length: int, buckets: np.ndarray) -> int:
    """The least bucket that holds ``length``."""
    return int(buckets[np.searchsorted(buckets, length)])


def _round_up(length: int) -> int:
    return -(-length // _STEP) * _STEP


def _cheapest(candidates: np.ndarray, counts: np.ndarray, most: int) -> list[int]:
    """Indices of ``most`` candidates, the last among them, with the least padded total."""
    total = len(candidates)
    before = np.concatenate([[0], np.cumsum(counts)])
    # cost[j]: least padded total of candidates 0..j with j a bucket; every text in
    # (i, j] then costs candidates[j].
    cost = before[1:] * candidates.astype(np.float64)
    choices = np.full((most, total), -1)
    for used in range(1, most):
        through = cost[None, :] + (before[1:, None] - before[None, 1:]) * candidates[:, None]
        through[np.triu_indices(total)] = np.inf
        choices[used] = through.argmin(axis=1)
        best = through.min(axis=1)
        choices[used][best >= cost] = -1
        cost = np.minimum(cost, best)
    picked = [total - 1]
    for used in range(most - 1, 0, -1):
        previous = int(choices[used][picked[-1]])
        if previous >= 0:
            picked.append(previous)
    return picked[::-1]
