"""What differs between TensorFlow, JAX and PyTorch under Keras: one module each.

The modules have the same functions with the same signatures. Everything else in
this package is written once, on ``keras.ops`` and these.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from finetuner.contracts import InputSpec
from finetuner.errors import UsageError

Tensor = Any
Tensors = Mapping[str, Tensor]
Function = Callable[..., Any]

ENGINES = ("tensorflow", "jax", "torch")
"""The Keras backends that there is an engine for."""


class Engine(Protocol):
    """The functions of an engine's module."""

    INTEGER: str
    """The widest integer that arrays have."""

    PACKAGES: tuple[str, ...]
    """Distributions that carry out the arithmetic."""

    def compile(self, function: Function, static_shapes: bool = True) -> Function:
        """``function`` of nested tensors, compiled once for each set of shapes.

        With ``static_shapes=False`` an extent may vary where the framework can
        compile for that.
        """

    def value_and_gradients(
        self, function: Function, parameters: Tensors
    ) -> tuple[tuple[Tensor, Any], dict[str, Tensor]]:
        """``function(parameters)``, a scalar and whatever else, and the scalar's gradients."""

    def to_tensor(self, array: np.ndarray) -> Tensor:
        """A copy of an array on the device in scope."""

    def to_numpy(self, tensor: Tensor) -> np.ndarray:
        """A copy of a tensor in the host's memory."""

    def to_floats(self, scalars: Tensors) -> dict[str, float]:
        """Scalars as numbers, in one transfer."""

    def random_uniform(self, key: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Float32 in [0, 1) that follows from ``key`` alone, an integer or a scalar tensor."""

    def seeded(self, key: Tensor) -> AbstractContextManager[Any]:
        """A scope in which what draws without a seed of its own follows from ``key``.

        ``key`` are two integers. Keras's dropout draws like that on PyTorch.
        """

    def devices(self) -> tuple[str, ...]:
        """Names of the devices, best first; the processor is ``"cpu"``."""

    def on_device(self, name: str) -> AbstractContextManager[Any]:
        """A scope in which tensors are made, and functions run, on the device."""

    def export(
        self,
        function: Function,
        weights: Mapping[str, np.ndarray],
        specs: Sequence[InputSpec],
        arrays: Sequence[np.ndarray],
        path: Path,
    ) -> None:
        """Write ``function(weights, *tensors)``, which gives the embeddings, as ONNX.

        ``specs`` describe the tensors and ``arrays`` are examples of them.
        """


def current() -> Engine:
    """The engine of the Keras backend that this process runs."""
    import keras

    name = keras.backend.backend()
    if name not in ENGINES:
        raise UsageError(
            f"Keras runs on {name!r}, which cannot train here: set KERAS_BACKEND to one of "
            f"{', '.join(ENGINES)} before Keras is imported"
        )
    return cast("Engine", importlib.import_module(f"finetuner_keras.engines.{name}"))
