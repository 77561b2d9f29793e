"""Keras on PyTorch: eager execution and autograd."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import torch

from finetuner_keras.engines import Function, Tensor, Tensors

INTEGER = "int64"
PACKAGES = ("torch",)


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


def devices() -> tuple[str, ...]:
    return (*(f"gpu:{index}" for index in range(torch.cuda.device_count())), "cpu")


def on_device(name: str) -> AbstractContextManager[Any]:
    return keras.device(name)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
