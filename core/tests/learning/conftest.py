"""Brute-force references: every triplet, one by one, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from finetuner.builtin import numpy_xp
from finetuner.contracts import PairBatch
from finetuner.learning.pairs import pairs_of

Triplet = tuple[int, int, int]


@pytest.fixture
def xp() -> Any:
    return numpy_xp


@pytest.fixture
def triplets() -> Callable[..., Iterator[Triplet]]:
    """Every (anchor, positive, negative) of labels against reference labels."""

    def every(labels: Any, references: Any = None) -> Iterator[Triplet]:
        within = references is None
        references = labels if within else references
        for a, own in enumerate(labels):
            for p, positive in enumerate(references):
                if positive == own and not (within and a == p):
                    for n, negative in enumerate(references):
                        if negative != own:
                            yield a, p, n

    return every


@pytest.fixture
def pair_batch() -> Callable[..., PairBatch]:
    """A ``PairBatch`` of distances given by hand, the batch being its own references."""

    def make(distances: Any, labels: Any, mined: Any = None) -> PairBatch:
        distances, labels = np.asarray(distances, np.float32), np.asarray(labels)
        is_self = np.eye(len(labels), dtype=bool)
        positive, negative = pairs_of(numpy_xp, labels, labels, is_self)
        nothing = np.zeros((len(labels), 1), np.float32)
        return PairBatch(
            anchors=nothing,
            references=nothing,
            labels=labels,
            reference_labels=labels,
            is_self=is_self,
            distances=distances,
            positive=positive,
            negative=negative,
            mined=mined,
            parameters={},
        )

    return make
