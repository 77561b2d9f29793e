"""A backend in a few lines whose exporter can be wrong in every way that exporters are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contracts import AdaptationPlan, FreezeDecision, Inputs, InputSpec, Preprocessing

TEXT = Preprocessing(
    "text",
    (
        InputSpec("input_ids", "int64", (None, None)),
        InputSpec("attention_mask", "int64", (None, None)),
    ),
    tokenizer="tokenizer.json",
    max_length=32,
)

TEXTS = ["red", "green hat red shirt", "blue shoe", "hat", "shirt shirt"]


class FakeBackend:
    """The masked mean of ``table``'s rows; ``write`` is its exporter. A state is a table."""

    name = "fake"

    def __init__(self, write: Callable[..., None], flaw: str = "") -> None:
        self.write, self.flaw = write, flaw
        self.exported: list[tuple[tuple[str, ...], tuple[int, ...]]] = []

    def embed(self, state: np.ndarray, inputs: Inputs) -> np.ndarray:
        mask = inputs["attention_mask"][:, :, None].astype(np.float64)
        mean = (state[inputs["input_ids"]] * mask).sum(axis=1) / mask.sum(axis=1)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    def save_weights(self, state: np.ndarray, directory: Path) -> str:
        (directory / "weights.safetensors").write_bytes(state.tobytes())
        return "weights.safetensors"

    def export(
        self, state: np.ndarray, path: Path, inputs: Sequence[InputSpec], sample: Inputs
    ) -> None:
        seen = sample["input_ids"].shape
        self.exported.append((tuple(spec.name for spec in inputs), seen))
        self.write(path, state, self.flaw, seen)


@pytest.fixture
def fake(write_text_onnx: Callable[..., None]) -> Callable[..., FakeBackend]:
    def make(flaw: str = "") -> FakeBackend:
        return FakeBackend(write_text_onnx, flaw)

    return make


@pytest.fixture
def plan() -> AdaptationPlan:
    return AdaptationPlan(
        framework="fake",
        model="words",
        inputs=("input_ids", "attention_mask"),
        output="0",
        head=(),
        taps=(),
        features=None,
        pooling=None,
        width=4,
        output_dim=None,
        normalize=True,
        freeze=FreezeDecision(),
        layers=(),
        reasons=(),
    )


@pytest.fixture
def arguments(
    tokenizer_file: Path, plan: AdaptationPlan, table: np.ndarray, tmp_path: Path
) -> dict[str, Any]:
    """Everything that ``export_bundle`` takes but the backend."""
    return {
        "state": table,
        "preprocessing": TEXT,
        "files": {"tokenizer.json": tokenizer_file},
        "plan": plan,
        "name": "words",
        "directory": tmp_path / "out" / "bundle",
        "samples": TEXTS,
    }
