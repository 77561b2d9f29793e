"""Means over masks that may be empty, and a stable softplus."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace

Scalars = dict[str, Array]


def count(xp: ArrayNamespace, mask: Array) -> Array:
    """How many entries are true, float32."""
    return xp.sum(xp.astype(mask, "float32"))


def masked_mean(xp: ArrayNamespace, values: Array, mask: Array) -> Array:
    """Mean of ``values`` where ``mask``; 0 where nothing is."""
    return xp.sum(xp.where(mask, values, 0.0)) / xp.maximum(count(xp, mask), 1.0)


def share(xp: ArrayNamespace, part: Array, whole: Array) -> Array:
    """``part / whole`` of two counts; 0 of nothing."""
    return xp.stop_gradient(part / xp.maximum(whole, 1.0))


def softplus(xp: ArrayNamespace, x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow, with slope one half at 0."""
    size = xp.abs(x)
    return xp.log1p(xp.exp(-size)) + 0.5 * (x + size)
