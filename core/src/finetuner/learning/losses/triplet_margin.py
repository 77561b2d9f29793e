"""Triplet margin loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import PairBatch, PairWeights, Triplets
from finetuner.contracts.learning import Consumes
from finetuner.errors import UsageError
from finetuner.learning.losses.reductions import Scalars, count, masked_mean, share, softplus


def triplet_margin(
    xp: ArrayNamespace, pairs: PairBatch, /, *, margin: float = 0.2, soft_margin: bool = False
) -> tuple[Array, Scalars]:
    """Mean of ``max(0, D_ap + margin - D_an)`` over the triplets where it is not zero.

    With ``soft_margin`` the mean of ``log(1 + exp(D_ap - D_an))`` over all mined
    triplets (Hermans et al., 2017), which needs triplets one by one. From pair
    weights the same mean follows as ``(sum(w · D) + margin · N) / N``, ``N``
    being the number of active triplets; ``margin`` must be the one that the
    miner weighed with. Reports ``active``: the share of the triplets that were
    mined (of pair weights: of all triplets) whose loss is not zero.
    """
    if isinstance(pairs.mined, PairWeights):
        return _from_weights(xp, pairs, pairs.mined.weights, margin)
    if not isinstance(pairs.mined, Triplets):
        raise UsageError("TripletMarginLoss needs what a miner yields and was given nothing")
    mined = pairs.mined
    furthest = xp.take_along_axis(pairs.distances, mined.negative, axis=1)
    difference = pairs.distances - furthest
    if soft_margin:
        active = mined.valid
        losses = softplus(xp, difference)
    else:
        losses = xp.maximum(difference + margin, 0.0)
        active = mined.valid & (losses > 0.0)
    reported = share(xp, count(xp, active), count(xp, mined.valid))
    return masked_mean(xp, losses, active), {"active": reported}


def _from_weights(
    xp: ArrayNamespace, pairs: PairBatch, weights: Array, margin: float
) -> tuple[Array, Scalars]:
    triplets = xp.sum(xp.maximum(weights, 0.0))
    some = xp.maximum(triplets, 1.0)
    total = xp.sum(xp.sum(weights * pairs.distances, axis=1) / some)
    loss = total + margin * (triplets / some)
    positives = xp.sum(xp.astype(pairs.positive, "float32"), axis=1)
    negatives = xp.sum(xp.astype(pairs.negative, "float32"), axis=1)
    return loss, {"active": share(xp, triplets, xp.sum(positives * negatives))}


def check_triplet_margin(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a negative margin, or a margin beside ``soft_margin``."""
    if options.get("margin", 0.0) < 0:
        raise UsageError(f"margin of TripletMarginLoss is {options['margin']}: must be 0 or more")
    if options.get("soft_margin") and "margin" in options:
        raise UsageError(
            "TripletMarginLoss with soft_margin=True has no margin: leave one of the two out"
        )


def narrow_triplet_margin(options: Mapping[str, Any]) -> tuple[Consumes, ...]:
    """The soft margin is not linear in the distances, so pair weights cannot carry it."""
    return ("triplets",) if options.get("soft_margin") else ("pair_weights", "triplets")
