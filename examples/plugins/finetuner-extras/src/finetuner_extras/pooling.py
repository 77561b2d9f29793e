"""Log-sum-exp pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.arrays import Array, ArrayNamespace
from finetuner.errors import UsageError


def log_sum_exp(
    xp: ArrayNamespace,
    features: Array,
    mask: Array | None,
    parameters: Mapping[str, Array],
    *,
    sharpness: float = 4.0,
) -> Array:
    """``log(mean(exp(r · x))) / r`` over the positions that count, ``r`` being ``sharpness``.

    ``features`` B×N×D and ``mask`` B×N give B×D. A small ``r`` approaches the mean, a
    large one the maximum; a row in which no position counts gives zeros. Pinheiro and
    Collobert, "From Image-level to Pixel-level Labeling with Convolutional Networks" (2015).
    """
    scaled = xp.upcast(features) * sharpness
    use = xp.ones_like(scaled[:, :, :1]) > 0 if mask is None else xp.expand_dims(mask > 0, axis=2)
    number = xp.sum(xp.astype(use, scaled.dtype), axis=1)
    total = xp.logsumexp(xp.where(use, scaled, -float("inf")), axis=1)
    return xp.where(number > 0, (total - xp.log(xp.maximum(number, 1.0))) / sharpness, 0.0)


def check_sharpness(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a ``sharpness`` that is not positive."""
    if options.get("sharpness", 1.0) <= 0:
        raise UsageError(f"sharpness of lse pooling is {options['sharpness']}: must be above 0")
