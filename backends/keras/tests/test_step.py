from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from keras_models import BACKEND, SEEN, SGD, arrays, cnn, images, state_of, text, tokens

from finetuner.contracts import Batch
from finetuner.errors import UsageError
from finetuner.testing.objectives import Contrast

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
    assert state.model.layers["conv1"].compute_dtype == "bfloat16"
    assert adapted.layers["conv1"].compute_dtype == "float32"
    state = train(state)
    assert {a.dtype for a in arrays(state.weights).values()} == {np.dtype("float32")}
    assert BACKEND.embed(state, images(2)).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


def test_running_variances_are_keras_own() -> None:
    """Keras keeps the variance of the batch itself, PyTorch n/(n-1) times that."""
    model, sample = cnn(), images()
    state = state_of(model, sample)
    kernel = model.get_layer("conv1")
    passing = ops.convert_to_numpy(kernel(sample["image"])).reshape(-1, 4)
    state, _ = BACKEND.step(state, Batch((sample,), LABELS, 0), Contrast())
    found = arrays(state.rest)["backbone.norm1.moving_variance"]
    np.testing.assert_allclose(found, 0.99 + 0.01 * passing.var(axis=0), atol=1e-6)
