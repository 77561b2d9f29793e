"""Generalised-mean pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from finetuner.arrays import Array, ArrayNamespace
from finetuner.learning.poolings.masks import counted, masked_mean
from finetuner.plugins.options import check_positive

INITIAL_POWER = 3.0


def gem(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
    *,
    eps: float = 1e-6,
) -> Array:
    """``mean(max(x, eps)^p)^(1/p)`` over the positions that count, ``p`` being learnt.

    ``p`` 1 is the mean and a large ``p`` approaches the maximum; features below
    ``eps`` count as ``eps``. Radenović, Tolias and Chum, "Fine-tuning CNN Image
    Retrieval with No Human Annotation" (2018).
    """
    power = parameters["p"]
    use = counted(xp, features, mask)
    powers = xp.power(xp.maximum(xp.upcast(features), eps), power)
    some = xp.any(use, axis=1, keepdims=True)
    # The root's slope at zero is infinite, so rows without positions take 1 first.
    mean = xp.where(some, masked_mean(xp, powers, use), 1.0)
    return xp.where(some, xp.power(mean, 1.0 / power), 0.0)


def gem_parameters(width: int) -> dict[str, Any]:
    """One power for all features, 3 at the start."""
    return {"p": np.full((1,), INITIAL_POWER, dtype=np.float32)}


def check_gem(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for an ``eps`` that is not positive."""
    check_positive("gem pooling", "eps", options)
