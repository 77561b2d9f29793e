"""What the trainer tells its observers, and what they may answer.

A callback is any object with some of the methods of :class:`Callback`. It is an
observer: what it raises is logged with its name and training goes on. It may
ask for the end of training by returning a :class:`Stop` after a step, a
measurement or an epoch. One that is of no use without validation has
``needs_evaluation = True`` and may name the metrics that it reads in
``needs_metrics``; the trainer then refuses to begin without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from finetuner.plugins.blame import observe


@dataclass(frozen=True)
class Stop:
    """An observer's wish that training end here, with its reason in words."""

    reason: str


@dataclass(frozen=True)
class EpochRecord:
    """One epoch as it went. Epochs count from 1; epoch 0 is the measurement before training.

    ``loss`` is the mean over the epoch's steps (``None`` for epoch 0), ``seconds``
    what training it took, ``examples`` the rows that were seen.
    """

    epoch: int
    step: int
    loss: float | None
    examples: int
    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class TrainBegin:
    """``step`` updates of ``total_steps`` are done already: above 0 when resumed."""

    epochs: int
    total_steps: int
    examples: int
    epoch: int
    step: int
    directory: Path


@dataclass(frozen=True)
class StepEnd:
    """After update number ``step`` (from 1). ``scalars`` are the backend's."""

    epoch: int
    step: int
    examples: int
    seconds: float
    scalars: Mapping[str, float]


@dataclass(frozen=True)
class Evaluated:
    """After a measurement. ``history`` ends with the record that it made."""

    epoch: int
    step: int
    metrics: Mapping[str, float]
    monitor: str | None
    history: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class EpochEnd:
    """After an epoch and its measurement, if there was one."""

    record: EpochRecord


@dataclass(frozen=True)
class TrainEnd:
    """After the last step; ``error`` says why training broke off, if it did."""

    epoch: int
    step: int
    history: tuple[EpochRecord, ...]
    stopped: str | None
    error: str | None


@runtime_checkable
class Callback(Protocol):
    """All that a callback may have; each method is optional."""

    def on_train_begin(self, event: TrainBegin) -> Stop | None: ...
    def on_step_end(self, event: StepEnd) -> Stop | None: ...
    def on_evaluate(self, event: Evaluated) -> Stop | None: ...
    def on_epoch_end(self, event: EpochEnd) -> Stop | None: ...
    def on_train_end(self, event: TrainEnd) -> Stop | None: ...


METHODS: dict[type, str] = {
    TrainBegin: "on_train_begin",
    StepEnd: "on_step_end",
    Evaluated: "on_evaluate",
    EpochEnd: "on_epoch_end",
    TrainEnd: "on_train_end",
}
"""The method that hears of each kind of event."""

Event = TrainBegin | StepEnd | Evaluated | EpochEnd | TrainEnd


class Observers:
    """Tells every callback, in order, and keeps what they answer."""

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._listeners: dict[type, list[Callable[[Any], Any]]] = {
            kind: [getattr(c, name) for c in callbacks if hasattr(c, name)]
            for kind, name in METHODS.items()
        }

    def tell(self, event: Event) -> Stop | None:
        """The first wish to stop among the answers to ``event``."""
        wish: Stop | None = None
        for listener in self._listeners[type(event)]:
            answer = observe(listener, None, event)
            if isinstance(answer, Stop) and wish is None:
                wish = answer
        return wish
