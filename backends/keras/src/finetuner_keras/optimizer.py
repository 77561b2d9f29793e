"""AdamW, SGD and clipping as PyTorch defines them: pure functions over ``keras.ops``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from finetuner.contracts import OptimizerSpec
from finetuner_keras.engines import Tensor, Tensors

Moments = dict[str, dict[str, Tensor]]
"""``first`` (AdamW's mean, SGD's buffer) and, for AdamW, ``second``, by parameter name."""

NORM_EPSILON = 1e-6


def fresh_moments(spec: OptimizerSpec, parameters: Tensors) -> Moments:
    """Zeros for every parameter: SGD's first buffer is then the gradient itself."""
    kinds = ("first", "second") if spec.name == "adamw" else ("first",)
    return {kind: {n: ops.zeros_like(p) for n, p in parameters.items()} for kind in kinds}


def numbers(spec: OptimizerSpec, step: int) -> tuple[float, float, float]:
    """Learning rate and AdamW's two bias corrections at the ``step``-th update, from 0."""
    beta1, beta2 = spec.betas
    rate = spec.learning_rate * spec.schedule.factor(step)
    return rate, 1.0 - beta1 ** (step + 1), 1.0 - beta2 ** (step + 1)


def clip(gradients: Tensors, limit: float | None) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients scaled to a global Euclidean norm of at most ``limit``, and the norm before."""
    squares = [ops.sum(ops.square(gradient)) for gradient in gradients.values()]
    norm = ops.sqrt(sum(squares[1:], squares[0]))
    if limit is None:
        return dict(gradients), norm
    scale = ops.minimum(1.0, limit / (norm + NORM_EPSILON))
    return {name: gradient * scale for name, gradient in gradients.items()}, norm


def update(
    spec: OptimizerSpec,
    factors: Mapping[str, float],
    values: Any,
    parameters: Tensors,
    gradients: Tensors,
    moments: Moments,
) -> tuple[dict[str, Tensor], Moments]:
    """One update of every parameter.

    ``values`` are :func:`numbers` as a tensor of three; ``factors`` scale the
    learning rate of the parameters that they name.
    """
    new: dict[str, Tensor] = {}
    kept: Moments = {kind: {} for kind in moments}
    rule = _adamw if spec.name == "adamw" else _sgd
    for name, gradient in gradients.items():
        decay = spec.decay_of(name, len(gradient.shape))
        old = {kind: moments[kind][name] for kind in moments}
        rate = values[0] * factors.get(name, 1.0)
        new[name], now = rule(spec, rate, decay, values, parameters[name], gradient, old)
        for kind, moment in now.items():
            kept[kind][name] = moment
    return new, kept


def _adamw(
    spec: OptimizerSpec,
    rate: Tensor,
    decay: float,
    values: Tensor,
    parameter: Tensor,
    gradient: Tensor,
    old: Tensors,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loshchilov & Hutter (2019), decay first; epsilon beside the corrected root."""
    beta1, beta2 = spec.betas
    mean = old["first"] * beta1 + gradient * (1.0 - beta1)
    square = old["second"] * beta2 + ops.square(gradient) * (1.0 - beta2)
    root = ops.sqrt(square) / ops.sqrt(values[2]) + spec.eps
    step = rate / values[1] * mean / root
    return parameter * (1.0 - rate * decay) - step, {"first": mean, "second": square}


def _sgd(
    spec: OptimizerSpec,
    rate: Tensor,
    decay: float,
    values: Tensor,
    parameter: Tensor,
    gradient: Tensor,
    old: Tensors,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Momentum without dampening; decay is part of the gradient."""
    gradient = gradient + parameter * decay
    buffer = old["first"] * spec.momentum + gradient
    direction = gradient + buffer * spec.momentum if spec.nesterov else buffer
    return parameter - direction * rate, {"first": buffer}
