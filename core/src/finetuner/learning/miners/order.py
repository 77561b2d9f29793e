"""Sorting positives among negatives, row by row."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace

_ROUNDING = 1.0 - 2.0**-23
_SMALLEST = 1e-30


def sort_keys(
    xp: ArrayNamespace, distances: Array, positive: Array, negative: Array, margin: float
) -> Array:
    """What to sort a row by: negatives at their distance, positives ``margin`` behind.

    A positive is moved forward by the last bit of float32, so that it comes
    before a negative whose key ties with it: a triplet whose loss is exactly
    zero is not active, and a negative that is exactly as far as the positive is
    not further. What is neither positive nor negative sorts to the end.
    """
    shifted = (distances + margin) * _ROUNDING - _SMALLEST
    return xp.where(positive, shifted, xp.where(negative, distances, float("inf")))
