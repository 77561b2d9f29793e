"""What poolings share about masks."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace


def counted(xp: ArrayNamespace, features: Array, mask: Array | None) -> Array:
    """Whether each position counts, bool B×N."""
    if mask is None:
        return xp.ones_like(features[:, :, 0]) > 0
    return mask > 0


def masked_mean(xp: ArrayNamespace, values: Array, mask: Array) -> Array:
    """Mean over the positions that count, B×D; 0 where none does."""
    total = xp.sum(xp.where(xp.expand_dims(mask, axis=2), values, 0.0), axis=1)
    number = xp.sum(xp.astype(mask, values.dtype), axis=1, keepdims=True)
    return total / xp.maximum(number, 1.0)
