"""What a backend's author gives the conformance suite, and what its tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from finetuner.adaptation import make_plan
from finetuner.contracts import (
    AdaptationPlan,
    Backend,
    Batch,
    Inputs,
    InputSpec,
    ModelGraph,
    Objective,
    OptimizerSpec,
    PlanOptions,
    Schedule,
)
from finetuner.contracts.backend import Model, State
from finetuner.plugins import default_host
from finetuner.testing.objectives import Contrast

ROWS = 8
LABELS = np.arange(ROWS) % 2
PLAIN_SGD = OptimizerSpec(
    "sgd",
    learning_rate=1e-3,
    weight_decay=0.0,
    momentum=0.0,
    clip_norm=None,
    schedule=Schedule("constant"),
)
ALL = frozenset({"split", "export"})


@dataclass(frozen=True)
class BackendCase:
    """What an author gives the suite.

    ``model()`` makes a small classifier, with the same weights every time: two
    or more layers with parameters, a dense head, and neither batch statistics nor
    anything random in training but dropout. ``inputs(rows, seed)`` gives inputs
    for it, other ones for another seed. ``model_weights`` and ``state_weights``
    read all weights of a model and of a state past the backend, by name, as
    copies; ``state_weights`` uses the names that ``pullback`` uses and leaves the
    objective's parameters out. ``frozen_layer`` is a layer with parameters in the
    backbone, ``split_at`` one where the model can be cut. ``capabilities`` names
    what the backend can do of ``{"split", "export"}``. A backend that knows batch
    normalisation also gives ``statistics_model()``, a classifier for the same inputs
    with such layers, and ``state_statistics``, which reads their running statistics
    as ``state_weights`` reads weights.
    """

    backend: Backend
    model: Callable[[], Model]
    inputs: Callable[[int, int], Inputs]
    specs: tuple[InputSpec, ...]
    model_weights: Callable[[Model], Mapping[str, np.ndarray]]
    state_weights: Callable[[State], Mapping[str, np.ndarray]]
    frozen_layer: str
    split_at: str = ""
    capabilities: frozenset[str] = ALL
    options: PlanOptions = PlanOptions()  # noqa: RUF009  (a frozen value)
    statistics_model: Callable[[], Model] | None = None
    state_statistics: Callable[[State], Mapping[str, np.ndarray]] | None = None

    def plan(self, **changes: Any) -> AdaptationPlan:
        """The plan for the model with ``options`` changed like that."""
        graph = self.backend.trace(self.model(), self.inputs(2, 0))
        return plan_with_installed(graph, replace(self.options, **changes))

    def fresh(
        self,
        optimizer: OptimizerSpec = PLAIN_SGD,
        parameters: Mapping[str, np.ndarray] | None = None,
        dropout: float | None = 0.0,
        **changes: Any,
    ) -> State:
        """A state of the adapted model, on the processor in float32."""
        model = self.backend.adapt(self.model(), self.plan(**changes), seed=1)
        return self.backend.init(
            model,
            optimizer,
            seed=2,
            device="cpu",
            precision="float32",
            parameters=parameters,
            dropout=dropout,
        )

    def batch(self, seed: int = 0, chunks: int = 1, key: int = 5) -> Batch:
        """A batch of eight rows in two classes, cut into ``chunks``."""
        whole = self.inputs(ROWS, seed)
        parts = np.array_split(np.arange(ROWS), chunks)
        cut = tuple({name: values[part] for name, values in whole.items()} for part in parts)
        return Batch(cut, LABELS, key)

    def train(
        self, state: State, steps: int, objective: Objective | None = None, start: int = 0
    ) -> tuple[State, list[dict[str, float]]]:
        """``steps`` updates on batches ``start``, ``start + 1``, …, with what each reported."""
        reports = []
        for number in range(start, start + steps):
            batch = self.batch(seed=number, chunks=2, key=number)
            state, scalars = self.backend.step(state, batch, objective or Contrast())
            reports.append(scalars)
        return state, reports


def plan_with_installed(graph: ModelGraph, options: PlanOptions) -> AdaptationPlan:
    """Core's plan, with the adapters, poolings and policies of all installed plugins."""
    host = default_host()
    return make_plan(
        graph,
        options,
        adapters=list(host.by_name("adapters").values()),
        poolings=host.by_name("poolings"),
        freezing=host.by_name("freezing"),
    )


def inside(name: str, layers: tuple[str, ...]) -> bool:
    """Whether a weight is of one of the layers, whatever the backend wraps the model in."""
    owner = name.rpartition(".")[0]
    return any(owner == layer or owner.endswith(f".{layer}") for layer in layers)


def needs(case: BackendCase, capability: str) -> None:
    if capability not in case.capabilities:
        pytest.skip(f"{case.backend.name} does not claim {capability!r}")


def pulled(case: BackendCase, state: State) -> Mapping[str, np.ndarray]:
    inputs = case.inputs(2, 0)
    vectors = case.backend.embed(state, inputs)
    return case.backend.pullback(state, inputs, np.ones_like(vectors))


def copied(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in arrays.items()}


def assert_same_bits(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def assert_close(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=tolerance, err_msg=name)
