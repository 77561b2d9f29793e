"""What miners yield and losses consume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from finetuner.arrays import Array

if TYPE_CHECKING:
    import numpy as np

Yields = Literal["triplets", "pair_weights"]
Consumes = Literal["triplets", "pair_weights", "pairs", "labels"]


@dataclass(frozen=True)
class Triplets:
    """At most one negative for each positive pair.

    ``negative`` (integers, A×R) is the reference that serves as negative for
    anchor *a* with positive *r*; ``valid`` (bool, A×R) says which entries count.
    """

    negative: Array
    valid: Array


@dataclass(frozen=True)
class PairWeights:
    """Signed weights, A×R: positive for positive pairs, negative for negative ones."""

    weights: Array


@dataclass(frozen=True)
class PairBatch:
    """All that a loss may look at. A anchors, R references, D features.

    References are the batch itself or more (cross-batch memory, other ranks).
    ``is_self`` marks an anchor's own place among the references; it is neither
    ``positive`` nor ``negative``. ``parameters`` holds the loss's learnable ones.
    """

    anchors: Array
    references: Array
    labels: Array
    reference_labels: Array
    is_self: Array
    distances: Array
    positive: Array
    negative: Array
    mined: Triplets | PairWeights | None
    parameters: Mapping[str, Array]


class BatchSampler(Protocol):
    """Which examples share a batch, epoch by epoch.

    One may also have ``warnings``, a tuple of sentences for the run's log about
    labels that cannot be sampled as asked.
    """

    def epoch(self, epoch: int, /) -> Sequence[np.ndarray]:
        """The row indices of each batch of ``epoch``, the same whenever asked."""

    def steps(self, epoch: int, /) -> int:
        """The number of batches of ``epoch``."""


class Objective(Protocol):
    """What a backend differentiates: embeddings and labels in, loss out.

    ``embeddings`` B×D, ``labels`` B integers, ``parameters`` the learnable ones
    by name, ``key`` a seed for random choices: an integer, or a scalar array where
    the step is compiled. Returns the scalar loss and scalars worth reporting, all
    arrays of the backend.
    """

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Initial values (numpy float32) of the learnable parameters."""

    def __call__(
        self,
        xp: Any,
        embeddings: Array,
        labels: Array,
        parameters: Mapping[str, Array],
        key: int,
    ) -> tuple[Array, dict[str, Array]]: ...
