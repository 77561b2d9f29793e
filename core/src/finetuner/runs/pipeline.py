"""One run from its spec to its artifact: the whole data flow, in order."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from finetuner.artifacts import open_store, push
from finetuner.contracts import IN_PROCESS, Backend, RunSpec, RunState
from finetuner.errors import ExportError, FinetunerError, RunError
from finetuner.export import export_bundle
from finetuner.plugins.host import Host
from finetuner.runs.callbacks import named_callback
from finetuner.runs.datasets import with_data
from finetuner.runs.defaults import CHUNKS
from finetuner.runs.directory import Result, RunDirectory
from finetuner.runs.measure import Measure, Measured
from finetuner.runs.prepare import (
    Interpreted,
    RunData,
    Training,
    assemble,
    check_names,
    dropout_rate,
    interpret,
    read_data,
)
from finetuner.training import Trainer, TrainingResult

logger = logging.getLogger("finetuner.runs")

_RESUME = (
    "run %s was cancelled; finetuner.resume_run(%r) or 'finetuner resume %s' goes on from its "
    "last checkpoint"
)

MONITOR = "map@r"
"""The metric that chooses the best checkpoint, on rows held out of the training data."""


def execute(directory: RunDirectory, live: Mapping[str, Any], host: Host, home: Path) -> None:
    """Carry out the run in ``directory``: train, measure, export, push.

    ``live`` may hold ``model``, ``train_data``, ``eval_data`` and ``callbacks``.
    A run that was broken off continues from its last checkpoint. Whatever goes
    wrong is written to the run's status and log, then raised.
    """
    with directory.held():
        directory.move(RunState.RUNNING)
        try:
            directory.write("result.json", _Job(directory, live, host, home).run())
        except KeyboardInterrupt:
            _end(directory, RunState.CANCELLED, "cancelled from the keyboard")
            logger.warning(_RESUME, directory.name, directory.name, directory.name)
            raise
        except BaseException as error:
            words = str(error) if isinstance(error, FinetunerError) else traceback.format_exc()
            _end(directory, RunState.FAILED, f"{type(error).__name__}: {error}", f"failed: {words}")
            raise
        directory.move(RunState.FINISHED)


def _end(directory: RunDirectory, state: RunState, error: str, words: str | None = None) -> None:
    """Note how the run ended. A disk that takes no note must not hide the error itself."""
    with contextlib.suppress(OSError):
        directory.log(words or error)
    with contextlib.suppress(OSError):
        directory.move(state, error)


@dataclass(frozen=True)
class _Job:
    directory: RunDirectory
    live: Mapping[str, Any]
    host: Host
    home: Path

    def run(self) -> Result:
        started = time.monotonic()
        spec, log = self.directory.spec(), self.directory.log
        check_names(spec, self.host)
        callbacks, dropout = self._callbacks(spec), dropout_rate(spec.model_options)
        data = read_data(spec, with_data(spec, self.live, self.host, self.home), self.host)
        log(f"data: {len(data.train)} rows of {len(data.train.label_names)} classes to train on")
        found = interpret(_model(spec, self.live), spec, data.train, self.host)
        self.directory.write("plan.json", found.plan)
        training = assemble(spec, found, data.train, self.host)
        self._check_inputs(data)
        self.directory.write("resolved.json", training.spec)
        _log_choices(training, found, log)
        model = found.backend.adapt(found.loaded.model, found.plan, seed=spec.seed)
        state = found.backend.init(
            model,
            training.optimizer,
            seed=spec.seed,
            device=spec.device,
            precision=spec.precision,
            parameters=training.objective.parameters,
            dropout=dropout,
        )
        distance = training.spec.distance or "cosine"
        report = Measure.of(data.report, found, distance, self.host)
        before = report(found.backend, state)
        log("before: " + _words(before))
        outcome, after = self._train(training, found, state, data, report, before, callbacks)
        log("after: " + _words(after))
        metrics = {"before": dict(before), "after": dict(after)}
        self.directory.write("examples.json", report.examples(before, after))
        artifact_id = self._publish(training, found, outcome.state, metrics, data)
        return Result(
            metrics,
            artifact_id,
            outcome.examples_seen,
            time.monotonic() - started,
            tuple(msgspec.to_builtins(outcome.history)),
        )

    def _train(
        self,
        training: Training,
        found: Interpreted,
        state: Any,
        data: RunData,
        report: Measure,
        before: Measured,
        callbacks: Sequence[Any],
    ) -> tuple[TrainingResult, Measured]:
        """Train; what came of it, with the report's measure of it.

        Where the epochs are measured on the report's own rows, no state is measured twice.
        """
        chosen_by = data.validation
        measure = report
        if chosen_by is not None and chosen_by is not data.report:
            measure = Measure.of(chosen_by, found, report.distance, self.host)
        outcome = Trainer(
            found.backend,
            state,
            training.encoded,
            training.labels,
            training.sampler,
            training.objective,
            epochs=training.spec.epochs,
            chunks=CHUNKS,
            seed=training.spec.seed,
            evaluate=measure,
            untrained=before if measure is report else None,
            monitor=None if chosen_by is None else MONITOR,
            callbacks=callbacks,
            directory=self.directory.checkpoints,
            resume=True,
            digest=_digest(training, found),
            progress=self.live.get("progress") is not False,
            log=self.directory.log,
        ).fit()
        if measure is report and isinstance(outcome.measured, Measured):
            return outcome, outcome.measured
        return outcome, report(found.backend, outcome.state)

    def _callbacks(self, spec: RunSpec) -> list[Any]:
        named = [named_callback(text, self.host) for text in spec.callbacks]
        return [*named, *self.live.get("callbacks", ())]

    def _check_inputs(self, data: RunData) -> None:
        """A resumed run must be given what it was given at first."""
        seen = {"train_data": data.train.digest(), "report": data.report.queries.digest()}
        before = self.directory.read("inputs.json", dict[str, str])
        if before is None:
            self.directory.write("inputs.json", seen)
        elif before != seen:
            changed = [name for name in seen if before.get(name) != seen[name]]
            raise RunError(
                f"run {self.directory.name!r} was begun with other data ({', '.join(changed)}): "
                "resume it with the same rows, or start a new run"
            )

    def _publish(
        self,
        training: Training,
        found: Interpreted,
        state: Any,
        metrics: dict[str, dict[str, float]],
        data: RunData,
    ) -> str:
        spec, log = training.spec, self.directory.log
        store = open_store(spec.store or (self.home / "store").as_uri(), self.host)
        with _staging(self.home) as bundle:
            try:
                manifest = export_bundle(
                    found.backend,
                    state,
                    preprocessing=found.preprocessing,
                    files=found.loaded.files,
                    plan=found.plan,
                    run=spec,
                    metrics=metrics,
                    name=spec.name,
                    directory=bundle,
                    samples=list(data.train.contents[:4]),
                    transforms=self.host.by_name("transforms"),
                    versions=_versions(_packages(found.backend)),
                    onnx=spec.to_onnx,
                )
            except ExportError as error:
                raise ExportError(
                    f"{error}. Nothing is lost: resume_run({spec.name!r}, …) exports again, "
                    "and with to_onnx=False it keeps what was trained as weights alone"
                ) from error
            if manifest.parity:
                log(f"exported: largest difference to {found.backend.name} {manifest.parity}")
            artifact_id = push(bundle, store, spec.name)
        log(f"pushed: {artifact_id}")
        return artifact_id


def _log_choices(training: Training, found: Interpreted, log: Callable[[str], None]) -> None:
    """Write what was decided to the log, so that nothing was chosen in silence."""
    spec, plan = training.spec, found.plan
    for reason in plan.reasons:
        log(f"plan: {reason.subject}: {reason.text}")
    for warning in (*plan.warnings, *getattr(training.sampler, "warnings", ())):
        log(f"warning: {warning}")
    log(
        f"learning: {spec.loss} {spec.loss_options or ''} {_mined(spec)}, {spec.optimizer} "
        f"at {spec.learning_rate:g}, batches of {spec.batch_size} "
        f"({spec.num_items_per_class} a class), {training.optimizer.schedule.total_steps} steps, "
        f"dropout {spec.model_options.get('dropout') or 'off'}"
    )


def _mined(spec: RunSpec) -> str:
    return "over all pairs" if spec.miner is None else f"miner {spec.miner}"


def _packages(backend: Backend) -> Sequence[str]:
    """Distributions that the backend computes with: its framework's, unless it says more."""
    named: Sequence[str] = getattr(backend, "packages", (backend.framework,))
    return named


def _versions(frameworks: Sequence[str]) -> dict[str, str]:
    """Versions of all that shapes an artifact."""
    found = {"python": platform.python_version()}
    for name in ("finetuner-core", "numpy", "onnxruntime", *frameworks):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@contextlib.contextmanager
def _staging(home: Path) -> Iterator[Path]:
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=home) as directory:
        yield Path(directory) / "bundle"


def _model(spec: RunSpec, live: Mapping[str, Any]) -> object:
    if "model" in live:
        return live["model"]
    if spec.model == IN_PROCESS:
        raise RunError(
            f"run {spec.name!r} was begun with a live model: give the model again to resume it"
        )
    return spec.model


def _digest(training: Training, found: Interpreted) -> str:
    """Stands for all that decides the weights beside the data: a resume must not change it."""
    spec = replace(training.spec, to_onnx=True)
    decided = (spec, found.plan, found.preprocessing, training.optimizer)
    return hashlib.sha256(msgspec.json.encode(decided, order="deterministic")).hexdigest()


def _words(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
