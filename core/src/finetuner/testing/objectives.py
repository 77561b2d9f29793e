"""Objectives that conformance suites train with: small, smooth, written in ``xp``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finetuner.arrays import Array

_FAR = -1e9


@dataclass(frozen=True)
class Contrast:
    """Supervised contrastive loss (Khosla et al. 2020) with a scale that may be learnable.

    ``parameters`` empty: the scale is 4; ``{"scale": array}``: it is that one.
    """

    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __call__(
        self, xp: Any, embeddings: Array, labels: Array, parameters: Mapping[str, Array], key: int
    ) -> tuple[Array, dict[str, Array]]:
        size = embeddings.shape[0]
        places = xp.arange(size, like=embeddings)
        other = xp.expand_dims(places, axis=1) != xp.expand_dims(places, axis=0)
        same = xp.expand_dims(labels, axis=1) == xp.expand_dims(labels, axis=0)
        positive = xp.astype(same & other, "float32")
        logits = xp.matmul(embeddings, xp.permute_dims(embeddings, (1, 0)))
        scale = parameters.get("scale", xp.asarray(4.0, like=logits, dtype="float32"))
        logits = logits * scale
        total = xp.logsumexp(xp.where(other, logits, _FAR), axis=1)
        count = xp.maximum(xp.sum(positive, axis=1), 1.0)
        loss = xp.mean(total - xp.sum(positive * logits, axis=1) / count)
        return loss, {"similarity": xp.mean(logits), "scale": scale}


@dataclass(frozen=True)
class Linear:
    """``sum(embeddings * slope)``: its gradient by the embeddings is ``slope``, B×D."""

    slope: np.ndarray
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __call__(
        self, xp: Any, embeddings: Array, labels: Array, parameters: Mapping[str, Array], key: int
    ) -> tuple[Array, dict[str, Array]]:
        slope = xp.asarray(self.slope, like=embeddings)
        seen = xp.astype(xp.asarray(key, like=embeddings), "float32")
        return xp.sum(embeddings * slope), {"key": xp.sum(embeddings) * 0 + seen}
