"""The one training loop, for every framework."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from finetuner.contracts import Backend, Batch, BatchSampler, Objective
from finetuner.contracts.backend import State
from finetuner.errors import ModelError, PluginError, TrainingError, UnknownNameError, UsageError
from finetuner.training.callbacks import (
    EpochEnd,
    EpochRecord,
    Evaluated,
    Observers,
    StepEnd,
    Stop,
    TrainBegin,
    TrainEnd,
)
from finetuner.training.checkpoints import Checkpoints, Progress
from finetuner.training.interrupts import uninterrupted
from finetuner.training.loader import Rows, batches
from finetuner.training.progress import LogLines, MetricsFile, ProgressBar

logger = logging.getLogger("finetuner.training")

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingResult:
    """What training gave: the best epoch's state where validation chose one, else the last.

    ``history`` begins with epoch 0, the measurement before training, where there
    was one. ``stopped_early`` says why training ended before its last epoch.
    ``seconds`` is the time spent in steps, over all resumptions.
    """

    state: State
    history: tuple[EpochRecord, ...]
    best_metric: float | None
    best_epoch: int | None
    stopped_early: str | None
    examples_seen: int
    seconds: float


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


@dataclass(frozen=True)
class Trainer:
    """Trains ``state`` on the rows of ``train`` and keeps checkpoints in ``directory``.

    ``labels`` are int64, one a row of ``train``. ``evaluate`` measures a state on
    held-out rows: before training, and after every epoch; the epoch with the
    greatest ``monitor`` metric gives the result (the earliest of equals), the last
    epoch where ``monitor`` is ``None``.

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
    monitor: str | None = "map@r"
    callbacks: Sequence[Any] = ()
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = 300.0
    resume: bool = False
    digest: str = ""
    progress: bool | Literal["always"] = True
    log: Callable[[str], None] = logger.info
    log_every: int = 10

    def fit(self) -> TrainingResult:
        """Train to the end.

        Raises ``UsageError`` for what cannot begin, and ``TrainingError`` naming
        epoch and step where the loss is no longer finite. An interrupt from the
        keyboard writes a checkpoint and is raised again.
        """
        return _Session(self).run()


