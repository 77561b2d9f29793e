"""Small models that the tests share, with the same weights every time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from finetuner.contracts import AdaptationPlan, OptimizerSpec, PlanOptions, Schedule
from finetuner.testing.backend_case import plan_with_installed
from finetuner_keras.backend import KerasBackend

BACKEND = KerasBackend()
SGD = OptimizerSpec("sgd", 0.05, schedule=Schedule("constant"))


def cnn(dropout: float = 0.3) -> keras.Model:
    """Two convolutions with batch normalisation; width 6, head of 3 classes."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.Dropout(dropout, name="dropout"),
            layers.Conv2D(6, 3, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, activation="softmax", name="fc"),
        ]
    )


def nested() -> keras.Model:
    """A Functional model inside a Sequential one."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    map_ = layers.Conv2D(6, 3, activation="relu", name="conv")(image)
    base = keras.Model(image, map_, name="base")
    top = [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(3, name="fc")]
    return keras.Sequential([keras.Input((8, 8, 3)), base, *top])


class Text(keras.Model):
    """A masked mean of embeddings, subclassed; ``seen`` notes the shape of every call."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.table = layers.Embedding(30, width)
        self.dense = layers.Dense(width)
        self.fc = layers.Dense(2)
        self.width = width

    def call(self, input_ids: Any, attention_mask: Any = None) -> Any:
        SEEN.append(tuple(input_ids.shape))
        weights = ops.expand_dims(ops.cast(attention_mask, "float32"), -1)
        x = ops.relu(self.dense(self.table(input_ids)))
        return self.fc(ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1))

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width}


SEEN: list[tuple[int, ...]] = []


def text() -> keras.Model:
    keras.utils.set_random_seed(2)
    model = Text()
    model(**tokens(2, 5))
    return model


def images(count: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(count, 8, 8, 3))
    return {"image": values.astype(np.float32)}


def tokens(count: int, length: int) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(length).integers(1, 30, (count, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def plan_of(model: keras.Model, sample: Any, **options: Any) -> AdaptationPlan:
    return plan_with_installed(BACKEND.trace(model, sample), PlanOptions(**options))


def state_of(
    model: keras.Model,
    sample: Any,
    spec: OptimizerSpec = SGD,
    dropout: float | None = 0.0,
    **options: Any,
) -> Any:
    adapted = BACKEND.adapt(model, plan_of(model, sample, **options), seed=1)
    return BACKEND.init(adapted, spec, seed=2, device="cpu", precision="float32", dropout=dropout)


def arrays(tensors: Any) -> dict[str, np.ndarray]:
    return {name: np.array(ops.convert_to_numpy(t)) for name, t in tensors.items()}
