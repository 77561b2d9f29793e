"""One training under way, for every framework."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from finetuner.contracts import Batch
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
from finetuner.training.loader import batches
from finetuner.training.setup import TrainingSetup, check, identity_of, needed_metrics, watchers


@dataclass(frozen=True)
class TrainingResult:
    """What training gave: the best epoch's state where validation chose one, else the last.

    ``history`` begins with epoch 0, the measurement before training, where there
    was one. ``stopped_early`` says why training ended before its last epoch.
    ``measured`` is what ``evaluate`` returned for ``state``, ``None`` where that was
    in an earlier process or never. ``seconds`` is the time spent in steps, over all
    resumptions.
    """

    state: State
    history: tuple[EpochRecord, ...]
    measured: Mapping[str, float] | None
    best_metric: float | None
    best_epoch: int | None
    stopped_early: str | None
    examples_seen: int
    seconds: float


class Session:
    """One training under way: the only place where its state changes."""

    def __init__(self, setup: TrainingSetup) -> None:
        self.setup = setup
        self.total = check(setup)
        self.checkpoints = Checkpoints(Path(setup.directory))
        self.state, self.now = self._begin()
        self.latest = self.checkpoints.latest()
        self.saved_at = time.monotonic()
        self.observers = Observers([*watchers(setup), *setup.callbacks])
        self.stop: Stop | None = None
        self.measured: Mapping[str, float] | None = None
        self.measured_best: Mapping[str, float] | None = None

    def run(self) -> TrainingResult:
        error: BaseException | None = None
        setup, now = self.setup, self.now
        begin = TrainBegin(
            setup.epochs,
            self.total,
            len(setup.train),
            now.epoch,
            now.step,
            Path(setup.directory),
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
        setup = self.setup
        identity = identity_of(setup, self.total)
        if setup.resume:
            found = self.checkpoints.load(setup.backend, setup.state, identity)
            if found is not None:
                return found
        elif (latest := self.checkpoints.latest()) is not None:
            raise UsageError(
                f"{latest} is another training's checkpoint: give resume=True to go on with it, "
                "or another directory"
            )
        return setup.state, Progress(identity)

    def _epochs(self) -> None:
        if self.setup.evaluate is not None and not self.now.step and not self.now.history:
            self._measure(EpochRecord(0, 0, None, 0, 0.0, {}))
        if self.latest is None:
            self._save()
        while self.now.epoch < self.setup.epochs and self.now.stopped is None:
            self._epoch()

    def _epoch(self) -> None:
        setup, epoch = self.setup, self.now.epoch
        rows = setup.sampler.epoch(epoch)
        if len(rows) != setup.sampler.steps(epoch):
            raise PluginError(
                f"the sampler announced {setup.sampler.steps(epoch)} batches for epoch {epoch} "
                f"and yields {len(rows)}"
            )
        loader = batches(
            setup.train,
            setup.labels,
            rows,
            chunks=setup.chunks,
            seed=setup.seed,
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
        setup, now = self.setup, self.now
        with uninterrupted():
            self.state, scalars = setup.backend.step(self.state, batch, setup.objective)
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
        last = now.epoch + 1 == self.setup.epochs
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
        setup, now = self.setup, self.now
        if setup.evaluate is None:
            self.now = replace(now, history=(*now.history, record))
            return record
        try:
            if not record.epoch and setup.untrained is not None:
                found = setup.untrained
            else:
                found = setup.evaluate(setup.backend, self.state)
        except ModelError as error:
            if not record.epoch:
                raise
            raise TrainingError(
                f"training broke the model by the end of epoch {record.epoch}, step {record.step} "
                f"of {self.total}: {error}. {self._remedy()}"
            ) from error
        self.measured = found
        metrics = {name: float(value) for name, value in found.items()}
        for name in (setup.monitor, *needed_metrics(setup.callbacks)):
            if name is not None and name not in metrics:
                raise UnknownNameError("metric", name, metrics)
        record = replace(record, metrics=metrics)
        now = replace(now, history=(*now.history, record))
        value = math.nan if setup.monitor is None else metrics[setup.monitor]
        better = now.best_metric is None or value > now.best_metric
        if record.epoch and math.isfinite(value) and better:
            best = self.checkpoints.save_best(setup.backend, self.state, record.epoch)
            self.measured_best = found
            now = replace(now, best=best, best_metric=value, best_epoch=record.epoch)
        self.now = now
        told = Evaluated(record.epoch, record.step, metrics, setup.monitor, now.history)
        wish = self.observers.tell(told)
        if record.epoch:
            self.stop = self.stop or wish
        return record

    def _save_if_due(self, event: StepEnd) -> None:
        setup = self.setup
        every, seconds = setup.checkpoint_every, setup.checkpoint_seconds
        due = every is not None and event.step % every == 0
        due = due or (seconds is not None and time.monotonic() - self.saved_at >= seconds)
        if due:
            self._save()

    def _save(self) -> None:
        self.latest = self.checkpoints.save(self.setup.backend, self.state, self.now)
        self.saved_at = time.monotonic()

    def _result(self) -> TrainingResult:
        now, state, measured = self.now, self.state, self.measured
        if now.best is not None and now.best_epoch != now.epoch:
            state = self.checkpoints.load_best(self.setup.backend, state, now.best)
            measured = self.measured_best
        start = now.history[0] if now.history else None
        monitor = self.setup.monitor
        if start is not None and not start.epoch and monitor and now.best_metric is not None:
            untrained = start.metrics[monitor]
            if untrained > now.best_metric:
                self.setup.log(
                    f"warning: no epoch reached the {monitor} that the model had "
                    f"before training ({now.best_metric:.4g} against {untrained:.4g}): try a lower "
                    "learning rate, more data or freezing more layers"
                )
        return TrainingResult(
            state=state,
            history=now.history,
            measured=measured,
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
