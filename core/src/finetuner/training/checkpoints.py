"""Checkpoints on disk: written whole or not at all, so that a kill at any moment loses little.

``DIRECTORY/last-00000120-0002/`` holds what the backend saved after 120 updates,
in epoch 2 from 0, and ``progress.json``; ``best-0003/`` the state after the best
epoch. A checkpoint is written beside, flushed to the disk, then renamed into
place; what it replaces is removed afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetuner.contracts import Backend
from finetuner.contracts.backend import State
from finetuner.errors import TrainingError, UsageError
from finetuner.training.callbacks import EpochRecord

PROGRESS = "progress.json"
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Progress:
    """How far training has come: everything outside the backend's state.

    ``epoch`` (from 0) is being trained, with ``done`` of its steps taken and
    ``loss_sum`` the sum of their losses; ``step`` counts all updates. ``best``
    names the best epoch's checkpoint. ``identity`` holds what must be the same
    when training is resumed.
    """

    identity: dict[str, Any]
    epoch: int = 0
    done: int = 0
    step: int = 0
    loss_sum: float = 0.0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    examples: int = 0
    best: str | None = None
    best_metric: float | None = None
    best_epoch: int | None = None
    stopped: str | None = None
    history: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training under ``directory``."""

    directory: Path

    def latest(self) -> Path | None:
        """The newest whole checkpoint, ``None`` where there is none."""
        found = [path.parent for path in self.directory.glob(f"last-*/{PROGRESS}")]
        return max((path for path in found if path.suffix != _PARTIAL), default=None)

    def save(self, backend: Backend, state: State, progress: Progress) -> Path:
        """Write the newest checkpoint; those that it makes superfluous are removed.

        One of the same step and epoch holds the same state, and is kept as it is.
        ``TrainingError`` where it cannot be written; the ones before it are then kept.
        """
        target = self.directory / f"last-{progress.step:08d}-{progress.epoch:04d}"
        if not target.exists():
            self._write(target, backend, state, _encode(progress))
            self._keep(target.name, progress.best)
        return target

    def save_best(self, backend: Backend, state: State, epoch: int) -> str:
        """Write the state after ``epoch``; the name by which progress refers to it."""
        name = f"best-{epoch:04d}"
        # Left by a training that was killed before its progress named it.
        shutil.rmtree(self.directory / name, ignore_errors=True)
        self._write(self.directory / name, backend, state, None)
        return name

    def load(
        self, backend: Backend, state: State, identity: dict[str, Any]
    ) -> tuple[State, Progress] | None:
        """The newest checkpoint's state and progress, given a fresh state.

        ``UsageError`` where it was made by a training with another ``identity``,
        ``TrainingError`` where it cannot be read.
        """
        latest = self.latest()
        if latest is None:
            return None
        try:
            progress = msgspec.convert(json.loads((latest / PROGRESS).read_bytes()), Progress)
        except (ValueError, msgspec.ValidationError) as error:
            raise TrainingError(f"{latest / PROGRESS} is damaged: {error}") from error
        _same(latest, progress.identity, identity)
        return backend.restore(state, latest), progress

    def load_best(self, backend: Backend, state: State, name: str) -> State:
        """The state that ``save_best`` wrote under ``name``."""
        return backend.restore(state, self.directory / name)

    def _write(self, target: Path, backend: Backend, state: State, progress: bytes | None) -> None:
        try:
            _write(target, backend, state, progress)
        except OSError as error:
            shutil.rmtree(_partial(target), ignore_errors=True)
            kept = self.latest()
            raise TrainingError(
                f"the checkpoint {target} cannot be written: {error}. "
                + (f"{kept} is kept: mend the cause" if kept else "Mend the cause")
                + " (a full disk?), then resume"
            ) from error

    def _keep(self, *names: str | None) -> None:
        for path in self.directory.iterdir():
            if path.name.startswith(("last-", "best-")) and path.name not in names:
                shutil.rmtree(path, ignore_errors=True)


def _encode(progress: Progress) -> bytes:
    """JSON in which a metric may be NaN, as Python's own encoder and decoder allow."""
    return json.dumps(msgspec.to_builtins(progress), indent=1).encode()


def _write(target: Path, backend: Backend, state: State, progress: bytes | None) -> None:
    partial = _partial(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    backend.save(state, partial)
    if progress is not None:
        (partial / PROGRESS).write_bytes(progress)
    for path in (*partial.rglob("*"), partial):
        _flush(path)
    partial.rename(target)
    _flush(target.parent)


def _partial(target: Path) -> Path:
    return target.with_name(target.name + _PARTIAL)


def _flush(path: Path) -> None:
    """Ask the system to put ``path`` on the disk (Windows cannot be asked for directories)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same(latest: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    differing = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
    if differing:
        name = differing[0]
        raise UsageError(
            f"{latest} was made with another configuration ({', '.join(differing)}: {name} was "
            f"{before.get(name)!r} and is {now.get(name)!r}): resume with the same, or train in "
            "another directory"
        )
