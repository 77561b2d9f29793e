"""From a model and rows to an artifact that is encoded with onnxruntime alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_models import cnn, text
from tokenizers import Tokenizer, models, pre_tokenizers

import finetuner

FILLERS = ("the", "a", "my", "some", "nice", "old")


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


def test_fit_trains_exports_and_encodes_texts(tmp_path: Path) -> None:
    topics = {"fruit": ("apple", "pear", "plum"), "pet": ("dog", "cat", "parrot")}
    draw = np.random.default_rng(0)
    labels = [*topics] * 48
    texts = [
        " ".join([*draw.choice(FILLERS, draw.integers(1, 6)), draw.choice(topics[label])])
        for label in labels
    ]
    words = ["[PAD]", "[UNK]", *FILLERS, *topics["fruit"], *topics["pet"]]
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json", words)
    run = finetuner.fit(
        text(),
        (texts, labels),
        epochs=2,
        batch_size=16,
        learning_rate=1e-2,
        model_options={"tokenizer": str(tokenizer), "max_length": 8},
        home=tmp_path,
    )
    metrics = run.metrics()
    assert metrics["after"]["map@r"] > metrics["before"]["map@r"]
    model = finetuner.get_model(run.artifact_id, home=tmp_path)
    short, padded = finetuner.encode(model, ["a dog"]), finetuner.encode(model, ["a dog", texts[0]])
    np.testing.assert_allclose(short[0], padded[0], atol=1e-5)


def write_tokenizer(path: Path, words: list[str]) -> Path:
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))
    return path


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    data = draw.normal(size=(48, 6)).astype(np.float32), np.arange(48) % 4

    path = tmp_path / "model.keras"
    hidden = [layers.Dense(5), layers.Dropout(0.2)]
    keras.Sequential([keras.Input((6,)), *hidden, layers.Dense(4)]).save(path)

    def fit(home: Path, **more: Any) -> Any:
        options = {"epochs": 2, "batch_size": 8, "run_name": "r", "home": home, **more}
        return finetuner.fit(path, data, model_options={"dropout": "own"}, **options)

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", callbacks=[BreakOff()])
    resumed = finetuner.resume_run("r", train_data=data, home=tmp_path / "broken")
    assert weights_of(whole, tmp_path / "a") == weights_of(resumed, tmp_path / "b")


class BreakOff:
    """As if somebody pressed Ctrl-C behind the first epoch."""

    def on_epoch_end(self, event: Any) -> None:
        raise KeyboardInterrupt


def weights_of(run: Any, directory: Path) -> dict[str, bytes]:
    files = finetuner.pull(run.artifact_id, directory).glob("*.safetensors")
    found = {path.name: path.read_bytes() for path in files}
    assert found
    return found


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
