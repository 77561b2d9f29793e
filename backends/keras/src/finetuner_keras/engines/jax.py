"""Keras on JAX: ``jax.jit`` and ``jax.value_and_grad``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from finetuner.contracts import InputSpec
from finetuner_keras.engines import Function, Tensor, Tensors

INTEGER = "int64" if jax.config.jax_enable_x64 else "int32"
PACKAGES = ("jax", "jaxlib")
OPSET = 21


def compile(function: Function, static_shapes: bool = True) -> Function:
    return jax.jit(function)


def value_and_gradients(
    function: Function, parameters: Tensors
) -> tuple[tuple[Tensor, Any], dict[str, Tensor]]:
    return jax.value_and_grad(function, has_aux=True)(dict(parameters))


def to_tensor(array: np.ndarray) -> Tensor:
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        array = array.astype(INTEGER)
    return jnp.array(array)


def to_numpy(tensor: Tensor) -> np.ndarray:
    return np.array(tensor)


def to_floats(scalars: Tensors) -> dict[str, float]:
    fetched = jax.device_get(dict(scalars))
    return {name: float(value) for name, value in fetched.items()}


def random_uniform(key: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return jax.random.uniform(jax.random.key(jnp.asarray(key, "uint32")), shape)


def seeded(key: Tensor) -> AbstractContextManager[Any]:
    return nullcontext()  # every generator of Keras has a state here


def devices() -> tuple[str, ...]:
    platforms = {"cuda": "gpu", "rocm": "gpu"}
    found = [f"{platforms.get(d.platform, d.platform)}:{d.id}" for d in jax.devices()]
    return (*(name for name in found if not name.startswith("cpu")), "cpu")


def on_device(name: str) -> AbstractContextManager[Any]:
    platform, _, number = name.partition(":")
    return jax.default_device(jax.devices(platform)[int(number or 0)])


def export(
    function: Function,
    weights: Mapping[str, np.ndarray],
    specs: Sequence[InputSpec],
    arrays: Sequence[np.ndarray],
    path: Path,
) -> None:
    from jax2onnx import to_onnx

    from finetuner_keras.engines.jax_onnx import mend_pooling
    from finetuner_keras.onnx_file import write

    names = list(weights)

    def flat(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=False))
        return function(given, *tensors[len(names) :])

    symbols = jax.export.SymbolicScope()
    signature = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in weights.values()]
    signature += [_symbolic(spec, symbols) for spec in specs]
    model = to_onnx(flat, signature, opset=OPSET)
    mend_pooling(model.graph)
    write(model, specs, weights, path)


def _symbolic(spec: InputSpec, scope: Any) -> jax.ShapeDtypeStruct:
    """The input with a symbol for each extent that varies, of the widest integers there are."""
    names = {0: "batch", 1: "sequence" if len(spec.shape) == 2 else f"{spec.name}_1"}
    extents = ",".join(
        str(names.get(axis, f"{spec.name}_{axis}") if extent is None else extent)
        for axis, extent in enumerate(spec.shape)
    )
    dtype = INTEGER if spec.dtype == "int64" else spec.dtype
    return jax.ShapeDtypeStruct(jax.export.symbolic_shape(extents, scope=scope), dtype)
