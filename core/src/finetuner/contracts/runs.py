"""What a run needs and how it stands, as JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from finetuner.contracts.plan import PlanOptions

IN_PROCESS = "in-process"
"""What a spec says in place of a reference where only a live object was given."""


class RunState(StrEnum):
    """The states of a run. The last three are final."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether a run in this state is over."""
        return self in (RunState.FINISHED, RunState.FAILED, RunState.CANCELLED)

    def may_become(self, state: RunState) -> bool:
        """Whether a run may go from this state to ``state``."""
        return state in _NEXT.get(self, frozenset())


_NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.CREATED: frozenset({RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED}),
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {RunState.QUEUED, RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}
    ),
}


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's outcome.

    ``model``, ``train_data`` and ``eval_data`` are references, or ``IN_PROCESS``
    where only a live object was given. ``None`` for a learning
    choice means the default, which is resolved before training and recorded.
    """

    name: str
    model: str
    train_data: str
    eval_data: str | None = None
    val_split: float = 0.0
    description: str = ""
    experiment_name: str = "default"
    model_options: dict[str, Any] = field(default_factory=dict)
    backend: str | None = None
    loss: str = ""
    loss_options: dict[str, Any] = field(default_factory=dict)
    miner: str | None = None
    miner_options: dict[str, Any] = field(default_factory=dict)
    distance: str | None = None
    sampler: str = "class-balanced"
    num_items_per_class: int = 4
    plan: PlanOptions = field(default_factory=PlanOptions)
    optimizer: str = "adamw"
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None
    scheduler: str = "linear"
    scheduler_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 1
    batch_size: int | None = None
    precision: str = "auto"
    device: str = "auto"
    num_workers: int = 0
    callbacks: tuple[str, ...] = ()
    seed: int = 0
    to_onnx: bool = True
    store: str | None = None
    executor: str = "local"
    csv_options: dict[str, Any] = field(default_factory=dict)
    skip_unreadable: bool = False


class Executor(Protocol):
    """Where a run is carried out.

    ``submit`` starts the run that lives in ``directory``; ``live`` holds objects
    that only an executor in this process may use (others refuse them). It
    returns when the run is accepted, or done where execution is synchronous.
    """

    name: str

    def submit(self, spec: RunSpec, directory: Path, live: dict[str, Any]) -> None: ...

    def cancel(self, directory: Path) -> None: ...
