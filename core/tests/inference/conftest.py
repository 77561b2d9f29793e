"""Bundles of a text model and of an array model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finetuner.artifacts import write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing, Step

TEXT = Preprocessing(
    "text",
    (
        InputSpec("input_ids", "int64", (None, None)),
        InputSpec("attention_mask", "int64", (None, None)),
    ),
    tokenizer="tokenizer.json",
    max_length=8,
)


@pytest.fixture
def text_bundle(
    tmp_path: Path,
    tokenizer_file: Path,
    table: np.ndarray,
    write_text_onnx: Callable[..., None],
) -> Path:
    directory = tmp_path / "text"
    directory.mkdir()
    shutil.copyfile(tokenizer_file, directory / "tokenizer.json")
    write_text_onnx(directory / "model.onnx", table)
    write_manifest(directory, Manifest("words", TEXT, width=4, files=()))
    return directory


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
