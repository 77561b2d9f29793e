"""Euclidean distance and its square, exact for close pairs.

``|a|² + |b|² - 2ab`` cancels: in float32, unit vectors 1e-4 apart come out
anywhere between 0 and 5e-4 apart. Carried out in float64 the same three terms
leave an error near 1e-8 for however many close pairs there are, at the cost of
one wider matrix product and without an A×R×D difference.
"""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace
from finetuner.learning.rows import by_rows

_TINY = 1e-24
"""Squares below this count as this, so that the root has a finite slope."""


def squared_euclidean(xp: ArrayNamespace, a: Array, b: Array, /) -> Array:
    """Sum of squared differences, never negative.

    On a device without float64 the sum is in float32 and close pairs are as
    inexact as described above.
    """
    return xp.maximum(_squares(xp, xp.upcast(a), xp.upcast(b)), 0.0)


def euclidean(xp: ArrayNamespace, a: Array, b: Array, /) -> Array:
    """Length of the difference, to 1e-5 however close the vectors.

    Identical vectors come out at most 1e-7 of their length apart and pull at each
    other with a gradient no larger than rounding.
    """
    return xp.sqrt(xp.maximum(_squares(xp, xp.upcast(a), xp.upcast(b)), _TINY))


def _squares(xp: ArrayNamespace, a: Array, b: Array) -> Array:
    """Squared distances but for float64's rounding, which may leave them below zero."""
    wide = xp.astype(b, "float64")
    lengths = xp.sum(wide * wide, axis=1, keepdims=True)
    columns = xp.concat([wide, lengths, xp.ones_like(lengths)], axis=1)
    columns = xp.permute_dims(columns, (1, 0))

    def block(rows: Array) -> Array:
        own = xp.astype(rows, "float64")
        length = xp.sum(own * own, axis=1, keepdims=True)
        terms = xp.concat([-2.0 * own, xp.ones_like(length), length], axis=1)
        return xp.astype(xp.matmul(terms, columns), rows.dtype)

    return by_rows(xp, block, a, width=b.shape[0])
