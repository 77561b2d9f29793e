"""What a training is given, checked and looked at before it begins."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from finetuner.contracts import Backend, BatchSampler, Objective
from finetuner.contracts.backend import State
from finetuner.errors import PluginError, UsageError
from finetuner.training.loader import Rows
from finetuner.training.progress import LogLines, MetricsFile, ProgressBar

logger = logging.getLogger("finetuner.training")

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingSetup:
    """What a training is given: ``state`` to train on the rows of ``train``, in ``directory``.

    ``labels`` are int64, one a row of ``train``. ``evaluate`` measures a state on
    held-out rows: before training, and after every epoch; the epoch with the
    greatest ``monitor`` metric gives the result (the earliest of equals), the last
    epoch where ``monitor`` is ``None``. ``untrained`` is what ``evaluate`` gives
    before training, where that is known: it is then not measured again.

    ``checkpoint_every`` steps and every ``checkpoint_seconds`` a checkpoint is
    written, beside the one after each epoch. With ``resume``, training goes on
    from the newest checkpoint in ``directory`` if there is one, to the same bits
    as if it had never ended; ``digest`` stands for all other configuration, and
    resuming with another is refused. ``progress`` shows a bar where standard
    error is a terminal (``"always"``: anywhere); ``log`` takes a line of text
    every ``log_every`` steps and after each measurement.
    """

    backend: Backend
    state: State
    train: Rows
    labels: np.ndarray
    sampler: BatchSampler
    objective: Objective
    _: KW_ONLY
    epochs: int
    directory: Path
    chunks: int = 4
    seed: int = 0
    evaluate: Callable[[Backend, State], Mapping[str, float]] | None = None
    untrained: Mapping[str, float] | None = None
    monitor: str | None = "map@r"
    callbacks: Sequence[Any] = ()
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = 300.0
    resume: bool = False
    digest: str = ""
    progress: bool | Literal["always"] = True
    log: Callable[[str], None] = logger.info
    log_every: int = 10


def total_steps(sampler: BatchSampler, epochs: int) -> int:
    """The number of updates of a whole training: what a schedule runs over.

    ``UsageError`` for less than one epoch, or where there is no batch.
    """
    if epochs < 1:
        raise UsageError(f"epochs is {epochs}: give at least 1")
    steps = sum(sampler.steps(epoch) for epoch in range(epochs))
    if steps < 1:
        raise UsageError("the sampler yields no batch: give more rows or a smaller batch_size")
    return steps


def check(setup: TrainingSetup) -> int:
    """Everything that can be found wrong before the first step; the number of steps."""
    if setup.chunks < 1:
        raise UsageError(f"chunks is {setup.chunks}: give at least 1")
    for name in ("checkpoint_every", "checkpoint_seconds", "log_every"):
        value = getattr(setup, name)
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}: give a number above 0")
    if len(setup.labels) != len(setup.train):
        raise UsageError(f"there are {len(setup.train)} rows and {len(setup.labels)} labels")
    steps = total_steps(setup.sampler, setup.epochs)
    for rows in setup.sampler.epoch(0):
        if len(rows) == 0 or np.min(rows) < 0 or np.max(rows) >= len(setup.train):
            raise PluginError(
                f"the sampler yields the batch {rows}, of rows that do not exist: "
                f"there are {len(setup.train)}"
            )
    for callback in setup.callbacks:
        unmeasured = setup.evaluate is None
        unmonitored = setup.monitor is None and not getattr(callback, "needs_metrics", ())
        if getattr(callback, "needs_evaluation", False) and (unmeasured or unmonitored):
            raise UsageError(
                f"the callback {type(callback).__name__} needs validation after each epoch: "
                "give val_split, or leave it out"
            )
    return steps


def needed_metrics(callbacks: Sequence[Any]) -> list[str]:
    """Metrics without which a callback could not do what it is for."""
    return [name for callback in callbacks for name in getattr(callback, "needs_metrics", ())]


def identity_of(setup: TrainingSetup, steps: int) -> dict[str, Any]:
    """What must be the same when the training is resumed."""
    labels = np.ascontiguousarray(setup.labels, np.int64)
    return {
        "digest": setup.digest,
        "epochs": setup.epochs,
        "seed": setup.seed,
        "chunks": setup.chunks,
        "steps": steps,
        "rows": len(setup.train),
        "labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        "monitor": None if setup.evaluate is None else setup.monitor,
    }


def watchers(setup: TrainingSetup) -> list[Any]:
    """The observers that every training has: log lines, the file of metrics, the bar."""
    found: list[Any] = [
        LogLines(setup.log, setup.log_every),
        MetricsFile(Path(setup.directory) / METRICS_FILE),
    ]
    always = setup.progress == "always"
    console = Console(stderr=True, force_terminal=True if always else None)
    if setup.progress and (always or console.is_terminal):
        found.append(ProgressBar(console))
    return found
