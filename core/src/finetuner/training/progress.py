"""What a watcher sees: a bar on a terminal, lines in a log, a file of metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from finetuner.training.callbacks import EpochEnd, Evaluated, StepEnd, TrainBegin, TrainEnd


class _Rate(ProgressColumn):
    """Examples per second over rich's window of recent steps."""

    def render(self, task: Task) -> Text:
        speed = (task.speed or 0.0) * float(task.fields["batch"])
        return Text(f"{speed:,.0f} examples/s")


class ProgressBar:
    """A rich bar with epoch, loss, examples per second and time left."""

    def __init__(self, console: Console) -> None:
        self._epochs = 0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]}"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
        )

    def on_train_begin(self, event: TrainBegin) -> None:
        self._epochs = event.epochs
        self._task = self._bar.add_task(
            "",
            total=event.total_steps,
            completed=event.step,
            epoch=f"{event.epoch + 1}/{event.epochs}",
            loss="-",
            batch=0,
        )
        self._bar.start()

    def on_step_end(self, event: StepEnd) -> None:
        self._bar.update(
            self._task,
            completed=event.step,
            epoch=f"{event.epoch}/{self._epochs}",
            loss=f"{event.scalars['loss']:.4f}",
            batch=event.examples,
        )

    def on_train_end(self, event: TrainEnd) -> None:
        self._bar.stop()


class LogLines:
    """A plain line every ``every`` steps, after each measurement and each epoch."""

    def __init__(self, log: Callable[[str], None], every: int) -> None:
        self._log, self._every = log, every
        self._total = self._examples = 0
        self._seconds = 0.0

    def on_train_begin(self, event: TrainBegin) -> None:
        self._total = event.total_steps
        if event.step:
            self._log(f"resumed after step {event.step} of {event.total_steps}")

    def on_step_end(self, event: StepEnd) -> None:
        self._examples += event.examples
        self._seconds += event.seconds
        if event.step % self._every and event.step != self._total:
            return
        rate = self._examples / max(self._seconds, 1e-9)
        left = (self._total - event.step) * event.examples / max(rate, 1e-9)
        self._log(
            f"epoch {event.epoch} step {event.step}/{self._total} "
            f"loss {event.scalars['loss']:.4f} rate {event.scalars['learning_rate']:.3g} "
            f"{rate:,.0f} examples/s {_duration(left)} left"
        )
        self._examples, self._seconds = 0, 0.0

    def on_evaluate(self, event: Evaluated) -> None:
        when = f"after epoch {event.epoch}" if event.epoch else "before training"
        words = ", ".join(f"{name} {value:.4g}" for name, value in event.metrics.items())
        self._log(f"{when}: {words}")

    def on_epoch_end(self, event: EpochEnd) -> None:
        record = event.record
        self._log(
            f"epoch {record.epoch} done: mean loss {record.loss:.4f}, {record.examples} examples, "
            f"{_duration(record.seconds)}"
        )

    def on_train_end(self, event: TrainEnd) -> None:
        if event.stopped:
            self._log(f"stopped after epoch {event.epoch}: {event.stopped}")


class MetricsFile:
    """JSON lines: one a step (``"event": "step"``), one a measurement (``"evaluate"``).

    When training is resumed, lines of steps that will be taken again are removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(self, event: TrainBegin) -> None:
        kept = []
        if self._path.exists() and event.step:
            for line in self._path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > event.step:
                    break
                kept.append(line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(b"".join(kept))

    def on_step_end(self, event: StepEnd) -> None:
        self._write(event="step", epoch=event.epoch, step=event.step, scalars=event.scalars)

    def on_evaluate(self, event: Evaluated) -> None:
        self._write(event="evaluate", epoch=event.epoch, step=event.step, scalars=event.metrics)

    def _write(self, *, event: str, epoch: int, step: int, scalars: Mapping[str, float]) -> None:
        line: dict[str, Any] = {"event": event, "epoch": epoch, "step": step, **scalars}
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
