"""The PyTorch backend: each method is one of the modules beside this one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

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
from finetuner_torch import apply, checkpoint, devices, export, split, step, xp
from finetuner_torch import state as states
from finetuner_torch.apply import EmbeddingModel
from finetuner_torch.state import State


class TorchBackend:
    """Implements ``finetuner.contracts.Backend`` for ``torch.nn.Module``."""

    name = "torch"
    framework = "torch"
    xp: ArrayNamespace = xp

    def recognises(self, model: object) -> bool:
        # Under PyTorch a Keras layer is a module, too.
        keras = sys.modules.get("keras")
        layer = getattr(getattr(keras, "layers", None), "Layer", ())
        return isinstance(model, nn.Module) and not isinstance(model, layer)

    def load(self, source: object, options: Mapping[str, Any]) -> LoadedModel:
        from finetuner_torch.backbones import load

        return load(source, options)

    def trace(self, model: nn.Module, sample: Inputs) -> ModelGraph:
        from finetuner_torch.trace import trace

        return trace(model, sample)

    def adapt(self, model: nn.Module, plan: AdaptationPlan, *, seed: int = 0) -> EmbeddingModel:
        return apply.adapt(model, plan, seed)

    def init(
        self,
        model: nn.Module,
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

    def split(self, model: EmbeddingModel, at: str) -> tuple[nn.Module, nn.Module]:
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
        return devices.devices()

    def precisions(self, device: str) -> tuple[str, ...]:
        return devices.precisions(device)
