"""For every positive pair, the nearest negative that is further away than the positive."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import Triplets
from finetuner.learning.miners.order import sort_keys
from finetuner.learning.pairs import pairs_of
from finetuner.learning.rows import by_rows


def semi_hard(
    xp: ArrayNamespace,
    distances: Array,
    labels: Array,
    reference_labels: Array,
    is_self: Array,
    key: int = 0,
) -> Triplets:
    """The next greater negative of each positive pair; of ties the first.

    "Greater" is by more than float32 rounding. Where no negative is further away
    than the positive, the furthest negative serves, as the least hard there is.
    Pairs of an anchor without negatives have no triplet. Schroff, Kalenichenko
    and Philbin, "FaceNet" (2015).
    """

    def block(d: Array, own: Array, itself: Array) -> tuple[Array, Array]:
        positive, negative = pairs_of(xp, own, reference_labels, itself)
        # Positives last among ties: a negative exactly as far away is not further.
        order = xp.argsort(sort_keys(xp, d, ~negative, 0.0, first=False), axis=1)
        negatives = xp.take_along_axis(xp.astype(negative, "int64"), order, axis=1)
        nearer = xp.take_along_axis(
            xp.cumsum(negatives, axis=1), xp.invert_permutation(order), axis=1
        )
        # Stable: the places of the negatives first, still from near to far.
        first = xp.argsort(1 - negatives, axis=1)
        by_distance = xp.take_along_axis(order, first, axis=1)
        last = xp.maximum(xp.sum(negatives, axis=1, keepdims=True) - 1, 0)
        chosen = xp.take_along_axis(by_distance, xp.minimum(nearer, last), axis=1)
        return chosen, positive & xp.any(negative, axis=1, keepdims=True)

    d = xp.stop_gradient(distances)
    return Triplets(*by_rows(xp, block, d, labels, is_self, width=d.shape[1]))
