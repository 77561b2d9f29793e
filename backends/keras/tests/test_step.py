from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, SEEN, SGD, arrays, cnn, images, state_of, text, tokens

from finetuner.contracts import Batch
from finetuner.errors import UsageError
from finetuner.testing.objectives import Contrast
from finetuner_keras import engines
from finetuner_keras.optimizer import fresh_moments, update

LABELS = np.arange(8) % 2


def train(state: Any, steps: int = 3) -> Any:
    for seed in range(steps):
        state, _ = BACKEND.step(state, Batch((images(8, seed),), LABELS, seed), Contrast())
    return state


def test_frozen_batch_normalisation_keeps_weights_and_statistics_to_the_bit() -> None:
    state = state_of(cnn(), images(2), freeze="until:norm1")
    before = arrays(state.weights)
    after = arrays(train(state).weights)
    frozen = {name for name in before if name.startswith(("backbone.conv1", "backbone.norm1"))}
    assert len(frozen) == 6
    for name in before:
        assert np.array_equal(before[name], after[name]) is (name in frozen), name


def test_a_frozen_layer_has_no_optimizer_state() -> None:
    state = state_of(cnn(), images(2), freeze="until:norm1")
    assert not [n for n in state.moments["first"] if "conv1" in n or "norm1" in n]


def test_dropout_is_off_inside_frozen_layers_and_on_outside() -> None:
    def losses(freeze: str, dropout: float | None) -> float:
        state = state_of(cnn(0.9), images(2), dropout=dropout, freeze=freeze)
        return BACKEND.step(state, Batch((images(),), LABELS, 0), Contrast())[1]["loss"]

    assert losses("until:conv2", None) == pytest.approx(losses("until:conv2", 0.0), abs=1e-6)
    assert abs(losses("none", None) - losses("none", 0.0)) > 1e-3


def test_augmentation_inside_a_model_is_on_in_training_alone() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.RandomFlip("horizontal")(image))
    model, batch = keras.Model(image, layers.Dense(3, name="fc")(x)), images()

    def losses(state: Any) -> list[float]:
        found = []
        for seed in range(3):
            state, scalars = BACKEND.step(state, Batch((batch,), LABELS, seed), Contrast())
            found.append(scalars["loss"])
        return found

    options = {"output_dim": 4, "spec": replace(SGD, learning_rate=0.0)}
    one, other = (state_of(model, batch, **options) for _ in range(2))
    embedded = BACKEND.embed(one, batch)
    found = losses(one)
    assert len(set(found)) > 1
    assert found == losses(other)
    np.testing.assert_array_equal(BACKEND.embed(one, batch), embedded)


def test_dropout_follows_from_seed_and_step() -> None:
    def trained(elsewhere: int) -> dict[str, np.ndarray]:
        state = state_of(cnn(), images(2), dropout=0.5)
        keras.utils.set_random_seed(elsewhere)
        return arrays(train(state).weights)

    one, other = trained(1), trained(2)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_rate_without_a_dropout_to_set_is_refused() -> None:
    with pytest.raises(UsageError, match="no dropout to set"):
        state_of(text(), tokens(2, 5), dropout=0.2)


_RUNS: list[int] = []


def _counted() -> Any:
    """An objective that notes each run of its code: one for each time that it is compiled."""
    _RUNS.clear()

    def objective(xp: Any, *args: Any) -> Any:
        _RUNS.append(1)
        return Contrast()(xp, *args)

    return objective


@pytest.mark.keras_backend("tensorflow", "jax")
def test_a_step_is_compiled_at_most_once_for_each_length() -> None:
    state, objective = state_of(text(), tokens(2, 5)), _counted()
    SEEN.clear()
    for short, long in ((4, 4), (4, 8), (8, 12), (4, 12), (8, 8), (12, 12), (4, 8)):
        chunks = (tokens(4, short), tokens(4, long))
        state, _ = BACKEND.step(state, Batch(chunks, LABELS, short), objective)
    assert Counter(SEEN) == {(4, 4): 1, (4, 8): 1, (4, 12): 1}
    assert len(_RUNS) == 1


