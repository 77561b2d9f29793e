from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, cnn, images, nested, plan_of, text, tokens

from finetuner.errors import ModelError
from finetuner_keras.layers import named_layers


def kinds(model: keras.Model, sample: Any) -> list[str]:
    return [o.kind for o in BACKEND.trace(model, sample).operations if o.kind != "reshape"]


def test_a_layer_is_one_operation_and_its_activation_another() -> None:
    assert kinds(cnn(), images(2)) == [
        "conv", "norm", "activation", "dropout", "conv", "norm", "pool", "dense", "softmax",
    ]  # fmt: skip


def test_the_head_is_found_behind_its_softmax() -> None:
    plan = plan_of(cnn(), images(2))
    assert plan.head == ("fc",)
    assert (plan.taps[0].layer, plan.taps[0].side, plan.width) == ("fc", "input", 6)
    assert plan.features is not None
    assert plan.features.layout == "channels-last"
    assert plan.features.tap.layer == "norm2"


def test_nested_models_are_looked_into() -> None:
    plan = plan_of(nested(), images(2), pooling="max")
    assert plan.features is not None
    assert plan.features.tap.layer == "base.conv"
    assert BACKEND.trace(nested(), images(2)).depth == ("base.conv", "fc")


def test_subclassed_models_are_looked_into() -> None:
    graph = BACKEND.trace(text(), tokens(2, 5))
    assert graph.depth == ("table", "dense", "fc")
    plan = plan_of(text(), tokens(2, 5), pooling="mean")
    assert plan.head == ("fc",)
    assert plan.features is not None
    assert plan.features.mask == "attention_mask"


def test_tracing_leaves_the_models_own_graph_alone() -> None:
    model = nested()
    before = {layer.name: len(layer._inbound_nodes) for layer in model._flatten_layers()}
    BACKEND.trace(model, images(2))
    assert {layer.name: len(layer._inbound_nodes) for layer in model._flatten_layers()} == before
    assert model.get_layer("base").output.shape == (None, 6, 6, 6)


def test_a_normalisation_spelt_out_is_recognised() -> None:
    array = keras.Input((4,))
    x = layers.Dense(3)(array)
    model = keras.Model(array, x / ops.norm(x, axis=-1, keepdims=True))
    assert "l2norm" in kinds(model, {"array": np.ones((2, 4), np.float32)})


def test_weights_that_a_layers_own_code_reads_are_its_operations() -> None:
    class Scaled(layers.Layer):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

        def call(self, x: Any) -> Any:
            return ops.matmul(x, self.kernel)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Scaled(name="scaled")])
    graph = BACKEND.trace(model, {"array": np.ones((2, 4), np.float32)})
    assert graph.operations[-1].kind == "dense"
    assert graph.operations[-1].parameters == ("scaled.kernel",)


# What cannot be interpreted


def test_an_unbuilt_model_is_refused() -> None:
    for model in (keras.Sequential([layers.Dense(3)]), type(text())()):
        with pytest.raises(ModelError, match=r"no weights yet.*call it once"):
            BACKEND.trace(model, {"array": np.ones((2, 4), np.float32)})


@pytest.mark.keras_backend("tensorflow")
def test_a_model_with_string_inputs_is_refused() -> None:
    words = keras.Input((), dtype="string", name="words")
    vectorize = layers.TextVectorization(10, output_sequence_length=4, vocabulary=["a", "b"])
    model = keras.Model(words, layers.Dense(2)(layers.Embedding(10, 3)(vectorize(words))))
    with pytest.raises(ModelError, match=r"takes strings.*TextVectorization"):
        BACKEND.trace(model, {"input_ids": np.ones((2, 4), np.int64)})
    with pytest.raises(ModelError, match="takes strings"):
        BACKEND.load(model, {})


def test_a_model_that_holds_a_torch_module_is_refused_by_name() -> None:
    torch = pytest.importorskip("torch")

    class Mixed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Linear(4, 3)
            self.head = layers.Dense(2)
            self.head.build((None, 4))

        def call(self, array: Any) -> Any:
            return self.head(array)

    model = Mixed()
    model(np.ones((2, 4), np.float32))
    with pytest.raises(ModelError, match=r"Mixed holds a PyTorch module \('body'\)"):
        BACKEND.trace(model, {"array": np.ones((2, 4), np.float32)})


def test_inputs_of_another_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(ModelError, match=r"could not be interpreted.*2, 3, 8, 8"):
        BACKEND.trace(cnn(), {"image": np.ones((2, 3, 8, 8), np.float32)})


def test_inputs_that_the_model_does_not_have_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"cannot take 'input_ids', 'attention_mask'"):
        BACKEND.trace(cnn(), tokens(2, 5))


def test_a_channels_first_model_is_refused() -> None:
    array = keras.Input((3, 8, 8))
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow on a processor builds no channels-first convolution")
    model = keras.Model(array, layers.Conv2D(4, 3, data_format="channels_first")(array))
    with pytest.raises(ModelError, match="channels-first"):
        BACKEND.trace(model, {"image": np.ones((2, 3, 8, 8), np.float32)})


def test_parts_of_attention_have_the_same_names_on_every_keras_backend() -> None:
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    x = keras.Input((3, 8))
    named = named_layers(keras.Model(x, attention(x, x)))
    parts = ("query", "key", "value", "output")
    assert {f"attention.{part}_dense" for part in parts} <= set(named)
