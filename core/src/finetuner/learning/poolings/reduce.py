"""Mean and maximum over positions."""

from __future__ import annotations

from collections.abc import Mapping

from finetuner.arrays import Array, ArrayNamespace
from finetuner.learning.poolings.masks import counted, masked_mean


def mean_pooling(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
) -> Array:
    """Mean of the positions that count."""
    if mask is None:
        return xp.mean(xp.upcast(features), axis=1)
    return masked_mean(xp, xp.upcast(features), counted(xp, features, mask))


def max_pooling(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
) -> Array:
    """Each feature's maximum over the positions that count."""
    features = xp.upcast(features)
    if mask is None:
        return xp.max(features, axis=1)
    use = counted(xp, features, mask)
    most = xp.max(xp.where(xp.expand_dims(use, axis=2), features, -float("inf")), axis=1)
    return xp.where(xp.any(use, axis=1, keepdims=True), most, 0.0)
