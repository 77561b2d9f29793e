"""Training on numpy arrays: for backends whose models are functions with a derivative by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from finetuner.arrays import ArrayNamespace
from finetuner.builtin import numpy_xp
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.contracts import Batch, Inputs, Objective, OptimizerSpec
from finetuner.errors import ModelError, UnknownNameError, UsageError

WEIGHTS_FILE = "weights.safetensors"
STATE_FILE = "state.safetensors"
_OBJECTIVE = "objective."

Arrays = Mapping[str, np.ndarray]


class NumpyModel(Protocol):
    """An embedding model: its parameters (float64, by name) and the functions of them.

    ``only_evaluated`` marks a split-off prefix, which need not have anything to train.
    """

    @property
    def parameters(self) -> Arrays: ...

    @property
    def only_evaluated(self) -> bool: ...

    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that training may change."""

    def forward(self, parameters: Arrays, inputs: Inputs) -> list[np.ndarray]:
        """The values at every point, the embeddings B×D last."""

    def backward(
        self, parameters: Arrays, values: list[np.ndarray], gradient: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Gradients by trainable parameter, given those of the embeddings."""


@dataclass(frozen=True)
class NumpyState:
    """All that changes in training. Parameters of the objective are named ``objective.NAME``."""

    model: Any
    optimizer: OptimizerSpec
    parameters: Mapping[str, np.ndarray]
    moments: Moments = field(default_factory=Moments)

    def learned(self) -> dict[str, np.ndarray]:
        """The objective's parameters by the names that it knows."""
        return {
            name.removeprefix(_OBJECTIVE): value
            for name, value in self.parameters.items()
            if name.startswith(_OBJECTIVE)
        }


class NumpyTraining:
    """The half of a backend that trains: everything from ``init`` to ``save_weights``.

    A subclass gives the other half, about models: ``recognises``, ``load``, ``trace``,
    ``adapt``, ``split`` and ``export``. What ``adapt`` returns is a :class:`NumpyModel`.
    """

    name: str
    xp: ArrayNamespace = numpy_xp

    def init(
        self,
        model: NumpyModel,
        optimizer: OptimizerSpec,
        *,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        parameters: Mapping[str, np.ndarray] | None = None,
        dropout: float | None = 0.0,
    ) -> NumpyState:
        """A fresh state. There is nothing random in it, and no dropout in such models."""
        if device not in ("auto", *self.devices()):
            raise UnknownNameError("device", device, self.devices())
        if precision not in ("auto", *self.precisions("cpu")):
            raise UnknownNameError("precision", precision, self.precisions("cpu"))
        if dropout:
            raise UsageError(f"dropout={dropout}: the models of {self.name!r} have no dropout")
        learned = {
            f"{_OBJECTIVE}{name}": np.array(value, np.float64)
            for name, value in (parameters or {}).items()
        }
        if not model.trainable() and not learned and not model.only_evaluated:
            raise ModelError("every layer is frozen: nothing would train")
        return NumpyState(model, optimizer, dict(model.parameters) | learned)

    def step(
        self, state: NumpyState, batch: Batch, objective: Objective
    ) -> tuple[NumpyState, dict[str, float]]:
        values = state.model.forward(state.parameters, _joined(batch.chunks))
        found = loss_gradients(objective, values[-1], batch.labels, state.learned(), batch.key)
        gradients = state.model.backward(state.parameters, values, found.embeddings)
        gradients |= {f"{_OBJECTIVE}{name}": g for name, g in found.parameters.items()}
        clipped, norm = clip(gradients, state.optimizer.clip_norm)
        rate = state.optimizer.learning_rate * state.optimizer.schedule.factor(state.moments.step)
        scalars = {"loss": found.loss, "grad_norm": norm, "learning_rate": rate} | found.scalars
        if not math.isfinite(found.loss) or not math.isfinite(norm):
            return state, scalars | {"loss": math.nan}
        parameters, moments = update(state.optimizer, state.parameters, clipped, state.moments)
        return replace(state, parameters=parameters, moments=moments), scalars

    def embed(self, state: NumpyState, inputs: Inputs) -> np.ndarray:
        vectors: np.ndarray = state.model.forward(state.parameters, inputs)[-1]
        return vectors.astype(np.float32)

    def pullback(
        self, state: NumpyState, inputs: Inputs, embedding_gradients: np.ndarray
    ) -> dict[str, np.ndarray]:
        values = state.model.forward(state.parameters, inputs)
        gradient = np.asarray(embedding_gradients, np.float64)
        found = state.model.backward(state.parameters, values, gradient)
        return {name: value.astype(np.float32) for name, value in found.items()}

    def save(self, state: NumpyState, directory: Path) -> None:
        write_arrays(_arrays(state), directory / STATE_FILE)

    def restore(self, state: NumpyState, directory: Path) -> NumpyState:
        """The saved state. ``ModelError`` where it is that of another model."""
        from safetensors.numpy import load_file

        saved = load_file(directory / STATE_FILE)
        parameters = {
            name: saved.get(f"parameters/{name}", np.zeros(0)) for name in state.parameters
        }
        for name, value in state.parameters.items():
            if parameters[name].shape != value.shape:
                raise ModelError(
                    f"{directory / STATE_FILE} is of another model: {name!r} is "
                    f"{parameters[name].shape} there and {value.shape} here"
                )
        first, second = (
            {
                name.removeprefix(kind): array
                for name, array in saved.items()
                if name.startswith(kind)
            }
            for kind in ("first/", "second/")
        )
        moments = Moments(int(saved["step"][0]), first, second)
        return replace(state, parameters=parameters, moments=moments)

    def save_weights(self, state: NumpyState, directory: Path) -> str:
        weights = {
            name: np.asarray(state.parameters[name], np.float32, order="C")
            for name in state.model.parameters
        }
        write_arrays(weights, directory / WEIGHTS_FILE)
        return WEIGHTS_FILE

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def precisions(self, device: str) -> tuple[str, ...]:
        if device not in self.devices():
            raise UnknownNameError("device", device, self.devices())
        return ("float32",)


def fresh_projection(width: int, output_dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a new dense layer, uniform in ±1/√width as ``torch.nn.Linear`` begins."""
    draw = np.random.default_rng(seed).uniform(-1, 1, (width + 1, output_dim)) / math.sqrt(width)
    # Rounded to float32, so that what is saved is exactly what training began with.
    draw = draw.astype(np.float32).astype(np.float64)
    return draw[:-1], draw[-1]


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """A safetensors file; ``OSError`` where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def _joined(chunks: tuple[Inputs, ...]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _arrays(state: NumpyState) -> dict[str, np.ndarray]:
    found = {"step": np.array([state.moments.step])}
    groups = {
        "parameters": state.parameters,
        "first": state.moments.first,
        "second": state.moments.second,
    }
    for kind, arrays in groups.items():
        found |= {f"{kind}/{n}": np.asarray(a, order="C") for n, a in arrays.items()}
    return found
