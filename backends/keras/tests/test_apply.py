from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, cnn, images, nested, plan_of, state_of, text, tokens

from finetuner.errors import ModelError
from finetuner_keras.copying import copy_model


def test_without_normalisation_the_embedding_is_what_fed_the_head() -> None:
    model, sample = cnn(), images(4)
    before = keras.Model(model.inputs, model.get_layer("pool").output)
    found = BACKEND.embed(state_of(model, sample, normalize=False), sample)
    np.testing.assert_allclose(found, ops.convert_to_numpy(before([sample["image"]])), atol=1e-6)


def test_a_pooling_pools_the_feature_map_of_a_nested_model() -> None:
    model, sample = nested(), images(4)
    map_ = ops.convert_to_numpy(model.get_layer("base")(sample["image"]))
    state = state_of(model, sample, pooling="max", normalize=False)
    np.testing.assert_allclose(BACKEND.embed(state, sample), map_.max(axis=(1, 2)), atol=1e-6)


def test_a_pooling_leaves_masked_positions_out() -> None:
    model, sample = text(), tokens(2, 5)
    state = state_of(model, sample, pooling="mean")
    short = {name: values[:, :3] for name, values in sample.items()}
    mask = np.array([[1, 1, 1, 0, 0]] * 2)
    masked = {"input_ids": sample["input_ids"], "attention_mask": mask}
    np.testing.assert_allclose(BACKEND.embed(state, masked), BACKEND.embed(state, short), atol=1e-6)


def test_the_weights_of_the_head_are_left_behind() -> None:
    state = state_of(cnn(), images(2))
    assert not [name for name in state.weights if "fc" in name]


def test_flags_of_the_users_model_are_kept_and_respected() -> None:
    model = cnn()
    model.get_layer("conv1").trainable = False
    state = state_of(model, images(2))
    assert "backbone.conv1.kernel" not in state.trained
    assert "backbone.conv2.kernel" in state.trained
    assert [layer.trainable for layer in model.layers[:2]] == [False, True]


def test_a_compiled_model_is_copied_and_stays_compiled() -> None:
    model = cnn()
    model.compile("adam", "mse")
    assert not copy_model(model).compiled
    assert model.compiled


def test_a_live_lambda_layer_is_copied() -> None:
    half = layers.Lambda(lambda x: x * 0.5, name="half")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), half])
    sample = np.ones((1, 3), np.float32)
    found, expected = (ops.convert_to_numpy(m(sample)) for m in (copy_model(model), model))
    np.testing.assert_array_equal(found, expected)


def test_a_model_that_does_not_say_how_it_was_made_is_refused_before_training() -> None:
    class Opaque(keras.Model):
        def __init__(self, hidden: Any) -> None:
            super().__init__()
            self.hidden, self.fc = hidden, layers.Dense(2)

        def call(self, array: Any) -> Any:
            return self.fc(self.hidden(array))

    model, sample = Opaque(layers.Dense(4)), {"array": np.ones((2, 3), np.float32)}
    model(sample["array"])
    with pytest.raises(ModelError, match=r"Opaque cannot be copied.*get_config\(\)"):
        BACKEND.adapt(model, plan_of(model, sample))


def test_a_plan_for_another_framework_is_refused() -> None:
    plan = replace(plan_of(cnn(), images(2)), framework="torch")
    with pytest.raises(ModelError, match=r"made for 'torch', and the model is Keras's"):
        BACKEND.adapt(cnn(), plan)
