"""What a training run of the Keras backend holds, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from finetuner.contracts import OptimizerSpec
from finetuner.errors import ModelError
from finetuner_keras import engines
from finetuner_keras.apply import EmbeddingModel
from finetuner_keras.copying import copy_model
from finetuner_keras.engines import Tensor
from finetuner_keras.modes import set_dropout, training_modes
from finetuner_keras.optimizer import Moments, fresh_moments
from finetuner_keras.precisions import resolve_device, resolve_precision, set_mixed

OBJECTIVE = "objective."
"""Prefix of the names of the objective's learnable parameters."""


@dataclass
class State:
    """Weights, statistics, moments, step count and seed.

    ``trained`` are the tensors that the optimizer changes, the objective's among
    them; ``rest`` frozen weights and statistics. ``learner`` is ``model`` as it runs
    in a training step, in half precision or with another dropout, and ``model``
    itself where nothing differs; ``modes`` say by layer whether it runs as in
    training. Randomness of a step follows from ``seed`` and ``step``
    alone. ``compiled`` keeps the functions made for this state's model, by name.
    """

    model: EmbeddingModel
    learner: EmbeddingModel
    spec: OptimizerSpec
    trained: dict[str, Tensor]
    rest: dict[str, Tensor]
    moments: Moments
    modes: Mapping[str, bool]
    device: str
    seed: int
    step: int = 0
    compiled: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """All tensors of the embedding model by name, without the objective's parameters."""
        own = {n: t for n, t in self.trained.items() if not n.startswith(OBJECTIVE)}
        return {**self.rest, **own}


def init(
    model: EmbeddingModel,
    spec: OptimizerSpec,
    *,
    seed: int,
    device: str = "auto",
    precision: str = "auto",
    parameters: Mapping[str, np.ndarray] | None = None,
    dropout: float | None = 0.0,
) -> State:
    """A fresh state of ``model`` on ``device``; nothing of it is shared with another state.

    Raises ``ModelError`` where nothing would train.
    """
    place = resolve_device(device)
    chosen = resolve_precision(precision, place)
    learner = model
    if chosen != "float32" or dropout:
        learner = replace(model, backbone=copy_model(model.backbone))
    if chosen != "float32":
        set_mixed(learner.backbone, chosen)
    modes = training_modes(learner.layers, model.frozen, dropout)
    if dropout:
        set_dropout(learner.layers, modes, dropout)
    initial = model.initial()
    learned = {f"{OBJECTIVE}{n}": np.asarray(v, np.float32) for n, v in (parameters or {}).items()}
    if not model.trainable and not learned and model.part != "prefix":
        raise ModelError("every layer is frozen: nothing would train. Choose another freeze")
    engine = engines.current()
    with engine.on_device(place):
        trained = {n: engine.to_tensor(initial[n]) for n in initial if n in model.trainable}
        trained |= {name: engine.to_tensor(value) for name, value in learned.items()}
        rest = {n: engine.to_tensor(initial[n]) for n in initial if n not in model.trainable}
        moments = fresh_moments(spec, trained)
    return State(model, learner, spec, trained, rest, moments, modes, place, seed)