class _Session:
    """One training under way: the only place where its state changes."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.total = _check(trainer)
        self.checkpoints = Checkpoints(Path(trainer.directory))
        self.state, self.now = self._begin()
        self.latest = self.checkpoints.latest()
        self.saved_at = time.monotonic()
        self.observers = Observers([*_watchers(trainer), *trainer.callbacks])
        self.stop: Stop | None = None

    def run(self) -> TrainingResult:
        error: BaseException | None = None
        trainer, now = self.trainer, self.now
        begin = TrainBegin(
            trainer.epochs,
            self.total,
            len(trainer.train),
            now.epoch,
            now.step,
            Path(trainer.directory),
        )
        self.observers.tell(begin)
        try:
            self._epochs()
            return self._result()
        except KeyboardInterrupt as interrupt:
            error = interrupt
            self._save()
            raise
        except BaseException as caught:
            error = caught
            raise
        finally:
            now = self.now
            words = None if error is None else f"{type(error).__name__}: {error}"
            self.observers.tell(TrainEnd(now.epoch, now.step, now.history, now.stopped, words))

    def _begin(self) -> tuple[State, Progress]:
        trainer = self.trainer
        identity = _identity(trainer, self.total)
        if trainer.resume:
            found = self.checkpoints.load(trainer.backend, trainer.state, identity)
            if found is not None:
                return found
        elif (latest := self.checkpoints.latest()) is not None:
            raise UsageError(
                f"{latest} is another training's checkpoint: give resume=True to go on with it, "
                "or another directory"
            )
        return trainer.state, Progress(identity)

    def _epochs(self) -> None:
        if self.trainer.evaluate is not None and not self.now.step and not self.now.history:
            self._measure(EpochRecord(0, 0, None, 0, 0.0, {}))
        if self.latest is None:
            self._save()
        while self.now.epoch < self.trainer.epochs and self.now.stopped is None:
            self._epoch()

    def _epoch(self) -> None:
        trainer, epoch = self.trainer, self.now.epoch
        rows = trainer.sampler.epoch(epoch)
        if len(rows) != trainer.sampler.steps(epoch):
            raise PluginError(
                f"the sampler announced {trainer.sampler.steps(epoch)} batches for epoch {epoch} "
                f"and yields {len(rows)}"
            )
        loader = batches(
            trainer.train,
            trainer.labels,
            rows,
            chunks=trainer.chunks,
            seed=trainer.seed,
            epoch=epoch,
            start=self.now.done,
        )
        with closing(loader):
            before = time.perf_counter()
            for batch in loader:
                event = self._step(batch, before)
                before = time.perf_counter()
                self.stop = self.stop or self.observers.tell(event)
                if self.stop is not None:
                    break
                self._save_if_due(event)
        self._end_epoch(sum(map(len, rows[: self.now.done])))

    def _step(self, batch: Batch, before: float) -> StepEnd:
        trainer, now = self.trainer, self.now
        with uninterrupted():
            self.state, scalars = trainer.backend.step(self.state, batch, trainer.objective)
            loss = scalars["loss"]
            if not math.isfinite(loss):
                raise self._broken(loss, scalars)
            seconds = time.perf_counter() - before
            self.now = replace(
                now,
                done=now.done + 1,
                step=now.step + 1,
                loss_sum=now.loss_sum + loss,
                epoch_seconds=now.epoch_seconds + seconds,
                seconds=now.seconds + seconds,
                examples=now.examples + len(batch),
            )
        return StepEnd(now.epoch + 1, now.step + 1, len(batch), seconds, scalars)

    def _end_epoch(self, examples: int) -> None:
        now = self.now
        record = EpochRecord(
            epoch=now.epoch + 1,
            step=now.step,
            loss=now.loss_sum / max(1, now.done),
            examples=examples,
            seconds=now.epoch_seconds,
            metrics={},
        )
        record = self._measure(record)
        self.stop = self.stop or self.observers.tell(EpochEnd(record))
        last = now.epoch + 1 == self.trainer.epochs
        with uninterrupted():
            self.now = replace(
                self.now,
                epoch=now.epoch + 1,
                done=0,
                loss_sum=0.0,
                epoch_seconds=0.0,
                stopped=self.stop.reason if self.stop is not None and not last else None,
            )
        self._save()

    def _measure(self, record: EpochRecord) -> EpochRecord:
        """Complete ``record`` with metrics, note the best epoch, tell the observers."""
        trainer, now = self.trainer, self.now
        if trainer.evaluate is None:
            self.now = replace(now, history=(*now.history, record))
            return record
        try:
            found = trainer.evaluate(trainer.backend, self.state)
        except ModelError as error:
            if not record.epoch:
                raise
            raise TrainingError(
                f"training broke the model by the end of epoch {record.epoch}, step {record.step} "
                f"of {self.total}: {error}. {self._remedy()}"
            ) from error
        metrics = {name: float(value) for name, value in found.items()}
        for name in (trainer.monitor, *_needed(trainer.callbacks)):
            if name is not None and name not in metrics:
                raise UnknownNameError("metric", name, metrics)
        record = replace(record, metrics=metrics)
        now = replace(now, history=(*now.history, record))
        value = math.nan if trainer.monitor is None else metrics[trainer.monitor]
        better = now.best_metric is None or value > now.best_metric
        if record.epoch and math.isfinite(value) and better:
            best = self.checkpoints.save_best(trainer.backend, self.state, record.epoch)
            now = replace(now, best=best, best_metric=value, best_epoch=record.epoch)
        self.now = now
        told = Evaluated(record.epoch, record.step, metrics, trainer.monitor, now.history)
        wish = self.observers.tell(told)
        if record.epoch:
            self.stop = self.stop or wish
        return record

    def _save_if_due(self, event: StepEnd) -> None:
        trainer = self.trainer
        every, seconds = trainer.checkpoint_every, trainer.checkpoint_seconds
        due = every is not None and event.step % every == 0
        due = due or (seconds is not None and time.monotonic() - self.saved_at >= seconds)
        if due:
            self._save()

    def _save(self) -> None:
        self.latest = self.checkpoints.save(self.trainer.backend, self.state, self.now)
        self.saved_at = time.monotonic()

    def _result(self) -> TrainingResult:
        now, state = self.now, self.state
        if now.best is not None and now.best_epoch != now.epoch:
            state = self.checkpoints.load_best(self.trainer.backend, state, now.best)
        start = now.history[0] if now.history else None
        monitor = self.trainer.monitor
        if start is not None and not start.epoch and monitor and now.best_metric is not None:
            untrained = start.metrics[monitor]
            if untrained > now.best_metric:
                self.trainer.log(
                    f"warning: no epoch reached the {monitor} that the model had "
                    f"before training ({now.best_metric:.4g} against {untrained:.4g}): try a lower "
                    "learning rate, more data or freezing more layers"
                )
        return TrainingResult(
            state=state,
            history=now.history,
            best_metric=now.best_metric,
            best_epoch=now.best_epoch,
            stopped_early=now.stopped,
            examples_seen=now.examples,
            seconds=now.seconds,
        )

    def _broken(self, loss: float, scalars: Mapping[str, float]) -> TrainingError:
        now = self.now
        return TrainingError(
            f"the loss of epoch {now.epoch + 1}, step {now.step + 1} of {self.total} is {loss} at "
            f"learning rate {scalars['learning_rate']:.3g}. {self._remedy()}"
        )

    def _remedy(self) -> str:
        return (
            "Try a lower learning rate, a smaller clip_norm or precision='float32'. "
            f"The last good checkpoint is {self.latest}"
        )


def _check(trainer: Trainer) -> int:
    """Everything that can be found wrong before the first step; the number of steps."""
    if trainer.chunks < 1:
        raise UsageError(f"chunks is {trainer.chunks}: give at least 1")
    for name in ("checkpoint_every", "checkpoint_seconds", "log_every"):
        value = getattr(trainer, name)
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}: give a number above 0")
    if len(trainer.labels) != len(trainer.train):
        raise UsageError(f"there are {len(trainer.train)} rows and {len(trainer.labels)} labels")
    steps = total_steps(trainer.sampler, trainer.epochs)
    for rows in trainer.sampler.epoch(0):
        if len(rows) == 0 or np.min(rows) < 0 or np.max(rows) >= len(trainer.train):
            raise PluginError(
                f"the sampler yields the batch {rows}, of rows that do not exist: "
                f"there are {len(trainer.train)}"
            )
    for callback in trainer.callbacks:
        unmeasured = trainer.evaluate is None
        unmonitored = trainer.monitor is None and not getattr(callback, "needs_metrics", ())
        if getattr(callback, "needs_evaluation", False) and (unmeasured or unmonitored):
            raise UsageError(
                f"the callback {type(callback).__name__} needs validation after each epoch: "
                "give val_split, or leave it out"
            )
    return steps


def _needed(callbacks: Sequence[Any]) -> list[str]:
    """Metrics without which a callback could not do what it is for."""
    return [name for callback in callbacks for name in getattr(callback, "needs_metrics", ())]


def _identity(trainer: Trainer, steps: int) -> dict[str, Any]:
    labels = np.ascontiguousarray(trainer.labels, np.int64)
    return {
        "digest": trainer.digest,
        "epochs": trainer.epochs,
        "seed": trainer.seed,
        "chunks": trainer.chunks,
        "steps": steps,
        "rows": len(trainer.train),
        "labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        "monitor": None if trainer.evaluate is None else trainer.monitor,
    }


def _watchers(trainer: Trainer) -> list[Any]:
    watchers: list[Any] = [
        LogLines(trainer.log, trainer.log_every),
        MetricsFile(Path(trainer.directory) / METRICS_FILE),
    ]
    always = trainer.progress == "always"
    console = Console(stderr=True, force_terminal=True if always else None)
    if trainer.progress and (always or console.is_terminal):
        watchers.append(ProgressBar(console))
    return watchers
