"""The Keras backend passes core's conformance suite, on whatever runs Keras here."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from finetuner.contracts import Inputs, InputSpec
from finetuner.testing import BackendCase, BackendTests
from finetuner_keras.backend import KerasBackend
from finetuner_keras.layers import named_variables


def make_classifier() -> keras.Model:
    """Two dense layers with dropout between, and a head; Functional."""
    keras.utils.set_random_seed(3)
    array = keras.Input((6,), name="array")
    hidden = layers.Dense(5, activation="tanh", name="first")(array)
    hidden = layers.Dropout(0.3, name="dropout")(hidden)
    hidden = layers.Dense(4, activation="tanh", name="second")(hidden)
    return keras.Model(array, layers.Dense(2, name="classifier")(hidden))


def make_normalised() -> keras.Model:
    """The classifier with batch normalisation between its layers."""
    keras.utils.set_random_seed(5)
    array = keras.Input((6,), name="array")
    hidden = layers.Dense(5, activation="tanh", name="first")(array)
    hidden = layers.BatchNormalization(name="normalised")(hidden)
    hidden = layers.Dense(4, activation="tanh", name="second")(hidden)
    return keras.Model(array, layers.Dense(2, name="classifier")(hidden))


class Block(layers.Layer):
    """A transformer block with normalisation behind each part."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        self.attention = layers.MultiHeadAttention(2, width // 2, dropout=0.1)
        self.norm = layers.LayerNormalization()
        self.inner = layers.Dense(12, activation=gelu)
        self.outer = layers.Dense(width)
        self.last_norm = layers.LayerNormalization()

    def build(self, shape: tuple[int, ...], *_: Any) -> None:
        self.attention.build(shape, shape)
        self.norm.build(shape)
        self.inner.build(shape)
        self.outer.build((*shape[:-1], 12))
        self.last_norm.build(shape)
        super().build(shape)

    def call(self, x: Any, real: Any, training: bool | None = None) -> Any:
        seen = ops.expand_dims(ops.cast(real, "bool"), 1)
        x = self.norm(x + self.attention(x, x, attention_mask=seen, training=training))
        return self.last_norm(x + self.outer(self.inner(x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def gelu(x: Any) -> Any:
    return ops.gelu(x, approximate=True)


class Transformer(keras.Model):
    """A subclassed text classifier with a masked mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = layers.Embedding(30, 8)
        self.blocks = [Block(8), Block(8)]
        self.classifier = layers.Dense(2)

    def call(self, input_ids: Any, attention_mask: Any = None, training: Any = None) -> Any:
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, attention_mask, training=training)
        weights = ops.expand_dims(ops.cast(attention_mask, x.dtype), -1)
        return self.classifier(ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1))


def make_transformer() -> keras.Model:
    keras.utils.set_random_seed(4)
    model = Transformer()
    model(**tokens(2, 0))
    return model


def rows(count: int, seed: int) -> Inputs:
    values = np.random.default_rng(seed).normal(size=(count, 6))
    return {"array": values.astype(np.float32)}


def tokens(count: int, seed: int) -> Inputs:
    ids = np.random.default_rng(seed).integers(1, 30, (count, 7))
    mask = np.ones_like(ids)
    mask[::2, 5:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def model_weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {n: np.array(ops.convert_to_numpy(v)) for n, v in named_variables(model).items()}


def state_weights(state: Any) -> dict[str, np.ndarray]:
    return {n: np.array(ops.convert_to_numpy(t)) for n, t in state.weights.items()}


def state_statistics(state: Any) -> dict[str, np.ndarray]:
    return {n: value for n, value in state_weights(state).items() if "moving_" in n}


class TestFunctional(BackendTests):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            backend=KerasBackend(),
            model=make_classifier,
            inputs=rows,
            specs=(InputSpec("array", "float32", (None, 6)),),
            model_weights=model_weights,
            state_weights=state_weights,
            frozen_layer="first",
            split_at="first",
            statistics_model=make_normalised,
            state_statistics=state_statistics,
        )


class TestSubclassed(BackendTests):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            backend=KerasBackend(),
            model=make_transformer,
            inputs=tokens,
            specs=(
                InputSpec("input_ids", "int64", (None, None)),
                InputSpec("attention_mask", "int64", (None, None)),
            ),
            model_weights=model_weights,
            state_weights=state_weights,
            frozen_layer="blocks.0.norm",
            split_at="blocks.0",
        )
