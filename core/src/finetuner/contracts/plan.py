"""What is to be done to a model, as a value: decided by core, applied by a backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Layout = Literal["sequence", "channels-first", "channels-last"]


@dataclass(frozen=True)
class Tap:
    """A point of the dataflow, addressed by a layer's call.

    ``index`` counts the tensors among the layer's flattened arguments (side
    ``"input"``) or results (side ``"output"``). Where a head is computed inline,
    with no module of its own, ``parameter`` names its weight and the tap is the
    other operand of the operation that reads it. A tap with ``layer == ""``,
    ``side == "output"`` is the model's own output.
    """

    layer: str
    call: int = 0
    side: Literal["input", "output"] = "output"
    index: int = 0
    parameter: str | None = None


@dataclass(frozen=True)
class FeatureMap:
    """The last map (rank 3 or 4) through which everything flows to the embedding."""

    tap: Tap
    rank: int
    layout: Layout
    width: int
    mask: str | None = None
    """Name of the model input that masks its positions, if any."""


@dataclass(frozen=True)
class PoolingChoice:
    """A pooling by name, with its options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FreezeDecision:
    """What a freezing policy decided.

    ``frozen`` are layer names (weights and running statistics stay bit-identical,
    dropout inside is off). ``inject`` maps layer names to the rank of a low-rank
    adapter, ``groups`` layer names to a learning-rate factor, ``schedule`` the
    epoch at which a frozen layer thaws.
    """

    policy: str = "none"
    frozen: tuple[str, ...] = ()
    inject: dict[str, int] = field(default_factory=dict)
    groups: dict[str, float] = field(default_factory=dict)
    schedule: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """Why something was decided, in words, with the evidence."""

    subject: str
    text: str


@dataclass(frozen=True)
class PlannedLayer:
    """One row of the printed plan."""

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    role: Literal["backbone", "head", "features", "dropped", "embedding"]
    frozen: bool = False


@dataclass(frozen=True)
class PlanOptions:
    """What a user may ask of a plan.

    ``head`` is ``"auto"``, ``None`` (keep everything) or layer names;
    ``embedding_layer`` names the layer whose output is the embedding;
    ``freeze`` is a policy with an optional argument, as in ``"first:0.75"``.
    """

    head: str | tuple[str, ...] | None = "auto"
    embedding_layer: str | None = None
    pooling: str | None = None
    pooling_options: dict[str, Any] = field(default_factory=dict)
    freeze: str = "none"
    output_dim: int | None = None
    normalize: bool = True


@dataclass(frozen=True)
class AdaptationPlan:
    """How a model becomes an embedding model.

    The embedding is the mean of ``taps`` (usually one) — or, where ``pooling``
    is given, the pooled ``features`` — then projected to ``output_dim`` where
    that is given, then L2-normalised where ``normalize`` says so. ``width`` is
    the width before the projection, ``embedding_width`` after it.
    """

    framework: str
    model: str
    inputs: tuple[str, ...]
    output: str
    head: tuple[str, ...]
    taps: tuple[Tap, ...]
    features: FeatureMap | None
    pooling: PoolingChoice | None
    width: int
    output_dim: int | None
    normalize: bool
    freeze: FreezeDecision
    layers: tuple[PlannedLayer, ...]
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...] = ()

    @property
    def embedding_width(self) -> int:
        """Width of the vectors that the adapted model gives."""
        return self.output_dim or self.width
