"""Keras on PyTorch: eager execution and autograd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from finetuner.contracts import InputSpec
from finetuner_keras.engines import Function, Tensor, Tensors

INTEGER = "int64"
PACKAGES = ("torch",)
OPSET = 18


def compile(function: Function, static_shapes: bool = True) -> Function:
    """``function`` itself: PyTorch runs it eagerly."""
    return function


def value_and_gradients(
    function: Function, parameters: Tensors
) -> tuple[tuple[Tensor, Any], dict[str, Tensor]]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    with torch.enable_grad():
        value, others = function(leaves)
        found = torch.autograd.grad(
            value, list(leaves.values()), allow_unused=True, materialize_grads=True
        )
    others = keras.tree.map_structure(_detached, others)
    return (value.detach(), others), dict(zip(leaves, found, strict=True))


def to_tensor(array: np.ndarray) -> Tensor:
    return keras.ops.convert_to_tensor(np.array(array))


def to_numpy(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu())


def to_floats(scalars: Tensors) -> dict[str, float]:
    if not scalars:
        return {}
    values = torch.stack([torch.as_tensor(v).detach().float() for v in scalars.values()])
    return dict(zip(scalars, values.tolist(), strict=True))


def random_uniform(key: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    generator = torch.Generator(like.device).manual_seed(int(key))
    return torch.rand(shape, generator=generator, device=like.device)


@contextmanager
def seeded(key: Tensor) -> Iterator[None]:
    high, low = key.tolist()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(high << 32 | low)
        yield


def devices() -> tuple[str, ...]:
    return (*(f"gpu:{index}" for index in range(torch.cuda.device_count())), "cpu")


def on_device(name: str) -> AbstractContextManager[Any]:
    return keras.device(name)


def export(
    function: Function,
    weights: Mapping[str, np.ndarray],
    specs: Sequence[InputSpec],
    arrays: Sequence[np.ndarray],
    path: Path,
) -> None:
    from finetuner_keras.onnx_file import write

    module = _Exported(function, weights)
    program = torch.onnx.export(
        module,
        tuple(torch.tensor(array) for array in arrays),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=(tuple(_free_extents(spec) for spec in specs),),
        verbose=False,
    )
    assert program is not None
    write(program.model_proto, specs, {}, path)


class _Exported(torch.nn.Module):
    """The function with its weights as buffers, which the exporter stores once."""

    def __init__(self, function: Function, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.function, self.names = function, tuple(weights)
        for index, array in enumerate(weights.values()):
            self.register_buffer(f"weight_{index}", torch.from_numpy(array))

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        weights = {n: getattr(self, f"weight_{i}") for i, n in enumerate(self.names)}
        embedding: torch.Tensor = self.function(weights, *tensors)
        return embedding


def _free_extents(spec: InputSpec) -> dict[int, Any]:
    names = {0: "batch", 1: "sequence" if len(spec.shape) == 2 else f"{spec.name}_1"}
    return {
        axis: names.get(axis, f"{spec.name}_{axis}")
        for axis, extent in enumerate(spec.shape)
        if extent is None
    }


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
