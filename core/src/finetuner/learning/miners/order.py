"""Sorting positives among negatives, row by row."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace

_STEP = 2.0**-22
_SMALLEST = 1e-30


def sort_keys(xp: ArrayNamespace, distances: Array, same: Array, margin: float) -> Array:
    """What to sort a row by: other classes at their distance, the ``same`` a ``margin`` behind.

    The latter are moved forward by float32's rounding, so that a positive comes
    before a negative whose key ties with it: a triplet whose loss is exactly zero
    is not active, and a negative exactly as far as the positive is not further.
    """
    shifted = distances * (1.0 - _STEP) + (margin * (1.0 - _STEP) - _SMALLEST)
    return xp.where(same, shifted, distances)
