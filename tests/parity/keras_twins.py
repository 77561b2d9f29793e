"""The two small models in Keras."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops


def cnn() -> keras.Model:
    image = keras.Input((10, 10, 3), name="image")
    x = layers.Conv2D(6, 3, name="conv1")(image)
    x = ops.relu(layers.BatchNormalization(name="norm", epsilon=1e-3)(x))
    x = ops.relu(layers.Conv2D(8, 3, name="conv2")(x))
    return keras.Model(image, layers.Dense(3, name="fc")(ops.mean(x, axis=(1, 2))))


class Block(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(30, 8)
        self.query, self.key, self.value, self.out = (layers.Dense(8) for _ in range(4))
        self.norm1, self.norm2 = (layers.LayerNormalization(epsilon=1e-3) for _ in range(2))
        self.inner, self.outer, self.fc = layers.Dense(16), layers.Dense(8), layers.Dense(3)

    def call(self, input_ids: Any, attention_mask: Any) -> Any:
        x = self.table(input_ids)
        scores = ops.matmul(self.query(x), ops.transpose(self.key(x), (0, 2, 1))) / math.sqrt(8)
        scores = scores + (1.0 - ops.cast(ops.expand_dims(attention_mask, 1), "float32")) * -1e9
        x = self.norm1(x + self.out(ops.matmul(ops.softmax(scores), self.value(x))))
        x = self.norm2(x + self.outer(ops.gelu(self.inner(x), approximate=False)))
        return self.fc(x[:, 0])


def build(name: str, weights: dict[str, np.ndarray]) -> keras.Model:
    model = cnn() if name == "cnn" else Block()
    if name == "block":
        ids = np.ones((2, 6), np.int64)
        model(ids, attention_mask=ids)
    for key, array in weights.items():
        layer = model.get_layer(key) if name == "cnn" else getattr(model, key)
        if "norm" in key:
            layer.set_weights(list(array))
        elif key == "table":
            layer.set_weights([array])
        else:
            layer.set_weights([array, np.zeros(array.shape[-1], np.float32)])
    return model


def feed(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return sample
