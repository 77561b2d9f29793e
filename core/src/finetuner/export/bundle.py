"""Writing a bundle from a trained state."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetuner.artifacts import CARD, MANIFEST, MODEL, model_card, write_manifest
from finetuner.artifacts.manifest import check_path
from finetuner.contracts import (
    AdaptationPlan,
    Backend,
    Inputs,
    Manifest,
    Preprocessing,
    RunSpec,
    TransformRecord,
)
from finetuner.data import Preprocessor
from finetuner.errors import ExportError, FinetunerError, UsageError
from finetuner.export.parity import OUTPUT, TOLERANCE, check_parity

SAMPLES = 4
"""Contents needed to check an export."""


def export_bundle(
    backend: Backend,
    state: Any,
    *,
    preprocessing: Preprocessing,
    files: Mapping[str, Path],
    plan: AdaptationPlan,
    name: str,
    directory: Path | str,
    samples: Sequence[Any],
    run: RunSpec | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    transforms: Mapping[str, TransformRecord] | None = None,
    versions: Mapping[str, str] | None = None,
    onnx: bool = True,
    tolerance: float = TOLERANCE,
) -> Manifest:
    """Write the bundle of a trained ``state`` to ``directory`` and return its manifest.

    ``files`` are those that the preprocessing names, by their names in the bundle;
    ``samples`` at least four real contents, with which the exported model is compared
    with the framework; without ``onnx`` the bundle holds weights only. ``metrics`` is
    ``{"before": {...}, "after": {...}}``.

    The directory must not exist, or be empty, and appears when all is written and
    checked, or not at all. Raises ``ExportError`` where the model cannot be exported
    or differs from its source by more than ``tolerance``.
    """
    target = Path(directory).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists: give a directory that does not")
    partial = target.parent / f".{target.name}.{secrets.token_hex(8)}.partial"
    manifest = Manifest(
        name=name,
        preprocessing=preprocessing,
        width=plan.embedding_width,
        files=(),
        output=OUTPUT,
        normalized=plan.normalize,
        plan=plan,
        run=run,
        metrics={moment: dict(values) for moment, values in (metrics or {}).items()},
        versions=dict(versions or {}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        partial.mkdir(parents=True)
        copied = _copy(files, preprocessing, partial)
        backend.save_weights(state, partial)
        if onnx:
            inputs = _inputs(Preprocessor(preprocessing, copied, transforms), samples)
            _export(backend, state, partial / MODEL, preprocessing, inputs)
            parity = check_parity(
                partial / MODEL, backend, state, preprocessing, inputs, manifest.width, tolerance
            )
            manifest = dataclasses.replace(manifest, parity=parity)
        (partial / CARD).write_text(model_card(manifest, onnx=onnx), encoding="utf-8")
        manifest = write_manifest(partial, manifest)
        os.rename(partial, target)
    except OSError as error:
        raise ExportError(f"{target} could not be written, nothing is left: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _copy(
    files: Mapping[str, Path], preprocessing: Preprocessing, directory: Path
) -> dict[str, Path]:
    """Copy the preprocessing's files and give their new places by name."""
    if preprocessing.tokenizer is not None and preprocessing.tokenizer not in files:
        raise ExportError(
            f"the preprocessing names the tokenizer {preprocessing.tokenizer!r}, "
            f"which is not among the files: {sorted(files)}"
        )
    for name, source in files.items():
        check_path(name, "the files of the preprocessing")
        if name in (MANIFEST, MODEL, CARD):
            raise ExportError(f"a file of the preprocessing cannot be called {name!r}")
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, directory / name)
    return {name: directory / name for name in files}


def _inputs(preprocessor: Preprocessor, samples: Sequence[Any]) -> Inputs:
    if len(samples) < SAMPLES:
        raise UsageError(f"an export is checked with {SAMPLES} samples, got {len(samples)}")
    return preprocessor.batch(list(samples[:SAMPLES]))


def _export(
    backend: Backend, state: Any, path: Path, preprocessing: Preprocessing, inputs: Inputs
) -> None:
    # Exporters may take an extent of 1 as fixed, and the check uses batches of 1 and 3.
    sample = {name: value[:2] for name, value in inputs.items()}
    try:
        backend.export(state, path, preprocessing.inputs, sample)
    except FinetunerError:
        raise
    # Exporters raise whatever their framework raises.
    except Exception as error:
        raise ExportError(
            f"{backend.name} could not export this model to ONNX ({type(error).__name__}: "
            f"{error}); to_onnx=False keeps the weights"
        ) from error
