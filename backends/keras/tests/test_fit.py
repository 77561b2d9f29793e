"""From a model and rows to an artifact that is encoded with onnxruntime alone."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers
from keras_models import cnn

import finetuner


def test_fit_trains_exports_and_encodes_arrays(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(8, activation="relu", name="second"),
            layers.Dense(3, activation="softmax", name="fc"),
        ]
    )
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 240)
    signal, noise = np.eye(4)[labels] * 2, draw.normal(size=(240, 6)) * 2
    rows = np.concatenate([signal + draw.normal(size=(240, 4)), noise], axis=1).astype(np.float32)
    weights = [w.copy() for w in model.get_weights()]
    run = finetuner.fit(
        model, (rows, labels), epochs=5, batch_size=32, learning_rate=1e-2, home=tmp_path
    )
    metrics = run.metrics()
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    vectors = finetuner.encode(finetuner.get_model(run.artifact_id), list(rows[:5]))
    assert np.asarray(vectors).shape == (5, 8)
    for array, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, before)


def test_the_manifest_says_what_keras_ran_on(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    pixels = list(draw.integers(0, 256, (24, 9, 9, 3), dtype=np.uint8))
    run = finetuner.fit(
        cnn(), (pixels, np.arange(24) % 2), epochs=1, batch_size=8, to_onnx=False, home=tmp_path
    )
    found = finetuner.pull(run.artifact_id, tmp_path / "bundle")
    manifest = (found / "manifest.json").read_text()
    assert '"keras"' in manifest
    assert keras.backend.backend() in manifest
    assert "channels-last" in manifest
