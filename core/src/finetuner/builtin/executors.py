"""Where runs are carried out: in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetuner.contracts import Executor, ExecutorRecord, RunSpec
from finetuner.errors import RunError


class LocalExecutor:
    """Runs in the calling process, and returns when the run is over."""

    name = "local"

    def submit(self, spec: RunSpec, directory: Path, live: dict[str, Any]) -> None:
        """Carry out the run; raises what the run raises."""
        from finetuner.plugins.host import default_host
        from finetuner.runs.directory import RunDirectory
        from finetuner.runs.pipeline import execute

        home = directory.parent.parent
        execute(RunDirectory(directory), live, default_host(), home)

    def cancel(self, directory: Path) -> None:
        """A local run holds the process that could cancel it."""
        raise RunError("a local run is cancelled by interrupting its process (Ctrl-C)")


def _local() -> Executor:
    return LocalExecutor()


EXECUTORS = (ExecutorRecord("local", _local),)
