"""Carrying out a plan: from the user's model to an embedding model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from finetuner.contracts import AdaptationPlan, FeatureMap, PoolingRecord, Tap
from finetuner.errors import ModelError, UnknownNameError
from finetuner.plugins import default_host
from finetuner_keras import engines, xp
from finetuner_keras.calling import capture, describe
from finetuner_keras.copying import copy_model
from finetuner_keras.engines import Tensor, Tensors
from finetuner_keras.inputs import OPTIONAL, input_map
from finetuner_keras.layers import (
    Layer,
    Variable,
    named_layers,
    named_variables,
    own_variables,
    seed_states,
)

EPSILON = 1e-12
"""Least norm that an embedding is divided by."""

BACKBONE, POOLING, PROJECTION = "backbone.", "pooling.", "projection."


@dataclass(frozen=True)
class EmbeddingModel:
    """The adapted model: a function of its weights, which are named, and of inputs.

    ``backbone`` is a copy of the user's model; ``added`` the initial weights of the
    pooling and the projection. What follows the last tap, such as the head, does
    not run. ``at`` cuts the model (see ``split``): with ``part="prefix"`` that
    layer's output is the result, with ``part="rest"`` the input ``"prefix"``
    stands for it.
    """

    backbone: Layer
    plan: AdaptationPlan
    pooling: PoolingRecord | None
    added: Mapping[str, np.ndarray] = field(default_factory=dict)
    at: str | None = None
    part: str = "whole"

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The backbone's layers by name."""
        return named_layers(self.backbone)

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """The backbone's weights and statistics by full name, without those of dropped layers."""
        dropped = _dropped(self.plan)
        return {
            f"{BACKBONE}{name}": variable
            for name, variable in named_variables(self.backbone).items()
            if not _is_inside(name.rpartition(".")[0], dropped)
        }

    @cached_property
    def statistics(self) -> frozenset[str]:
        """Names of the running statistics."""
        held = {
            id(variable)
            for layer in self.layers.values()
            for _, variable, statistic in own_variables(layer)
            if statistic
        }
        return frozenset(name for name, variable in self.variables.items() if id(variable) in held)

    @cached_property
    def trainable(self) -> frozenset[str]:
        """Names of the weights that a step changes."""
        if self.part == "prefix":
            return frozenset()
        frozen = {f"{BACKBONE}{name}".rstrip(".") for name in self.frozen}
        own = {
            name
            for name, variable in self.variables.items()
            if variable.trainable
            and name not in self.statistics
            and name.rpartition(".")[0] not in frozen
        }
        return frozenset(own | set(self.added))

    @cached_property
    def frozen(self) -> frozenset[str]:
        """The plan's frozen layers, and in the rest of a cut model all up to the cut."""
        frozen = set(self.plan.freeze.frozen)
        if self.part == "rest":
            frozen |= _up_to(self.plan, str(self.at))
        return frozenset(frozen)

    @cached_property
    def factors(self) -> dict[str, float]:
        """Learning-rate factors by weight."""
        groups = {f"{BACKBONE}{n}".rstrip("."): f for n, f in self.plan.freeze.groups.items()}
        owners = ((name, name.rpartition(".")[0]) for name in self.trainable)
        return {name: groups[owner] for name, owner in owners if owner in groups}

    @cached_property
    def seeds(self) -> list[Variable]:
        """The states of the backbone's random generators."""
        return seed_states(self.backbone)

    def initial(self) -> dict[str, np.ndarray]:
        """All weights and statistics as they are before training, in float32."""
        held = {n: np.array(ops.convert_to_numpy(v)) for n, v in self.variables.items()}
        return {**held, **{n: np.array(a) for n, a in self.added.items()}}

    def __call__(
        self,
        weights: Tensors,
        inputs: Tensors,
        modes: Mapping[str, bool] | None = None,
        seeds: Any = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Embeddings B×D in float32, and the running statistics after the call.

        ``modes`` says by layer whether it runs as in training (``None``: none
        does); ``seeds`` holds a state for each random generator, and a last one for
        what draws without. Raises ``ModelError`` where the width is not the plan's,
        or a tap is not reached.
        """
        state = [(v, weights[name]) for name, v in self.variables.items() if name in weights]
        state += [(variable, seeds[i]) for i, variable in enumerate(self.seeds) if modes]
        seeded = engines.current().seeded(seeds[-1]) if modes else nullcontext()
        with seeded, keras.StatelessScope(state) as scope:
            tensors = self._tapped(inputs, modes)
            if self.part == "prefix":
                return tensors[0], {}
            embedding = self._embed(tensors, weights, inputs)
            moved = {n: scope.get_current_value(self.variables[n]) for n in self.statistics}
        return embedding, {n: value for n, value in moved.items() if value is not None}

    def _tapped(self, inputs: Tensors, modes: Mapping[str, bool] | None) -> list[Tensor]:
        names = [name for name in inputs if name != "prefix"]
        if missing := sorted(set(self.plan.inputs) - set(names) - OPTIONAL):
            raise ModelError(f"the model takes {missing} too, and was given {sorted(names)}")
        args, kwargs = input_map(self.backbone, names).bind({n: inputs[n] for n in names})
        if self.backbone._call_has_training_arg:
            kwargs["training"] = modes is not None
        return capture(
            self.layers,
            self._taps(),
            modes or {},
            lambda: self.backbone(*args, **kwargs),
            {str(self.at): inputs["prefix"]} if self.part == "rest" else None,
        )

    def _taps(self) -> tuple[Tap, ...]:
        if self.part == "prefix":
            return (Tap(str(self.at)),)
        features = self.plan.features
        return (features.tap,) if self.pooling is not None and features else self.plan.taps

    def _embed(self, tensors: list[Tensor], weights: Tensors, inputs: Tensors) -> Tensor:
        tensors = [ops.cast(tensor, "float32") for tensor in tensors]
        if self.pooling is not None and self.plan.features is not None:
            embedding = self._pool(tensors[0], self.plan.features, weights, inputs)
        else:
            rows = [_flat(tensor) for tensor in tensors]
            embedding = rows[0] if len(rows) == 1 else ops.mean(ops.stack(rows), axis=0)
        self._check_width(embedding)
        if f"{PROJECTION}kernel" in weights:
            embedding = ops.matmul(embedding, weights[f"{PROJECTION}kernel"])
            embedding = embedding + weights[f"{PROJECTION}bias"]
        return normalised(embedding) if self.plan.normalize else embedding

    def _pool(
        self, tensor: Tensor, features: FeatureMap, weights: Tensors, inputs: Tensors
    ) -> Tensor:
        assert self.pooling is not None
        assert self.plan.pooling is not None
        learned = {
            name.removeprefix(POOLING): weights[name]
            for name in self.added
            if name.startswith(POOLING)
        }
        mask = inputs.get(features.mask) if features.mask else None
        options = self.plan.pooling.options
        return self.pooling.function(xp, to_positions(tensor, features), mask, learned, **options)

    def _check_width(self, embedding: Tensor) -> None:
        if len(embedding.shape) != 2 or embedding.shape[1] != self.plan.width:
            place = describe(self.plan.taps[0]) if self.pooling is None else "the pooling"
            raise ModelError(
                f"the plan expects embeddings of width {self.plan.width}, but {place} gives "
                f"{' × '.join(map(str, embedding.shape))}: plan this model again with inputs of "
                "the size that it is used with, or name a pooling"
            )


def adapt(
    model: Layer,
    plan: AdaptationPlan,
    seed: int = 0,
    *,
    poolings: Mapping[str, PoolingRecord] | None = None,
) -> EmbeddingModel:
    """Copy ``model`` and make of the copy what ``plan`` says; ``seed`` draws the projection.

    ``poolings`` are the known ones by name; by default those of the installed plugins.
    Raises ``ModelError`` where the plan was made for another framework, names
    layers that the model does not have, or asks for what this backend cannot do.
    """
    _check_plan(plan)
    _check_layers(model, plan)
    pooling = _pooling(plan, poolings)
    added = {**_pooling_weights(pooling, plan), **_projection(plan.width, plan.output_dim, seed)}
    return EmbeddingModel(copy_model(model), plan, pooling, added)


def normalised(embedding: Tensor) -> Tensor:
    """Rows of unit length, but for those shorter than :data:`EPSILON`."""
    square = ops.sum(ops.square(embedding), axis=-1, keepdims=True)
    # The root's own gradient at zero is infinite.
    length = ops.sqrt(ops.maximum(square, EPSILON**2))
    return embedding / length


def to_positions(features: Tensor, planned: FeatureMap) -> Tensor:
    """A map of rank 3 or 4 as B×N×D."""
    if len(features.shape) != planned.rank:
        raise ModelError(
            f"the plan pools a map of rank {planned.rank}, but {describe(planned.tap)} gives "
            f"{' × '.join(map(str, features.shape))}"
        )
    if planned.rank == 3:
        return features
    rows, height, width, channels = ops.shape(features)
    positions = height * width if isinstance(height, int) and isinstance(width, int) else -1
    return ops.reshape(features, (rows, positions, channels))


def _flat(tensor: Tensor) -> Tensor:
    if len(tensor.shape) <= 2:
        return tensor
    return ops.reshape(tensor, (ops.shape(tensor)[0], math.prod(tensor.shape[1:])))


def _check_plan(plan: AdaptationPlan) -> None:
    if plan.framework != "keras":
        raise ModelError(
            f"this plan was made for {plan.framework!r}, and the model is Keras's: "
            "plan the model that is to be adapted"
        )
    if plan.pooling is not None and plan.features is None:
        raise ModelError(f"the plan pools with {plan.pooling.name!r} but names no feature map")
    for wish, text in (("inject", "low-rank adapters"), ("schedule", "thawing by epoch")):
        if getattr(plan.freeze, wish):
            raise ModelError(
                f"freezing policy {plan.freeze.policy!r} asks for {text}, which the Keras "
                "backend does not have: choose another policy"
            )
    if any(tap.parameter is not None for tap in plan.taps):
        raise ModelError(
            f"the head reads {plan.taps[0].parameter!r} in the model's own call: put it into a "
            "keras.layers.Dense, or name the layer before it with embedding_layer="
        )


def _check_layers(model: Layer, plan: AdaptationPlan) -> None:
    known = set(named_layers(model))
    taps = (plan.features.tap,) if plan.pooling and plan.features else plan.taps
    asked = {*(tap.layer for tap in taps), *plan.freeze.frozen, *plan.freeze.groups}
    if unknown := sorted(asked - known):
        raise ModelError(
            f"the plan names the layer {unknown[0]!r}, which {type(model).__name__} does not "
            "have: it was made for another model"
        )


def _pooling(
    plan: AdaptationPlan, poolings: Mapping[str, PoolingRecord] | None
) -> PoolingRecord | None:
    if plan.pooling is None:
        return None
    if poolings is None:
        record: PoolingRecord = default_host().get("poolings", plan.pooling.name)
        return record
    if plan.pooling.name not in poolings:
        raise UnknownNameError("pooling", plan.pooling.name, poolings)
    return poolings[plan.pooling.name]


def _pooling_weights(record: PoolingRecord | None, plan: AdaptationPlan) -> dict[str, np.ndarray]:
    if record is None or record.parameters is None or plan.features is None:
        return {}
    initial = record.parameters(plan.features.width)
    return {f"{POOLING}{name}": np.asarray(value, np.float32) for name, value in initial.items()}


def _projection(width: int, output_dim: int | None, seed: int) -> dict[str, np.ndarray]:
    """A dense layer with PyTorch's uniform weights and no offset yet.

    A random offset is as large as the projection of a unit vector: all
    embeddings would begin near one point.
    """
    if output_dim is None:
        return {}
    bound = 1.0 / math.sqrt(width)
    kernel = np.random.default_rng(seed).uniform(-bound, bound, (width, output_dim))
    return {
        f"{PROJECTION}kernel": kernel.astype(np.float32),
        f"{PROJECTION}bias": np.zeros(output_dim, np.float32),
    }


def _dropped(plan: AdaptationPlan) -> frozenset[str]:
    unused = {layer.name for layer in plan.layers if layer.role in ("head", "dropped")}
    return frozenset({*plan.head, *unused})


def _is_inside(layer: str, others: frozenset[str]) -> bool:
    """Whether a layer is one of the dropped ones, or inside a dropped head."""
    return layer in others or any(layer.startswith(f"{other}.") for other in others if other)


def _up_to(plan: AdaptationPlan, at: str) -> set[str]:
    """The layers with weights up to and with ``at``, in dataflow order."""
    names = [layer.name for layer in plan.layers]
    inside = [i for i, name in enumerate(names) if name == at or name.startswith(f"{at}.")]
    return set(names[: max(inside, default=-1) + 1])
