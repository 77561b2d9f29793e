"""Cosine distance."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace

_TINY = 1e-24
"""Squared norms below this count as zero: such a vector has distance 1 to every other."""


def cosine(xp: ArrayNamespace, a: Array, b: Array, /) -> Array:
    """One minus the cosine of the angle, between 0 and 2.

    The scale of a vector does not matter. A zero vector is at distance 1 from
    everything and receives no gradient.
    """
    similarities = xp.matmul(_unit(xp, a), xp.permute_dims(_unit(xp, b), (1, 0)))
    return 1.0 - xp.clip(similarities, -1.0, 1.0)


def _unit(xp: ArrayNamespace, x: Array) -> Array:
    x = xp.upcast(x)
    square = xp.sum(x * x, axis=1, keepdims=True)
    usable = square > _TINY
    norm = xp.sqrt(xp.where(usable, square, 1.0))
    return xp.where(usable, x / norm, 0.0)
