"""keras-hub's backbones and task models, where it is installed; weights are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import BACKEND, plan_of
from test_export import IMAGE, TOLERANCE, difference, images

from finetuner.contracts import InputSpec, Preprocessing
from finetuner.errors import ExportError

keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")

SMALL = {
    "vocabulary_size": 50,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 32,
}
NAMES = ("input_ids", "attention_mask", "token_type_ids")
TEXT = Preprocessing(
    "text", tuple(InputSpec(name, "int64", (None, None)) for name in NAMES), max_length=32
)


def tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1, 50, (4, 9))
    mask = np.ones_like(ids)
    mask[::2, 6:] = 0
    return dict(zip(NAMES, (ids * mask, mask, np.zeros_like(ids)), strict=True))


def classifier() -> Any:
    backbone = keras_hub.models.BertBackbone(**SMALL)
    return keras_hub.models.BertTextClassifier(backbone=backbone, num_classes=3)


def test_the_head_of_a_text_classifier_is_found() -> None:
    plan = plan_of(classifier(), tokens())
    assert plan.head == ("logits",)
    assert plan.embedding_width == 16


def test_a_backbone_without_a_head_gives_token_vectors_to_pool() -> None:
    plan = plan_of(keras_hub.models.DistilBertBackbone(**SMALL), tokens())
    assert plan.head == ()
    assert plan.pooling is not None
    assert plan.embedding_width == 16


@pytest.mark.keras_backend("tensorflow", "torch")
def test_a_text_classifier_is_exported_for_any_length(tmp_path: Path) -> None:
    assert difference(classifier(), tokens(), TEXT, tmp_path / "m.onnx") < TOLERANCE


@pytest.mark.keras_backend("jax")
def test_positions_of_any_length_are_an_export_error_on_jax(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"from Keras on jax: .*'sequence'"):
        difference(classifier(), tokens(), TEXT, tmp_path / "m.onnx")


@pytest.mark.keras_backend("tensorflow", "torch")
def test_a_vision_transformer_is_copied_and_exported(tmp_path: Path) -> None:
    model = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    assert BACKEND.recognises(model)
    assert difference(model, images(), IMAGE, tmp_path / "m.onnx") < TOLERANCE
