"""Keras on TensorFlow: ``tf.function`` and ``tf.GradientTape``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from finetuner_keras.engines import Function, Tensor, Tensors

INTEGER = "int64"
PACKAGES = ("tensorflow", "tensorflow-cpu")


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


def devices() -> tuple[str, ...]:
    return (*(f"gpu:{i}" for i in range(len(tf.config.list_physical_devices("GPU")))), "cpu")


def on_device(name: str) -> AbstractContextManager[Any]:
    return tf.device(name)
