"""AdamW, SGD and clipping on numpy arrays: the definitions that every backend is held to.

They are PyTorch's (``torch.optim.AdamW``, ``torch.optim.SGD``,
``torch.nn.utils.clip_grad_norm_``), in whichever dtype the arrays have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from finetuner.contracts import OptimizerSpec

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Moments:
    """What an optimizer remembers, by parameter name.

    ``first`` is AdamW's mean of gradients or SGD's momentum buffer, ``second``
    AdamW's mean of squared gradients; ``step`` counts the updates made.
    """

    step: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)


def clip(gradients: Arrays, limit: float | None) -> tuple[Arrays, float]:
    """Gradients scaled to a global Euclidean norm of at most ``limit``, and the norm before."""
    norm = math.sqrt(sum(float(np.sum(np.square(g))) for g in gradients.values()))
    scale = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
    return {name: gradient * scale for name, gradient in gradients.items()}, norm


def update(
    spec: OptimizerSpec, parameters: Arrays, gradients: Arrays, moments: Moments
) -> tuple[dict[str, np.ndarray], Moments]:
    """One update of the parameters that have a gradient; the others come back untouched."""
    rate = spec.learning_rate * spec.schedule.factor(moments.step)
    rule = _adamw if spec.name == "adamw" else _sgd
    new, first, second = dict(parameters), dict(moments.first), dict(moments.second)
    for name, gradient in gradients.items():
        decay = spec.decay_of(name, gradient.ndim)
        new[name], first[name], second[name] = rule(
            spec, rate, decay, moments.step, parameters[name], gradient,
            first.get(name), second.get(name),
        )  # fmt: skip
    return new, Moments(moments.step + 1, first, second)


_Updated = tuple[np.ndarray, np.ndarray, np.ndarray]


def _adamw(
    spec: OptimizerSpec,
    rate: float,
    decay: float,
    step: int,
    value: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray | None,
    second: np.ndarray | None,
) -> _Updated:
    """Loshchilov & Hutter (2019), decay first; epsilon beside the corrected root."""
    beta1, beta2 = spec.betas
    zeros = np.zeros_like(value)
    mean = beta1 * (zeros if first is None else first) + (1 - beta1) * gradient
    square = beta2 * (zeros if second is None else second) + (1 - beta2) * gradient**2
    root = np.sqrt(square / (1 - beta2 ** (step + 1))) + spec.eps
    decayed = value * (1 - rate * decay)
    return decayed - rate / (1 - beta1 ** (step + 1)) * mean / root, mean, square


def _sgd(
    spec: OptimizerSpec,
    rate: float,
    decay: float,
    step: int,
    value: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray | None,
    second: np.ndarray | None,
) -> _Updated:
    """Momentum without dampening: the first buffer is the gradient itself."""
    gradient = gradient + decay * value
    buffer = gradient if first is None else spec.momentum * first + gradient
    direction = gradient + spec.momentum * buffer if spec.nesterov else buffer
    return value - rate * direction, buffer, np.zeros(0)
