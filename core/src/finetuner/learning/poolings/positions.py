"""The features of one position."""

from __future__ import annotations

from collections.abc import Mapping

from finetuner.arrays import Array, ArrayNamespace
from finetuner.learning.poolings.masks import counted


def cls(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
) -> Array:
    """The first position that counts: the class token, also when padding is on the left."""
    if mask is None:
        return xp.upcast(features)[:, 0]
    use = counted(xp, features, mask)
    return _at(xp, features, use, xp.argmax(xp.astype(use, "int64"), axis=1))


def last(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
) -> Array:
    """The last position that counts, whether padding is on the right or on the left."""
    if mask is None:
        return xp.upcast(features)[:, -1]
    use = counted(xp, features, mask)
    places = xp.expand_dims(xp.arange(use.shape[1], like=features), axis=0)
    return _at(xp, features, use, xp.max(xp.where(use, places, 0), axis=1))


def _at(xp: ArrayNamespace, features: Array, use: Array, place: Array) -> Array:
    """The features at ``place`` (B), zeros in rows where no position counts."""
    features = xp.upcast(features)
    rows, _, width = features.shape
    index = xp.broadcast_to(xp.reshape(place, (rows, 1, 1)), (rows, 1, width))
    chosen = xp.take_along_axis(features, index, axis=1)[:, 0]
    return xp.where(xp.any(use, axis=1, keepdims=True), chosen, 0.0)
