"""Euclidean distance and its square, exact for close pairs.

``|a|² + |b|² - 2ab`` cancels: in float32, unit vectors 1e-4 apart come out
anywhere between 0 and 5e-4 apart. Carried out in float64 the same three terms
leave an error near 1e-8 for however many close pairs there are, at the cost of
one wider matrix product and without an A×R×D difference.
"""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace
from finetuner.learning.rows import by_rows


def squared_euclidean(xp: ArrayNamespace, a: Array, b: Array, /) -> Array:
    """Sum of squared differences, never negative.

    On a device without float64 the sum is in float32 and close pairs are as
    inexact as described above.
    """
    a, b = xp.upcast(a), xp.upcast(b)
    wide = xp.permute_dims(xp.astype(b, "float64"), (1, 0))
    lengths = xp.sum(wide * wide, axis=0, keepdims=True)

    def block(rows: Array) -> Array:
        own = xp.astype(rows, "float64")
        products = xp.matmul(own, wide)
        squares = xp.sum(own * own, axis=1, keepdims=True) + lengths - 2.0 * products
        return xp.maximum(xp.astype(squares, rows.dtype), 0.0)

    return by_rows(xp, block, a, width=b.shape[0])


def euclidean(xp: ArrayNamespace, a: Array, b: Array, /) -> Array:
    """Length of the difference; of identical vectors 0, with zero gradient."""
    squares = squared_euclidean(xp, a, b)
    apart = squares > 0.0
    return xp.where(apart, xp.sqrt(xp.where(apart, squares, 1.0)), 0.0)
