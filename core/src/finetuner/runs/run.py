"""A handle on a run: its state, log, metrics, examples and artifact."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from finetuner.contracts.runs import RunSpec, RunState
from finetuner.errors import RunError
from finetuner.runs.directory import Result, RunDirectory, home_directory, list_names

if TYPE_CHECKING:
    from finetuner.evaluation import ExampleResult

POLL_SECONDS = 0.2


class Run:
    """One fine-tuning run. It reads the run's files, so any process may hold one."""

    def __init__(self, directory: RunDirectory, home: Path) -> None:
        self._directory = directory
        self._home = home

    @property
    def name(self) -> str:
        """The run's name."""
        return self._directory.name

    @property
    def config(self) -> RunSpec:
        """What the run does, with every default resolved once it has begun."""
        return self._directory.read("resolved.json", RunSpec) or self._directory.spec()

    @property
    def directory(self) -> Path:
        """Where the run's files are."""
        return self._directory.path

    def status(self) -> RunState:
        """created, queued, running, finished, failed or cancelled."""
        return self._directory.status().state

    def error(self) -> str | None:
        """Why the run failed, if it did."""
        return self._directory.status().error

    def logs(self) -> str:
        """The whole log so far."""
        path = self._directory.log_path
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def stream_logs(self) -> Iterator[str]:
        """The log's lines as they come, until the run is over."""
        seen = 0
        while True:
            over = self.status().final
            lines = self.logs().splitlines()
            yield from lines[seen:]
            seen = len(lines)
            if over:
                return
            time.sleep(POLL_SECONDS)

    def result(self) -> Result:
        """Metrics, artifact, examples seen, seconds and history; ``RunError`` if not finished."""
        return self._directory.result()

    def metrics(self) -> dict[str, dict[str, float]]:
        """``{"before": {...}, "after": {...}}``; ``RunError`` before the run has finished."""
        return self.result().metrics

    def display_metrics(self) -> None:
        """Print the before/after table."""
        from rich.console import Console

        from finetuner.evaluation import comparison_table

        metrics = self.metrics()
        Console().print(comparison_table(metrics["before"], metrics["after"]))

    def example_results(self) -> list[ExampleResult]:
        """Some held-out queries with their neighbours before and after."""
        from finetuner.evaluation import ExampleResult

        self.result()
        return self._directory.read("examples.json", list[ExampleResult]) or []

    def display_examples(self, count: int = 5) -> None:
        """Print some queries with their neighbours before and after."""
        from rich.console import Console

        from finetuner.evaluation import render_examples

        Console().print(render_examples(self.example_results()[:count]))

    @property
    def artifact_id(self) -> str:
        """The tuned model's full address, ``STORE/NAME@sha256:…``."""
        address = self.result().artifact_id
        if address is None:
            raise RunError(f"run {self.name!r} has no artifact")
        return address

    def save_artifact(self, directory: str | Path = "artifacts") -> Path:
        """Write the artifact's files to ``directory/NAME``; returns that directory."""
        from finetuner.artifacts import pull, store_opener
        from finetuner.plugins.host import default_host

        target = Path(directory) / self.name
        return pull(self.artifact_id, target, store_opener(default_host()))

    def delete(self) -> None:
        """Remove the run's files. Its artifact stays in the store."""
        self._directory.delete()

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {self.status().value})"


def get_run(name: str, *, home: str | os.PathLike[str] | None = None) -> Run:
    """The run ``name``; ``UnknownNameError`` with the near names where there is none."""
    root = home_directory(home)
    return Run(RunDirectory.open(root, name), root)


def list_runs(
    *, experiment_name: str | None = None, home: str | os.PathLike[str] | None = None
) -> list[Run]:
    """All runs, oldest first, or those of one experiment."""
    root = home_directory(home)
    runs = [Run(RunDirectory.open(root, name), root) for name in list_names(root)]
    runs.sort(key=lambda run: run._directory.status().created)
    if experiment_name is None:
        return runs
    return [run for run in runs if run.config.experiment_name == experiment_name]


def delete_run(name: str, *, home: str | os.PathLike[str] | None = None) -> None:
    """Remove a run's files. Its artifact stays in the store."""
    get_run(name, home=home).delete()
