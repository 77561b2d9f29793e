"""Supervised contrastive loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import PairBatch
from finetuner.learning.losses.reductions import Scalars, count, masked_mean, share
from finetuner.plugins.options import check_positive


def sup_con(
    xp: ArrayNamespace, pairs: PairBatch, /, *, temperature: float = 0.1
) -> tuple[Array, Scalars]:
    """Each anchor's mean log-likelihood of its positives among all others, negated.

    ``L_out`` of Khosla et al., "Supervised Contrastive Learning" (2020),
    equation 2, with ``s = -D / temperature`` (for the cosine distance: cosine
    similarities), as a mean over the anchors that have a positive. Reports
    ``active``: the share of anchors with a positive and a negative.
    """
    logits = pairs.distances * (-1.0 / temperature)
    others = pairs.positive | pairs.negative
    accompanied = xp.any(others, axis=1)
    total = xp.logsumexp(xp.where(others, logits, -float("inf")), axis=1)
    positives = xp.sum(xp.astype(pairs.positive, "float32"), axis=1)
    of_positives = xp.sum(xp.where(pairs.positive, logits, 0.0), axis=1)
    losses = xp.where(accompanied, total, 0.0) - of_positives / xp.maximum(positives, 1.0)
    paired = positives > 0.0
    active = paired & xp.any(pairs.negative, axis=1)
    reported = share(xp, count(xp, active), count(xp, xp.ones_like(paired)))
    return masked_mean(xp, losses, paired), {"active": reported}


def check_sup_con(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a temperature that is not positive."""
    check_positive("SupConLoss", "temperature", options)
