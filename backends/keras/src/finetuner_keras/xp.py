"""The array namespace over ``keras.ops``: the functions of ``finetuner.arrays``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import backend as _keras
from keras import ops

from finetuner_keras import engines
from finetuner_keras.engines import Tensor

_ENGINE = engines.current()
_NARROWED = {"float64": "float32", "int64": "int32", "uint64": "uint32"}


def abs(x: Tensor, /) -> Tensor:
    return ops.abs(x)


def all(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.all(x, axis=axis, keepdims=keepdims)


def any(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.any(x, axis=axis, keepdims=keepdims)


def arange(n: int, /, *, like: Tensor) -> Tensor:
    return ops.arange(n, dtype=_ENGINE.INTEGER)


def arccos(x: Tensor, /) -> Tensor:
    return ops.arccos(x)


def argmax(x: Tensor, /, *, axis: int) -> Tensor:
    return ops.cast(ops.argmax(x, axis=axis), _ENGINE.INTEGER)


def argmin(x: Tensor, /, *, axis: int) -> Tensor:
    return ops.cast(ops.argmin(x, axis=axis), _ENGINE.INTEGER)


def argsort(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return ops.cast(ops.argsort(ops.stop_gradient(x), axis=axis), _ENGINE.INTEGER)


def asarray(x: Any, /, *, like: Tensor, dtype: str | None = None) -> Tensor:
    if dtype is None and isinstance(x, np.ndarray):
        dtype = x.dtype.name
    return ops.convert_to_tensor(x, dtype=None if dtype is None else _dtype(dtype))


def astype(x: Tensor, dtype: Any, /) -> Tensor:
    return ops.cast(x, _dtype(dtype))


def broadcast_to(x: Tensor, shape: Sequence[int], /) -> Tensor:
    return ops.broadcast_to(x, tuple(shape))


def clip(x: Tensor, low: float | None, high: float | None, /) -> Tensor:
    if low is not None:
        x = ops.maximum(x, low)
    return x if high is None else ops.minimum(x, high)


def concat(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    return ops.concatenate(list(arrays), axis=axis)


def cos(x: Tensor, /) -> Tensor:
    return ops.cos(x)


def cumsum(x: Tensor, /, *, axis: int) -> Tensor:
    return ops.cumsum(x, axis=axis)


def exp(x: Tensor, /) -> Tensor:
    return ops.exp(x)


def expand_dims(x: Tensor, /, *, axis: int) -> Tensor:
    return ops.expand_dims(x, axis=axis)


def flip(x: Tensor, /, *, axis: int) -> Tensor:
    return ops.flip(x, axis=axis)


def invert_permutation(x: Tensor, /) -> Tensor:
    return argsort(x, axis=-1)


def log(x: Tensor, /) -> Tensor:
    return ops.log(x)


def log1p(x: Tensor, /) -> Tensor:
    return ops.log1p(x)


def logical_not(x: Tensor, /) -> Tensor:
    return ops.logical_not(x)


def logsumexp(x: Tensor, /, *, axis: int, keepdims: bool = False) -> Tensor:
    lowest = ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))
    nothing = ops.equal(lowest, -np.inf)
    # Differences of infinities are NaN, and so would their gradients be.
    shift = ops.where(nothing, ops.zeros_like(lowest), lowest)
    terms = ops.exp(ops.where(nothing, ops.zeros_like(x), x) - shift)
    total = ops.log(ops.sum(terms, axis=axis, keepdims=True)) + shift
    total = ops.where(nothing, ops.full_like(total, -np.inf), total)
    return total if keepdims else ops.squeeze(total, axis=axis)


def matmul(a: Tensor, b: Tensor, /) -> Tensor:
    return ops.matmul(a, b)


def max(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.max(x, axis=axis, keepdims=keepdims)


def maximum(a: Tensor, b: Any, /) -> Tensor:
    return ops.maximum(a, b)


def mean(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.mean(x, axis=axis, keepdims=keepdims)


def min(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.min(x, axis=axis, keepdims=keepdims)


def minimum(a: Tensor, b: Any, /) -> Tensor:
    return ops.minimum(a, b)


def ones_like(x: Tensor, /) -> Tensor:
    return ops.ones_like(x)


def permute_dims(x: Tensor, axes: Sequence[int], /) -> Tensor:
    return ops.transpose(x, tuple(axes))


def power(a: Tensor, b: Any, /) -> Tensor:
    return ops.power(a, b)


def random_uniform(key: int, shape: Sequence[int], /, *, like: Tensor) -> Tensor:
    return _ENGINE.random_uniform(key, tuple(shape), like)


def reshape(x: Tensor, shape: Sequence[int], /) -> Tensor:
    return ops.reshape(x, tuple(shape))


def sin(x: Tensor, /) -> Tensor:
    return ops.sin(x)


def softmax(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return ops.softmax(x, axis=axis)


def sort(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return ops.take_along_axis(x, argsort(x, axis=axis), axis=axis)


def sqrt(x: Tensor, /) -> Tensor:
    return ops.sqrt(x)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    return ops.stack(list(arrays), axis=axis)


def stop_gradient(x: Tensor, /) -> Tensor:
    return ops.stop_gradient(x)


def sum(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return ops.sum(x, axis=axis, keepdims=keepdims)


def take(x: Tensor, indices: Tensor, /, *, axis: int) -> Tensor:
    return ops.take(x, indices, axis=axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int) -> Tensor:
    return ops.take_along_axis(x, indices, axis=axis)


def tanh(x: Tensor, /) -> Tensor:
    return ops.tanh(x)


def upcast(x: Tensor, /) -> Tensor:
    return x if _keras.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")


def where(condition: Tensor, a: Any, b: Any, /) -> Tensor:
    return ops.where(condition, a, b)


def zeros_like(x: Tensor, /) -> Tensor:
    return ops.zeros_like(x)


def _dtype(dtype: Any) -> str:
    """A numpy name or a tensor's dtype as Keras names it, as wide as there is."""
    name: str = _keras.standardize_dtype(dtype)
    return _NARROWED.get(name, name) if _ENGINE.INTEGER == "int32" else name
