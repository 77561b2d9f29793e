"""The two backends that core's tests have, each with a model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.numpy_backend import NumpyBackend
from finetuner.builtin.numpy_model import LinearModel
from finetuner.contracts import Inputs, InputSpec
from finetuner.testing import BackendCase

SPECS = (InputSpec("array", "float32", (None, 6)),)


def _module(name: str) -> ModuleType:
    """Test folders are no packages, so a module beside this one is loaded by its path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


functional_fake = _module("functional_fake")


def inputs(rows: int, seed: int) -> Inputs:
    values = np.random.default_rng(seed).normal(size=(rows, 6))
    return {"array": values.astype(np.float32)}


def linear_model() -> LinearModel:
    rng = np.random.default_rng(11)
    weight, bias, head = rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=(4, 2))
    return LinearModel(*(array.astype(np.float32) for array in (weight, bias, head)))


def fake_model() -> Any:
    rng = np.random.default_rng(12)
    weights = {"body.kernel": rng.normal(size=(6, 4)), "head.kernel": rng.normal(size=(4, 2))}
    return functional_fake.FakeModel(functional_fake.seal(weights))


def numpy_weights(state: Any) -> dict[str, np.ndarray]:
    return {n: a for n, a in state.parameters.items() if not n.startswith("objective.")}


@pytest.fixture
def numpy_case() -> BackendCase:
    """The numpy reference backend with a linear classifier."""
    return BackendCase(
        backend=NumpyBackend(),
        model=linear_model,
        inputs=inputs,
        specs=SPECS,
        model_weights=lambda model: model.parameters(),
        state_weights=numpy_weights,
        frozen_layer="dense",
        split_at="dense",
    )


@pytest.fixture
def functional_case() -> BackendCase:
    """The functional fake with a classifier of two layers."""
    return BackendCase(
        backend=functional_fake.FunctionalBackend(),
        model=fake_model,
        inputs=inputs,
        specs=SPECS,
        model_weights=lambda model: model.weights,
        state_weights=lambda state: state.weights,
        frozen_layer="body",
        capabilities=frozenset(),
    )
