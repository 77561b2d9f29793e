"""Every active triplet of the batch, without listing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import PairWeights
from finetuner.errors import UsageError
from finetuner.learning.miners.order import sort_keys
from finetuner.learning.pairs import pairs_of
from finetuner.learning.rows import by_rows


def batch_all(
    xp: ArrayNamespace,
    distances: Array,
    labels: Array,
    reference_labels: Array,
    is_self: Array,
    key: int = 0,
    *,
    margin: float = 0.2,
) -> PairWeights:
    """Weigh each pair by the number of active triplets that it is part of.

    A triplet (anchor, positive p, negative n) is active when its loss
    ``D_p + margin - D_n`` is greater than zero (by more than float32 rounding; a
    loss of exactly zero is not active). The sum of the active triplets' losses is
    then ``sum(weights · D) + margin · N`` with ``N`` the sum of the positive
    weights, which needs B² memory and B² log B time where the triplets are B³:
    after one sort of each row by ``D + margin·[positive]``, a positive's weight
    is the number of negatives before it, a negative's the number of positives
    behind it.

    Batch-all triplets: Hermans et al., "In Defense of the Triplet Loss for Person
    Re-Identification" (2017).
    """

    def block(d: Array, own: Array, itself: Array) -> Array:
        positive, negative = pairs_of(xp, own, reference_labels, itself)
        # Positives first among ties: a loss of exactly zero is not active.
        order = xp.argsort(sort_keys(xp, d, ~negative, margin, first=True), axis=1)
        signs = xp.astype(positive, "float32") - xp.astype(negative, "float32")
        signs = xp.take_along_axis(signs, order, axis=1)
        positives, negatives = xp.maximum(signs, 0.0), xp.maximum(-signs, 0.0)
        before = xp.cumsum(negatives, axis=1)
        behind = xp.sum(positives, axis=1, keepdims=True) - xp.cumsum(positives, axis=1)
        weights = positives * before - negatives * behind
        return xp.take_along_axis(weights, xp.invert_permutation(order), axis=1)

    d = xp.stop_gradient(distances)
    return PairWeights(by_rows(xp, block, d, labels, is_self, width=d.shape[1]))


def check_batch_all(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a negative margin."""
    if options.get("margin", 0.0) < 0:
        raise UsageError(f"margin of miner 'all' is {options['margin']}: must be 0 or more")
