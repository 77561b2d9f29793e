"""The Keras backend: each method is one of the modules beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.arrays import ArrayNamespace
from finetuner.contracts import (
    AdaptationPlan,
    Batch,
    Inputs,
    InputSpec,
    LoadedModel,
    ModelGraph,
    Objective,
    OptimizerSpec,
)
from finetuner_keras import apply, checkpoint, engines, export, precisions, split, step, xp
from finetuner_keras import state as states
from finetuner_keras import trace as tracing
from finetuner_keras.apply import EmbeddingModel
from finetuner_keras.inputs import is_keras
from finetuner_keras.layers import Layer
from finetuner_keras.state import State


class KerasBackend:
    """Implements ``finetuner.contracts.Backend`` for Keras models, on whatever runs Keras."""

    name = "keras"
    framework = "keras"
    xp: ArrayNamespace = xp

    @property
    def packages(self) -> tuple[str, ...]:
        """Keras, and what it runs on."""
        return ("keras", *engines.current().PACKAGES)

    def recognises(self, model: object) -> bool:
        return is_keras(model)

    def load(self, source: object, options: Mapping[str, Any]) -> LoadedModel:
        from finetuner_keras.backbones import load

        return load(source, options)

    def trace(self, model: Layer, sample: Inputs) -> ModelGraph:
        return tracing.trace(model, sample)

    def adapt(self, model: Layer, plan: AdaptationPlan, *, seed: int = 0) -> EmbeddingModel:
        return apply.adapt(model, plan, seed)

    def init(
        self,
        model: EmbeddingModel,
        optimizer: OptimizerSpec,
        *,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        parameters: Mapping[str, np.ndarray] | None = None,
        dropout: float | None = 0.0,
    ) -> State:
        return states.init(
            model,
            optimizer,
            seed=seed,
            device=device,
            precision=precision,
            parameters=parameters,
            dropout=dropout,
        )

    def step(
        self, state: State, batch: Batch, objective: Objective
    ) -> tuple[State, dict[str, float]]:
        return step.step(state, batch, objective)

    def embed(self, state: State, inputs: Inputs) -> np.ndarray:
        return step.embed(state, inputs)

    def pullback(
        self, state: State, inputs: Inputs, embedding_gradients: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        return step.pullback(state, inputs, embedding_gradients)

    def split(self, model: EmbeddingModel, at: str) -> tuple[EmbeddingModel, EmbeddingModel]:
        return split.split(model, at)

    def save(self, state: State, directory: Path) -> None:
        checkpoint.save(state, directory)

    def restore(self, state: State, directory: Path) -> State:
        return checkpoint.restore(state, directory)

    def save_weights(self, state: State, directory: Path) -> str:
        return checkpoint.save_weights(state, directory)

    def export(self, state: State, path: Path, inputs: Sequence[InputSpec], sample: Inputs) -> None:
        export.export(state, path, inputs, sample)

    def devices(self) -> tuple[str, ...]:
        return precisions.devices()

    def precisions(self, device: str) -> tuple[str, ...]:
        return precisions.precisions(device)
