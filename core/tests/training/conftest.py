"""A tiny problem for the trainer: two classes of points, the numpy backend, batches of four."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.numpy_backend import NumpyBackend
from finetuner.builtin.numpy_model import LinearEmbedding
from finetuner.builtin.numpy_training import NumpyState
from finetuner.contracts import OptimizerSpec, Schedule
from finetuner.training import Trainer


@dataclass(frozen=True)
class ArrayRows:
    """Rows of an array as the trainer's source; ``delays`` nothing, sorts nothing."""

    values: np.ndarray
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def chunks(self, rows: np.ndarray, count: int, *, epoch: int | None = None) -> Any:
        order = rows if self.lengths is None else rows[np.argsort(self.lengths[rows])]
        parts = np.array_split(order, min(count, len(order)))
        return tuple({"array": self.values[part]} for part in parts), order


@dataclass(frozen=True)
class Shuffled:
    """Every row once an epoch, in batches of ``size``, seeded."""

    rows: int
    size: int = 4

    def epoch(self, epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng([7, epoch]).permutation(self.rows)
        return [order[i * self.size : (i + 1) * self.size] for i in range(self.steps(epoch))]

    def steps(self, epoch: int) -> int:
        return self.rows // self.size


@dataclass(frozen=True)
class Spread:
    """Mean squared distance to rows of the same class, less that to the others."""

    parameters: Mapping[str, np.ndarray]

    def __call__(self, xp: Any, z: Any, labels: Any, parameters: Any, key: int) -> Any:
        squared = xp.sum((xp.expand_dims(z, axis=1) - xp.expand_dims(z, axis=0)) ** 2, axis=2)
        labels = xp.asarray(labels, like=z)
        same = xp.expand_dims(labels, axis=1) == xp.expand_dims(labels, axis=0)
        return xp.mean(xp.where(same, squared, -squared)), {"key": key}


@dataclass(frozen=True)
class Problem:
    """Everything that a trainer is given, and a trainer from it."""

    rows: ArrayRows
    labels: np.ndarray
    backend: NumpyBackend
    directory: Path

    def state(self, steps: int = 9, rate: float = 0.05) -> NumpyState:
        rng = np.random.default_rng(3)
        model = LinearEmbedding(
            {"dense.weight": rng.normal(size=(3, 2)), "dense.bias": np.zeros(2)},
            ("dense",),
            "array",
            normalize=True,
        )
        spec = OptimizerSpec(learning_rate=rate, schedule=Schedule(total_steps=steps))
        return self.backend.init(model, spec, seed=0)

    def trainer(self, **changes: Any) -> Trainer:
        options: dict[str, Any] = {
            "backend": self.backend,
            "state": self.state(),
            "train": self.rows,
            "labels": self.labels,
            "sampler": Shuffled(len(self.rows)),
            "objective": Spread({}),
            "epochs": 3,
            "directory": self.directory,
            "progress": False,
        }
        return Trainer(**(options | changes))


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    """Twelve points in two classes that overlap."""
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    values = rng.normal(size=(12, 3)).astype(np.float32) + labels[:, None].astype(np.float32)
    return Problem(ArrayRows(values), labels, NumpyBackend(), tmp_path / "checkpoints")


@pytest.fixture
def scripted() -> Callable[..., Any]:
    """``scripted(values)``: an evaluate that gives these ``map@r`` values in turn."""

    def make(values: list[float]) -> Callable[..., dict[str, float]]:
        remaining = iter(values)
        return lambda backend, state: {"map@r": next(remaining)}

    return make
