"""Normalised temperature-scaled cross entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts import PairBatch
from finetuner.learning.losses.reductions import Scalars, count, masked_mean, share, softplus
from finetuner.plugins.options import check_positive

_NOTHING = -1e30
"""The log of a sum over no negatives, finite so that gradients stay so too."""


def nt_xent(
    xp: ArrayNamespace, pairs: PairBatch, /, *, temperature: float = 0.1
) -> tuple[Array, Scalars]:
    """Each positive pair against all negatives of its anchor; the mean over positive pairs.

    ``-log(exp(s_ap) / (exp(s_ap) + sum_n exp(s_an)))`` with ``s = -D /
    temperature``; for the cosine distance this is the loss on cosine
    similarities. Chen et al., "A Simple Framework for Contrastive Learning of
    Visual Representations" (2020), with every positive of the batch a pair of
    its own. Reports ``active``: the share of anchors with a positive and a negative.
    """
    logits = pairs.distances * (-1.0 / temperature)
    opposed = xp.any(pairs.negative, axis=1)
    negatives = xp.logsumexp(xp.where(pairs.negative, logits, -float("inf")), axis=1)
    negatives = xp.where(opposed, negatives, _NOTHING)
    losses = softplus(xp, xp.expand_dims(negatives, axis=1) - logits)
    anchors = opposed & xp.any(pairs.positive, axis=1)
    reported = share(xp, count(xp, anchors), count(xp, xp.ones_like(opposed)))
    return masked_mean(xp, losses, pairs.positive), {"active": reported}


def check_nt_xent(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a temperature that is not positive."""
    check_positive("NTXentLoss", "temperature", options)
