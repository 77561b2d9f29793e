"""One triplet an anchor: its nearest positive, and the next negative that is further away."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import Triplets

_FAR = float("inf")


def easy_semi_hard(
    xp: ArrayNamespace,
    distances: Array,
    labels: Array,
    reference_labels: Array,
    is_self: Array,
    key: int = 0,
) -> Triplets:
    """The nearest positive with the nearest negative behind it; of ties the first.

    Where no negative lies behind it, the furthest serves, as the least hard there is. An
    anchor without a positive or without a negative has no triplet. EPSHN of Xuan, Stylianou
    and Pless, "Improved Embeddings with Easy Positive Triplet Mining" (2020).
    """
    same = xp.expand_dims(labels, axis=1) == xp.expand_dims(reference_labels, axis=0)
    positive, negative = same & ~is_self, ~same
    d = xp.stop_gradient(distances)
    to_positive = xp.where(positive, d, _FAR)
    columns = xp.expand_dims(xp.arange(d.shape[1], like=d), axis=0)
    nearest = columns == xp.expand_dims(xp.argmin(to_positive, axis=1), axis=1)
    behind = negative & (d > xp.min(to_positive, axis=1, keepdims=True))
    next_one = xp.argmin(xp.where(behind, d, _FAR), axis=1)
    furthest = xp.argmax(xp.where(negative, d, -_FAR), axis=1)
    chosen = xp.where(xp.any(behind, axis=1), next_one, furthest)
    valid = nearest & positive & xp.any(negative, axis=1, keepdims=True)
    return Triplets(xp.broadcast_to(xp.expand_dims(chosen, axis=1), d.shape), valid)
