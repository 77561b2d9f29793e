"""Sorting positives among negatives, row by row."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace

_STEP = 2.0**-22
_SMALLEST = 1e-30


def sort_keys(
    xp: ArrayNamespace, distances: Array, same: Array, margin: float, *, first: bool
) -> Array:
    """What to sort a row by: other classes at their distance, the ``same`` a ``margin`` behind.

    The latter are moved by float32's rounding, so that those whose key ties with
    that of another class come ``first``, or else last, whatever their column.
    """
    step, smallest = (-_STEP, -_SMALLEST) if first else (_STEP, _SMALLEST)
    shifted = distances * (1.0 + step) + (margin * (1.0 + step) + smallest)
    return xp.where(same, shifted, distances)
