"""The gate of an export: onnxruntime must give what the framework gives.

An export that succeeds proves nothing. Exporters bake in the batch or the length
that they saw, drop masks and lose inputs without an error, so the file is compared
with the framework at other batch sizes and lengths, with rows that are padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import Backend, Inputs, InputSpec, Preprocessing
from finetuner.errors import ArtifactError, ExportError, FinetunerError
from finetuner.export.cases import check_cases
from finetuner.inference.session import (
    CPU,
    Session,
    describe_shapes,
    open_session,
    run_session,
    signature_problem,
)

TOLERANCE = 1e-4
"""Largest difference allowed in float32, relative where a vector's numbers exceed 1."""

OUTPUT = "embedding"


@dataclass(frozen=True)
class _Expected:
    """One case with what the framework gives for it."""

    inputs: Inputs
    vectors: np.ndarray


def check_parity(
    model: Path,
    backend: Backend,
    state: Any,
    preprocessing: Preprocessing,
    samples: Inputs,
    width: int,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Compare the ONNX file ``model`` with ``backend.embed`` on real inputs.

    ``samples`` is a batch of at least three rows. Returns the parity record of a
    manifest: the tolerance, the largest difference, and each case with its shapes.

    Raises ``ExportError`` for a file that onnxruntime cannot load or run, for
    other inputs than the preprocessing's, for other outputs than one
    ``embedding`` of ``width``, for numbers that are not finite, and for a
    difference over ``tolerance``, saying how large it is and at which shape.
    """
    cases = [
        _Expected(inputs, _embed(backend, state, inputs, width))
        for inputs in check_cases(samples, preprocessing)
    ]
    # Opened when the framework has freed what it computed with: both never lie in memory at once.
    session = _open(model, preprocessing.inputs, width)
    differences = [_difference(session, case) for case in cases]
    worst = int(np.argmax(differences))
    if differences[worst] > tolerance:
        raise ExportError(
            f"the exported model differs from {backend.name} by {differences[worst]:.2e} at "
            f"{describe_shapes(cases[worst].inputs)} (allowed: {tolerance:.0e}); "
            f"{_where(differences, tolerance)}: do not use it, keep the weights with to_onnx=False"
        )
    return {
        "tolerance": tolerance,
        "largest_difference": differences[worst],
        "cases": [
            {"shapes": _shapes(case.inputs), "difference": difference}
            for case, difference in zip(cases, differences, strict=True)
        ],
    }


def _open(model: Path, inputs: Sequence[InputSpec], width: int) -> Session:
    try:
        session = open_session(model, [CPU])
    except ArtifactError as error:
        raise ExportError(f"the exported model is not valid: {error}") from error
    if problem := signature_problem(session, inputs, OUTPUT, width):
        raise ExportError(f"the exported model cannot be used: {problem}")
    return session


def _embed(backend: Backend, state: Any, inputs: Inputs, width: int) -> np.ndarray:
    where = f"{backend.name} itself, at {describe_shapes(inputs)},"
    try:
        vectors = np.asarray(backend.embed(state, inputs))
    except FinetunerError:
        raise
    # A model raises whatever its framework raises.
    except Exception as error:
        raise ExportError(
            f"{where} does not run ({type(error).__name__}: {error}): does the preprocessing "
            "say the largest input that the model takes?"
        ) from error
    rows = len(next(iter(inputs.values())))
    if vectors.shape != (rows, width):
        raise ExportError(f"{where} gives the shape {vectors.shape}, not {(rows, width)}")
    if not np.isfinite(vectors).all():
        raise ExportError(f"{where} gives numbers that are not finite: the model is broken")
    return vectors


def _difference(session: Session, case: _Expected) -> float:
    """Largest absolute difference, in units of the largest number where that exceeds 1."""
    where = f"the exported model, at {describe_shapes(case.inputs)},"
    try:
        vectors = run_session(session, OUTPUT, case.inputs)
    # onnxruntime raises a dozen classes that share no base of their own.
    except Exception as error:
        raise ExportError(f"{where} does not run: {error}") from error
    if vectors.shape != case.vectors.shape:
        raise ExportError(f"{where} gives the shape {vectors.shape}, not {case.vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ExportError(f"{where} gives numbers that are not finite")
    scale = max(1.0, float(np.abs(case.vectors).max()))
    return float(np.abs(vectors - case.vectors).max()) / scale


def _where(differences: Sequence[float], tolerance: float) -> str:
    wrong = sum(difference > tolerance for difference in differences)
    return f"{wrong} of {len(differences)} shapes are wrong"


def _shapes(inputs: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in inputs.items()}