@pytest.mark.keras_backend("tensorflow", "jax")
def test_batches_of_one_shape_are_compiled_once() -> None:
    state, objective = state_of(cnn(), images(2)), _counted()
    for seed in range(3):
        state, _ = BACKEND.step(state, Batch((images(8, seed),), LABELS, seed), objective)
    assert len(_RUNS) == 1


def test_half_precision_trains_and_embeds_in_float32() -> None:
    model = cnn()
    adapted = state_of(model, images(2)).model
    state = BACKEND.init(adapted, SGD, seed=0, device="cpu", precision="bfloat16")
    assert state.learner.layers["conv1"].compute_dtype == "bfloat16"
    assert adapted.layers["conv1"].compute_dtype == "float32"
    whole = BACKEND.init(adapted, SGD, seed=0, device="cpu", precision="float32")
    np.testing.assert_array_equal(BACKEND.embed(state, images(2)), BACKEND.embed(whole, images(2)))
    state = train(state)
    assert {a.dtype for a in arrays(state.weights).values()} == {np.dtype("float32")}
    assert BACKEND.embed(state, images(2)).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16"])
def test_a_model_of_another_precision_is_trained_in_float32(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = cnn()
    finally:
        keras.config.set_dtype_policy("float32")
    state = train(state_of(model, images(2)))
    assert {layer.compute_dtype for layer in state.model.layers.values()} == {"float32"}
    assert {a.dtype for a in arrays(state.weights).values()} == {np.dtype("float32")}
    assert model.get_layer("conv1").dtype_policy.name == policy


def test_weight_decay_skips_biases_that_have_more_axes_than_one() -> None:
    parameters = {
        name: ops.ones((2, 4))
        for name in ("attention.query.kernel", "attention.query.bias", "gru.cell.bias")
    }
    spec = replace(SGD, weight_decay=0.5)
    gradients = {name: ops.zeros_like(p) for name, p in parameters.items()}
    values = ops.array([0.1, 1.0, 1.0])
    moments = fresh_moments(spec, parameters)
    new, _ = update(spec, {}, values, parameters, gradients, moments)
    decayed = [name for name, p in arrays(new).items() if not (p == 1.0).all()]
    assert decayed == ["attention.query.kernel"]


def test_running_variances_are_keras_own() -> None:
    """Keras keeps the variance of the batch itself, PyTorch n/(n-1) times that."""
    model, sample = cnn(), images()
    state = state_of(model, sample)
    kernel = model.get_layer("conv1")
    passing = ops.convert_to_numpy(kernel(sample["image"])).reshape(-1, 4)
    state, _ = BACKEND.step(state, Batch((sample,), LABELS, 0), Contrast())
    found = arrays(state.rest)["backbone.norm1.moving_variance"]
    np.testing.assert_allclose(found, 0.99 + 0.01 * passing.var(axis=0), atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_trains_as_the_processor_does(precision: str) -> None:
    adapted = state_of(cnn(), images(2)).model
    here = BACKEND.init(adapted, SGD, seed=0, device="cpu", precision="float32")
    there = BACKEND.init(adapted, SGD, seed=0, device="gpu", precision=precision)
    exact = precision == "float32"
    for seed in range(3):
        batch = Batch((images(8, seed),), LABELS, seed)
        here, one = BACKEND.step(here, batch, Contrast())
        there, two = BACKEND.step(there, batch, Contrast())
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3 if exact else 5e-2)
    assert BACKEND.embed(there, images(4)) == pytest.approx(
        BACKEND.embed(here, images(4)), abs=1e-3 if exact else 0.1
    )


@pytest.mark.gpu
@pytest.mark.keras_backend("tensorflow")
def test_tensorflow_compiles_a_step_with_xla_on_a_gpu() -> None:
    def total(numbers: Any) -> Any:
        return ops.sum(numbers * 2.0)

    engine = engines.current()
    with engine.on_device("gpu:0"):
        compiled = engine.compile(total)
        numbers = engine.to_tensor(np.ones(3, np.float32))
        assert float(compiled(numbers)) == 6.0
        assert "HloModule" in compiled.experimental_get_compiler_ir(numbers)(stage="hlo")
