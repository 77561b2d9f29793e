"""The numpy array namespace: exactly the functions of :data:`finetuner.arrays.ARRAY_FUNCTIONS`.

Nothing here tracks gradients; ``stop_gradient`` is the identity. The reference
backend differentiates by central differences instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.arrays import Array


def abs(x: Array, /) -> Array:
    return np.abs(x)


def all(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.all(x, axis=axis, keepdims=keepdims)


def any(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.any(x, axis=axis, keepdims=keepdims)


def arange(n: int, /, *, like: Array) -> Array:
    return np.arange(n, dtype=np.int64)


def arccos(x: Array, /) -> Array:
    return np.arccos(x)


def argmax(x: Array, /, *, axis: int) -> Array:
    return np.argmax(x, axis=axis)


def argmin(x: Array, /, *, axis: int) -> Array:
    return np.argmin(x, axis=axis)


def argsort(x: Array, /, *, axis: int = -1) -> Array:
    return np.argsort(x, axis=axis, kind="stable")


def asarray(x: Any, /, *, like: Array, dtype: str | None = None) -> Array:
    return np.asarray(x, dtype=dtype)


def astype(x: Array, dtype: Any, /) -> Array:
    return np.asarray(x).astype(dtype, copy=False)


def broadcast_to(x: Array, shape: Sequence[int], /) -> Array:
    return np.broadcast_to(x, tuple(shape))


def clip(x: Array, low: float | None, high: float | None, /) -> Array:
    return np.clip(x, low, high)


def concat(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    return np.concatenate(arrays, axis=axis)


def cos(x: Array, /) -> Array:
    return np.cos(x)


def cumsum(x: Array, /, *, axis: int) -> Array:
    return np.cumsum(x, axis=axis)


def exp(x: Array, /) -> Array:
    return np.exp(x)


def expand_dims(x: Array, /, *, axis: int) -> Array:
    return np.expand_dims(x, axis)


def flip(x: Array, /, *, axis: int) -> Array:
    return np.flip(x, axis=axis)


def invert_permutation(x: Array, /) -> Array:
    places = np.broadcast_to(np.arange(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = np.empty_like(x)
    np.put_along_axis(inverse, x, places, axis=-1)
    return inverse


def log(x: Array, /) -> Array:
    return np.log(x)


def log1p(x: Array, /) -> Array:
    return np.log1p(x)


def logical_not(x: Array, /) -> Array:
    return np.logical_not(x)


def logsumexp(x: Array, /, *, axis: int, keepdims: bool = False) -> Array:
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0).astype(top.dtype)
    with np.errstate(divide="ignore"):
        result = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else np.squeeze(result, axis=axis)


def matmul(a: Array, b: Array, /) -> Array:
    return np.matmul(a, b)


def max(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.max(x, axis=axis, keepdims=keepdims)


def maximum(a: Array, b: Any, /) -> Array:
    return np.maximum(a, b)


def mean(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.mean(x, axis=axis, keepdims=keepdims)


def min(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.min(x, axis=axis, keepdims=keepdims)


def minimum(a: Array, b: Any, /) -> Array:
    return np.minimum(a, b)


def ones_like(x: Array, /) -> Array:
    return np.ones_like(x)


def permute_dims(x: Array, axes: Sequence[int], /) -> Array:
    return np.transpose(x, tuple(axes))


def power(a: Array, b: Any, /) -> Array:
    return np.power(a, b)


def random_uniform(key: int, shape: Sequence[int], /, *, like: Array) -> Array:
    return np.random.default_rng(key).random(tuple(shape), dtype=np.float32)


def reshape(x: Array, shape: Sequence[int], /) -> Array:
    return np.reshape(x, tuple(shape))


def sin(x: Array, /) -> Array:
    return np.sin(x)


def softmax(x: Array, /, *, axis: int = -1) -> Array:
    weights = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return weights / np.sum(weights, axis=axis, keepdims=True)


def sort(x: Array, /, *, axis: int = -1) -> Array:
    return np.sort(x, axis=axis, kind="stable")


def sqrt(x: Array, /) -> Array:
    return np.sqrt(x)


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    return np.stack(arrays, axis=axis)


def stop_gradient(x: Array, /) -> Array:
    return x


def sum(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.sum(x, axis=axis, keepdims=keepdims)


def take(x: Array, indices: Array, /, *, axis: int) -> Array:
    return np.take(x, indices, axis=axis)


def take_along_axis(x: Array, indices: Array, /, *, axis: int) -> Array:
    return np.take_along_axis(x, indices, axis=axis)


def tanh(x: Array, /) -> Array:
    return np.tanh(x)


def upcast(x: Array, /) -> Array:
    return np.asarray(x) if x.dtype == np.float64 else np.asarray(x, dtype=np.float32)


def where(condition: Array, a: Any, b: Any, /) -> Array:
    return np.where(condition, a, b)


def zeros_like(x: Array, /) -> Array:
    return np.zeros_like(x)
