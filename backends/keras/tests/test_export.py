from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, plan_of

from finetuner.contracts import InputSpec, OptimizerSpec, Preprocessing
from finetuner.errors import ExportError
from finetuner.export import check_parity

TEXT = Preprocessing("text", (InputSpec("input_ids", "int64", (None, None)),), max_length=64)
IMAGE = Preprocessing("image", (InputSpec("image", "float32", (None, 32, 32, 3)),))
TOLERANCE = 1e-4


def images() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)}


def tokens() -> dict[str, np.ndarray]:
    return {"input_ids": np.random.default_rng(0).integers(1, 50, (4, 9))}


def difference(model: keras.Model, sample: Any, spec: Preprocessing, path: Path) -> float:
    plan = plan_of(model, sample)
    adapted = BACKEND.adapt(model, plan)
    state = BACKEND.init(adapted, OptimizerSpec(), seed=0, device="cpu", precision="float32")
    first = {name: values[:2] for name, values in sample.items()}
    BACKEND.export(state, path, spec.inputs, first)
    found = check_parity(path, BACKEND, state, spec, sample, plan.embedding_width)
    return float(found["largest_difference"])


def text(middle: Any) -> keras.Model:
    ids = keras.Input((None,), dtype="int32", name="input_ids")
    x = middle(layers.Embedding(50, 8, mask_zero=True)(ids))
    return keras.Model(ids, layers.Dense(3)(x))


class Shifted(layers.Layer):
    """Adds numbers that it holds as a tensor, which is no weight of the model."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = ops.arange(shape[-1], dtype="float32")

    def call(self, x: Any) -> Any:
        return x + self.shift


def test_a_tensor_that_a_layer_holds_is_a_constant(tmp_path: Path) -> None:
    assert difference(text(Shifted()), tokens(), TEXT, tmp_path / "m.onnx") < TOLERANCE


def test_every_kind_of_convolution_and_pooling(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.MaxPooling2D(3, strides=2, padding="same"),
            layers.DepthwiseConv2D(3),
            layers.AveragePooling2D(2),
            layers.SeparableConv2D(8, 3, padding="same"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3),
        ]
    )
    assert difference(model, images(), IMAGE, tmp_path / "m.onnx") < TOLERANCE


def test_attention_and_exact_gelu_at_any_length(tmp_path: Path) -> None:
    attention = layers.MultiHeadAttention(2, 4)

    def middle(x: Any) -> Any:
        x = layers.LayerNormalization()(attention(x, x))
        return layers.GlobalAveragePooling1D()(layers.Dense(8, activation="gelu")(x))

    assert difference(text(middle), tokens(), TEXT, tmp_path / "m.onnx") < TOLERANCE


@pytest.mark.parametrize(
    "middle",
    [lambda x: layers.LSTM(6)(x), lambda x: layers.Bidirectional(layers.LSTM(6))(x)],
    ids=["lstm", "bilstm"],
)
def test_recurrent_layers_are_right_or_named_in_the_error(middle: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    if keras.backend.backend() == "tensorflow":
        assert difference(text(middle), tokens(), TEXT, path) < TOLERANCE
        return
    try:
        found = difference(text(middle), tokens(), TEXT, path)
    except ExportError as error:
        found, message = 0.0, str(error)
        path.unlink(missing_ok=True)
    else:
        message = "recurrent layer"
    assert found < TOLERANCE
    assert "recurrent layer" in message
