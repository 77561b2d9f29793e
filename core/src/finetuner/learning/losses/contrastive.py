"""Contrastive loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import PairBatch
from finetuner.errors import UsageError
from finetuner.learning.losses.reductions import Scalars, count, masked_mean, share


def contrastive(
    xp: ArrayNamespace, pairs: PairBatch, /, *, pos_margin: float = 0.0, neg_margin: float = 1.0
) -> tuple[Array, Scalars]:
    """Positives nearer than ``pos_margin``, negatives further than ``neg_margin``.

    The mean of ``max(0, D - pos_margin)`` over the positive pairs where it is not
    zero, plus the mean of ``max(0, neg_margin - D)`` over the negative pairs
    where that is not zero. Hadsell, Chopra and LeCun, "Dimensionality Reduction
    by Learning an Invariant Mapping" (2006), without the squares. Reports
    ``active``: the share of all pairs whose term is not zero.
    """
    too_far = xp.maximum(pairs.distances - pos_margin, 0.0)
    too_near = xp.maximum(neg_margin - pairs.distances, 0.0)
    pulled = pairs.positive & (too_far > 0.0)
    pushed = pairs.negative & (too_near > 0.0)
    loss = masked_mean(xp, too_far, pulled) + masked_mean(xp, too_near, pushed)
    pairs_in_all = count(xp, pairs.positive) + count(xp, pairs.negative)
    return loss, {"active": share(xp, count(xp, pulled) + count(xp, pushed), pairs_in_all)}


def check_contrastive(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a negative margin, or margins that contradict each other."""
    positive, negative = options.get("pos_margin", 0.0), options.get("neg_margin", 1.0)
    if positive < 0 or negative <= positive:
        raise UsageError(
            f"margins of ContrastiveLoss are pos_margin={positive}, neg_margin={negative}: "
            "it needs 0 <= pos_margin < neg_margin"
        )
