"""Steps on numbers: from an image or array to what the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.data.contents import is_pil_image
from finetuner.errors import UsageError

_LAYOUTS = ("channels-first", "channels-last")


def scale(value: Any, *, factor: float = 1 / 255) -> np.ndarray:
    """Float32 values times ``factor``; an image becomes H×W×C first."""
    return as_float(value) * np.float32(factor)


def normalize(
    value: Any,
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    axis: int = -1,
) -> np.ndarray:
    """``(value - mean) / std`` in float32, by number or by entry along ``axis``.

    Raises ``UsageError`` where the lengths do not fit or ``std`` holds a zero.
    """
    array = as_float(value)
    centre, spread = (_along(array, values, axis) for values in (mean, std))
    if not np.all(spread):
        raise UsageError(f"normalize: std is {std!r}; it must not hold a zero")
    return np.asarray((array - centre) / spread, dtype=np.float32)


def layout(value: Any, *, order: str) -> np.ndarray:
    """Put the channels of an H×W×C array ``"channels-first"``, or keep them last."""
    if order not in _LAYOUTS:
        raise UsageError(f"layout: order is {order!r}; give {' or '.join(map(repr, _LAYOUTS))}")
    array = as_float(value)
    if array.ndim != 3:
        raise UsageError(f"layout: an H×W×C array is needed, but the shape is {array.shape}")
    return np.ascontiguousarray(array.transpose(2, 0, 1)) if order == _LAYOUTS[0] else array


def reverse_channels(value: Any) -> np.ndarray:
    """An H×W×C array with its channels in reverse: blue, green, red."""
    array = as_float(value)
    if array.ndim != 3:
        raise UsageError(f"reverse-channels: an H×W×C array is needed, not {array.shape}")
    return np.ascontiguousarray(array[:, :, ::-1])


def reshape(value: Any, *, shape: Sequence[int]) -> np.ndarray:
    """One row in another shape (without the batch); -1 stands for what is left."""
    array = np.asarray(value)
    try:
        return array.reshape(tuple(shape))
    except ValueError as error:
        raise UsageError(f"reshape: {array.shape} does not fit {tuple(shape)}") from error


def cast(value: Any, *, dtype: str) -> np.ndarray:
    """Values in another dtype, by numpy's name."""
    try:
        return np.asarray(value).astype(dtype)
    except TypeError as error:
        raise UsageError(f"cast: {dtype!r} is no dtype ({error})") from error


def as_float(value: Any) -> np.ndarray:
    """Float32 array; an image gives H×W×C, a grey one with a single channel."""
    array = np.asarray(value, dtype=np.float32)
    return array[:, :, None] if is_pil_image(value) and array.ndim == 2 else array


def _along(array: np.ndarray, values: float | Sequence[float], axis: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float32)
    if numbers.ndim == 0:
        return numbers
    if not -array.ndim <= axis < array.ndim or len(numbers) not in (1, array.shape[axis]):
        raise UsageError(
            f"normalize: {len(numbers)} values do not fit axis {axis} of the shape {array.shape}"
        )
    shape = [1] * array.ndim
    shape[axis] = -1
    return numbers.reshape(shape)
