"""Gradients of any objective by its inputs, by central differences in float64.

Slow on purpose (two calls of the objective an element): nothing is shared with
the frameworks' automatic differentiation, so it can serve as their oracle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.builtin import numpy_xp
from finetuner.contracts import Objective

STEP = 1e-6
"""Half the distance of the two points: truncation and rounding errors balance near here."""


@dataclass(frozen=True)
class LossGradients:
    """A loss, what it reports, and its gradients by embeddings and by its parameters."""

    loss: float
    scalars: dict[str, float]
    embeddings: np.ndarray
    parameters: dict[str, np.ndarray]


class _Namespace:
    """numpy's namespace for differences: nothing is rounded, what is constant stays so.

    Casts to a floating dtype give float64, or rounding would drown the small steps.
    ``stop_gradient`` records its values at the point itself and gives them again
    where inputs are moved; shapes are static, so the calls come in the same order
    every time.
    """

    def __init__(self, recorded: list[Any] | None = None) -> None:
        self.record: list[Any] = []
        self._replay = None if recorded is None else iter(recorded)

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy_xp, name)

    def astype(self, x: Any, dtype: Any, /) -> Any:
        return numpy_xp.astype(x, _widest(dtype))

    def asarray(self, x: Any, /, *, like: Any, dtype: str | None = None) -> Any:
        return numpy_xp.asarray(x, like=like, dtype=None if dtype is None else _widest(dtype))

    def stop_gradient(self, x: Any, /) -> Any:
        if self._replay is not None:
            return next(self._replay)
        self.record.append(np.array(x))
        return self.record[-1]


def _widest(dtype: Any) -> Any:
    return np.float64 if np.issubdtype(np.dtype(dtype), np.floating) else dtype


def loss_gradients(
    objective: Objective,
    embeddings: np.ndarray,
    labels: np.ndarray,
    parameters: Mapping[str, np.ndarray],
    key: int,
) -> LossGradients:
    """The loss at ``embeddings`` (float64, B×D) with its gradients.

    Where the loss is not finite, its gradients are NaN and nothing is differenced.
    """
    point = np.array(embeddings, np.float64)
    constants = {name: np.array(value, np.float64) for name, value in parameters.items()}
    base = _Namespace()
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at the loss itself
        loss, scalars = objective(base, point, labels, constants, key)

    if not math.isfinite(float(loss)):
        nowhere = {name: np.full_like(value, np.nan) for name, value in constants.items()}
        return LossGradients(float(loss), {}, np.full_like(point, np.nan), nowhere)

    def value() -> float:
        return float(objective(_Namespace(base.record), point, labels, constants, key)[0])

    return LossGradients(
        loss=float(loss),
        scalars={name: float(scalar) for name, scalar in scalars.items()},
        embeddings=_differences(value, point),
        parameters={name: _differences(value, array) for name, array in constants.items()},
    )


def _differences(value: Callable[[], float], point: np.ndarray) -> np.ndarray:
    """The gradient of ``value()``, which reads ``point``; each element is moved and put back."""
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        kept = point[index]
        point[index] = kept + STEP
        above = value()
        point[index] = kept - STEP
        gradient[index] = (above - value()) / (2 * STEP)
        point[index] = kept
    return gradient
