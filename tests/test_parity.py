"""One engine: PyTorch and every Keras backend learn the same from the same batches."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "parity"))

from compare import KERAS_BACKENDS, MODELS, compare, trained

pytest.importorskip("finetuner_keras", reason="the Keras backend is not installed")
pytest.importorskip("finetuner_torch", reason="the PyTorch backend is not installed")

TOLERANCE = 1e-4


@cache
def reference(model: str) -> dict[str, Any]:
    return trained("torch", model)


@pytest.mark.parametrize("keras_backend", KERAS_BACKENDS)
@pytest.mark.parametrize("model", MODELS)
def test_losses_embeddings_triplets_and_plans_are_those_of_pytorch(
    model: str, keras_backend: str
) -> None:
    row = compare(reference(model), model, keras_backend)
    assert row.losses < TOLERANCE
    assert row.embeddings < TOLERANCE
    assert row.same_triplets
    assert row.same_plan


def test_the_reference_learns() -> None:
    losses = reference("block")["losses"]
    assert sum(losses[-8:]) < sum(losses[:8])
