"""Keras on TensorFlow: ``tf.function`` and ``tf.GradientTape``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from finetuner.contracts import InputSpec
from finetuner_keras.engines import Function, Tensor, Tensors

INTEGER = "int64"
PACKAGES = ("tensorflow", "tensorflow-cpu")
OPSET = 18


def compile(function: Function, static_shapes: bool = True) -> Function:
    """A graph; with XLA where a GPU runs it, which asks for static shapes."""
    return tf.function(
        function,
        autograph=False,
        jit_compile=bool(static_shapes and tf.config.list_physical_devices("GPU")) or None,
        reduce_retracing=not static_shapes,
    )


def value_and_gradients(
    function: Function, parameters: Tensors
) -> tuple[tuple[Tensor, Any], dict[str, Tensor]]:
    watched = dict(parameters)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(watched.values()))
        value, others = function(watched)
    found = tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return (value, others), {name: tf.convert_to_tensor(g) for name, g in found.items()}


def to_tensor(array: np.ndarray) -> Tensor:
    return tf.constant(array)


def to_numpy(tensor: Tensor) -> np.ndarray:
    return np.array(tensor)


def to_floats(scalars: Tensors) -> dict[str, float]:
    if not scalars:
        return {}
    values = tf.stack([tf.cast(value, tf.float32) for value in scalars.values()]).numpy()
    return dict(zip(scalars, values.tolist(), strict=True))


def random_uniform(key: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    seed = tf.stack([tf.cast(key, tf.int64), tf.constant(0, tf.int64)])
    return tf.random.stateless_uniform(shape, seed)


def seeded(key: Tensor) -> AbstractContextManager[Any]:
    return nullcontext()  # every generator of Keras has a state here


def devices() -> tuple[str, ...]:
    return (*(f"gpu:{i}" for i in range(len(tf.config.list_physical_devices("GPU")))), "cpu")


def on_device(name: str) -> AbstractContextManager[Any]:
    return tf.device(name)


def export(
    function: Function,
    weights: Mapping[str, np.ndarray],
    specs: Sequence[InputSpec],
    arrays: Sequence[np.ndarray],
    path: Path,
) -> None:
    from tf2onnx.convert import from_function

    from finetuner_keras.engines.tensorflow_onnx import register
    from finetuner_keras.onnx_file import store_constants, write

    register()
    names = list(weights)

    def flat(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=False))
        return function(given, *tensors[len(names) :])

    # Weights are inputs of the graph while it is converted: frozen into it they
    # would be copied several times over.
    signature = [tf.TensorSpec(a.shape, a.dtype) for a in weights.values()]
    signature += [tf.TensorSpec(spec.shape, spec.dtype) for spec in specs]
    graph = tf.function(flat, autograph=False)
    model, _ = from_function(graph, input_signature=signature, opset=OPSET)
    store_constants(model.graph, _captured(graph, signature))
    write(model, specs, weights, path)


def _captured(graph: Any, signature: Sequence[tf.TensorSpec]) -> dict[str, np.ndarray]:
    """Tensors that layers hold beside their weights, which the exporter takes for inputs."""
    captures = graph.get_concrete_function(*signature).graph.captures
    return {inner.name: outer.numpy() for outer, inner in captures if outer.dtype != tf.resource}
