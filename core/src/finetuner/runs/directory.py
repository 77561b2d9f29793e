"""Where a run lives on disk: its spec, state, log and results.

``HOME/runs/NAME/`` holds ``spec.json``, ``status.json``, ``lock``, ``log.txt``,
``inputs.json`` (digests of what it was given), ``result.json``, ``examples.json``
and ``checkpoints/``. Every file is replaced whole, so that a reader never sees
half of one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from finetuner.contracts.runs import RunSpec, RunState
from finetuner.errors import RunError, UnknownNameError, UsageError
from finetuner.runs import lock

T = TypeVar("T")

_LOCK = "lock"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def home_directory(home: str | os.PathLike[str] | None = None) -> Path:
    """The directory for runs, artifacts and the local store.

    ``home`` if given, else ``$FINETUNER_HOME``, else ``~/.finetuner``.
    """
    chosen = home or os.environ.get("FINETUNER_HOME") or Path.home() / ".finetuner"
    return Path(chosen).expanduser().absolute()


@dataclass(frozen=True)
class Status:
    """How a run stands; times are POSIX seconds. ``error`` says why it failed."""

    state: RunState
    created: float
    updated: float
    error: str | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Result:
    """What a finished run gives."""

    metrics: dict[str, dict[str, float]]
    artifact_id: str | None
    examples_seen: int
    seconds: float
    history: tuple[dict[str, Any], ...] = field(default=())


class RunDirectory:
    """Typed access to one run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, home: Path, spec: RunSpec) -> RunDirectory:
        """A new directory for ``spec``. ``UsageError`` where the name is bad or taken."""
        if not _NAME.fullmatch(spec.name):
            raise UsageError(
                f"run name {spec.name!r}: use letters, digits, '.', '_' and '-', "
                "at most 128, starting with a letter or digit"
            )
        path = home / "runs" / spec.name
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(
                f"a run named {spec.name!r} exists at {path}: choose another run_name, continue "
                f"it with finetuner.resume_run({spec.name!r}), or remove it with "
                f"finetuner.delete_run({spec.name!r})"
            ) from None
        directory = cls(path)
        now = time.time()
        directory._write("spec.json", spec)
        directory._write("status.json", Status(RunState.CREATED, now, now))
        return directory

    @classmethod
    def open(cls, home: Path, name: str) -> RunDirectory:
        """The directory of the run ``name``; ``UnknownNameError`` with near names."""
        path = home / "runs" / name
        if not _NAME.fullmatch(name) or not (path / "spec.json").is_file():
            raise UnknownNameError("run", name, list_names(home), f" (looked in {home / 'runs'})")
        return cls(path)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps its checkpoints."""
        return self.path / "checkpoints"

    @property
    def log_path(self) -> Path:
        """The run's log, one line an event."""
        return self.path / "log.txt"

    def spec(self) -> RunSpec:
        """What the run was asked to do."""
        return self._read("spec.json", RunSpec)

    def status(self) -> Status:
        """How the run stands; a run whose process died counts as failed."""
        status = self._read("status.json", Status)
        if status.state is RunState.RUNNING and not self._alive(status):
            return _died(status)
        return status

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who carries out the run; ``RunError`` where somebody else does.

        A run that is running and not held counts as failed.
        """
        refusal = f"run {self.name!r} is being carried out by another process: wait for it"
        with lock.hold(self.path / _LOCK, refusal):
            yield

    def move(self, state: RunState, error: str | None = None) -> None:
        """Go to ``state``; ``RunError`` where the present state does not allow it."""
        now = self._read("status.json", Status)
        if not now.state.may_become(state):
            raise RunError(
                f"run {self.name!r} is {now.state.value}: it cannot become {state.value}"
            )
        pid = os.getpid() if state is RunState.RUNNING else None
        self._write("status.json", Status(state, now.created, time.time(), error, pid))

    def reopen(self) -> None:
        """Make a failed, cancelled or broken-off run one that may run again."""
        status = self.status()
        if status.state in (RunState.FINISHED, RunState.RUNNING):
            raise RunError(f"run {self.name!r} is {status.state.value}: there is nothing to resume")
        with self.held():
            self._write("status.json", Status(RunState.CREATED, status.created, time.time()))

    def result(self) -> Result:
        """What the run gave; ``RunError`` where it has not finished."""
        if not (self.path / "result.json").is_file():
            status = self.status()
            cause = f": {status.error}" if status.error else ""
            raise RunError(f"run {self.name!r} is {status.state.value}{cause}; it has no result")
        return self._read("result.json", Result)

    def write(self, name: str, value: object) -> None:
        """Replace the JSON file ``name`` of this run."""
        self._write(name, value)

    def read(self, name: str, kind: type[T]) -> T | None:
        """The JSON file ``name`` as ``kind``, ``None`` where there is none."""
        return self._read(name, kind) if (self.path / name).is_file() else None

    def log(self, line: str) -> None:
        """Append one line to the log, with the time in UTC."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {line}\n")

    def delete(self) -> None:
        """Remove the run's files; its artifacts stay in their store."""
        if self.status().state is RunState.RUNNING:
            raise RunError(f"run {self.name!r} is running: cancel it before deleting it")
        with self.held():
            shutil.rmtree(self.path)

    def _alive(self, status: Status) -> bool:
        held = lock.is_held(self.path / _LOCK)
        return held if held is not None else status.pid is not None and _alive(status.pid)

    def _write(self, name: str, value: object) -> None:
        target = self.path / name
        partial = target.with_name(f".{name}.{os.getpid()}")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
        partial.replace(target)

    def _read(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except msgspec.DecodeError as error:
            raise RunError(f"{self.path / name} is damaged: {error}") from error


def list_names(home: Path) -> tuple[str, ...]:
    """Names of the runs under ``home``, sorted."""
    runs = home / "runs"
    if home.exists() and not home.is_dir():
        raise UsageError(f"{home} is a file: runs live under a directory")
    if not runs.is_dir():
        return ()
    return tuple(sorted(path.parent.name for path in runs.glob("*/spec.json")))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _died(status: Status) -> Status:
    error = f"its process {status.pid} ended without a word; resume it from its last checkpoint"
    return Status(RunState.FAILED, status.created, status.updated, error)
