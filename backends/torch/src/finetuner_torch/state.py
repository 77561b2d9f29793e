"""What a training run of the PyTorch backend holds, and how it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from finetuner.contracts import OptimizerSpec
from finetuner.errors import ModelError
from finetuner_torch.copying import copy_module
from finetuner_torch.devices import resolve_device, resolve_precision
from finetuner_torch.modes import Flags, set_flags, training_flags

OBJECTIVE = "objective."
"""Prefix of the names of the objective's learnable parameters."""


@dataclass
class State:
    """Weights, statistics, optimizer, step count and seed. A step changes it in place.

    ``parameters`` are the objective's; ``trained`` names all that the optimizer
    holds; ``half`` is the dtype to autocast to, or ``None``. Randomness of a step
    follows from ``seed`` and ``step`` alone.
    """

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    trained: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    spec: OptimizerSpec
    flags: Flags
    device: torch.device
    half: torch.dtype | None
    scaler: torch.amp.GradScaler | None
    seed: int
    step: int = 0
    training: bool | None = None

    def enter(self, training: bool) -> None:
        """Put the model into the mode of a training step, or of evaluation."""
        if self.training is not training:
            set_flags([(module, on and training) for module, on in self.flags])
            self.training = training

    @contextmanager
    def own_random(self) -> Iterator[None]:
        """Random numbers of this step; the process's own sequence does not move."""
        generators = [torch.default_generator]
        if self.device.type == "cuda":
            generators.append(torch.cuda.default_generators[self.device.index])
        before = [generator.get_state() for generator in generators]
        for generator in generators:
            generator.manual_seed((self.seed * 1_000_003 + self.step) % 2**63)
        try:
            yield
        finally:
            for generator, saved in zip(generators, before, strict=True):
                generator.set_state(saved)


def init(
    model: nn.Module,
    spec: OptimizerSpec,
    *,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    parameters: Mapping[str, np.ndarray] | None = None,
    dropout: float | None = 0.0,
) -> State:
    """A fresh state around a float32 copy of ``model`` on ``device``.

    ``model`` may name its ``frozen`` layers, and learning-rate factors by layer
    in ``rate_factors``. Raises ``ModelError`` where nothing would train.
    """
    place = resolve_device(device)
    half = resolve_precision(precision, place)
    model = copy_module(model).to(place).float()
    flags = training_flags(model, getattr(model, "frozen", ()), dropout)
    learned = {
        name: nn.Parameter(torch.tensor(np.asarray(value, np.float32), device=place))
        for name, value in (parameters or {}).items()
    }
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    trained |= {f"{OBJECTIVE}{name}": parameter for name, parameter in learned.items()}
    if not trained and not getattr(model, "only_evaluated", False):
        raise ModelError("every layer is frozen: nothing would train. Choose another freeze")
    scaler = torch.amp.GradScaler(place.type) if half == torch.float16 else None
    optimizer = build_optimizer(trained, spec, getattr(model, "rate_factors", {}))
    return State(model, learned, trained, optimizer, spec, flags, place, half, scaler, seed)


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], spec: OptimizerSpec, factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """PyTorch's own optimizer, fused, with ``spec``'s decay by parameter.

    ``factors`` scale the learning rate of the layers that they name.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        key = (spec.decay_of(name, parameter.ndim), factors.get(name.rpartition(".")[0], 1.0))
        groups.setdefault(key, []).append(parameter)
    settings = [
        {
            "params": members,
            "weight_decay": decay,
            "factor": factor,
        }
        for (decay, factor), members in groups.items()
    ]
    settings = settings or [{"params": [], "factor": 1.0}]
    if spec.name == "adamw":
        return torch.optim.AdamW(
            settings, lr=spec.learning_rate, betas=spec.betas, eps=spec.eps, fused=True
        )
    return torch.optim.SGD(
        settings,
        lr=spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.nesterov,
        fused=True,
    )
