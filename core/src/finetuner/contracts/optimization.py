"""One definition of optimizers and schedules for every backend (PyTorch's)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """Learning-rate factor over steps: linear warm-up, then constant, linear or cosine decay."""

    name: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = 0
    total_steps: int = 1
    floor: float = 0.0

    def factor(self, step: int) -> float:
        """The factor for the ``step``-th update, counted from 0.

        Warm-up gives 1/w, 2/w, …, 1; the decay then starts at 1 and would reach
        ``floor`` at step ``total_steps``.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.name == "constant":
            return 1.0
        span = max(1, self.total_steps - self.warmup_steps)
        done = min(1.0, (step - self.warmup_steps) / span)
        shape = 1.0 - done if self.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return self.floor + (1.0 - self.floor) * shape


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW (Loshchilov & Hutter 2019) or SGD with momentum, as PyTorch defines them.

    Weight decay is decoupled in AdamW and part of the gradient in SGD; it skips
    some parameters (see :meth:`decay_of`). Gradients are clipped to a global norm of
    ``clip_norm`` before the update (``None``: not).
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    nesterov: bool = False
    clip_norm: float | None = 1.0
    schedule: Schedule = field(default_factory=Schedule)

    def decay_of(self, name: str, rank: int) -> float:
        """The decay of the parameter ``name``: none for vectors and scalars, or for a ``bias``.

        Frameworks spread some biases over several axes, such as attention's in Keras.
        """
        return self.weight_decay if rank >= 2 and name.rpartition(".")[2] != "bias" else 0.0
