"""A bundle of an array model; that of a text model is for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finetuner.artifacts import write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing, Step


@pytest.fixture
def array_bundle(tmp_path: Path, write_array_onnx: Callable[..., None]) -> Path:
    """Doubles its inputs, then ``array @ [[3, 0], [0, 4], [0, 0]]``, normalised."""
    directory = tmp_path / "array"
    directory.mkdir()
    weight = np.array([[3, 0], [0, 4], [0, 0]], np.float32)
    write_array_onnx(directory / "model.onnx", weight)
    steps = (Step("scale", {"factor": 2.0}),)
    preprocessing = Preprocessing("array", (InputSpec("array", "float32", (None, 3)),), steps)
    write_manifest(directory, Manifest("numbers", preprocessing, width=2, files=()))
    return directory
