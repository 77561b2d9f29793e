"""One triplet an anchor: the hardest negative with the hardest or the easiest positive."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import Triplets
from finetuner.learning.pairs import pairs_of

_FAR = float("inf")


def hard(
    xp: ArrayNamespace,
    distances: Array,
    labels: Array,
    reference_labels: Array,
    is_self: Array,
    key: int = 0,
) -> Triplets:
    """The furthest positive with the nearest negative of each anchor; of ties the first.

    An anchor without a positive or without a negative has no triplet. Batch-hard
    of Hermans et al., "In Defense of the Triplet Loss for Person
    Re-Identification" (2017).
    """
    positive, negative = pairs_of(xp, labels, reference_labels, is_self)
    d = xp.stop_gradient(distances)
    furthest = xp.argmax(xp.where(positive, d, -_FAR), axis=1)
    return _one_an_anchor(xp, d, positive, negative, furthest)


def easy_hard(
    xp: ArrayNamespace,
    distances: Array,
    labels: Array,
    reference_labels: Array,
    is_self: Array,
    key: int = 0,
) -> Triplets:
    """The nearest positive with the nearest negative of each anchor; of ties the first.

    An anchor without a positive or without a negative has no triplet. Easy
    positive, hard negative: Xuan, Stylianou and Pless, "Improved Embeddings with
    Easy Positive Triplet Mining" (2020).
    """
    positive, negative = pairs_of(xp, labels, reference_labels, is_self)
    d = xp.stop_gradient(distances)
    nearest = xp.argmin(xp.where(positive, d, _FAR), axis=1)
    return _one_an_anchor(xp, d, positive, negative, nearest)


def _one_an_anchor(
    xp: ArrayNamespace, d: Array, positive: Array, negative: Array, chosen: Array
) -> Triplets:
    nearest = xp.argmin(xp.where(negative, d, _FAR), axis=1)
    columns = xp.expand_dims(xp.arange(d.shape[1], like=d), axis=0)
    place = columns == xp.expand_dims(chosen, axis=1)
    valid = place & positive & xp.any(negative, axis=1, keepdims=True)
    return Triplets(xp.broadcast_to(xp.expand_dims(nearest, axis=1), d.shape), valid)
