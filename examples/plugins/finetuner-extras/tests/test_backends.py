"""The same three functions in every backend that is installed."""

import numpy as np
import pytest
from finetuner_extras.miner import easy_semi_hard
from finetuner_extras.pooling import log_sum_exp

import finetuner
from finetuner.contracts import PlanOptions, RunState
from finetuner.plugins import default_host
from finetuner.reference import xp as numpy_xp
from finetuner.testing.backend_case import PLAIN_SGD, plan_with_installed

UNUSED = ("head", "dropped")
INSTALLED = sorted(default_host().records("backends"))


def numpy_parts():
    from finetuner.builtin.numpy_model import LinearModel

    draw = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return np.asarray, LinearModel(draw, np.zeros(4, np.float32), draw[:4]), None


def torch_parts():
    import torch
    from torch import nn

    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.Linear(4, 3))
    mapped = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return torch.as_tensor, dense, (mapped, (3, 5, 5))


def keras_parts():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    dense = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "tanh"), layers.Dense(4), layers.Dense(3)]
    )
    mapped = keras.Sequential(
        [
            keras.Input((5, 5, 3)),
            layers.Conv2D(4, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    return keras.ops.convert_to_tensor, dense, (mapped, (5, 5, 3))


def sklearn_parts():
    from sklearn.neural_network import MLPClassifier

    dense = MLPClassifier((8, 4), max_iter=20, tol=1.0, random_state=0)
    points = np.random.default_rng(0).normal(size=(12, 6))
    return np.asarray, dense.fit(points, np.arange(12) % 3), None


PARTS = {
    "keras": keras_parts,
    "numpy": numpy_parts,
    "sklearn": sklearn_parts,
    "torch": torch_parts,
}
"""By backend: arrays of it, a classifier of six features, one with an image map and its shape."""


@pytest.fixture(params=[name for name in INSTALLED if name in PARTS])
def parts(request):
    backend = default_host().get("backends", request.param).load()
    return backend, *PARTS[request.param]()


def as_numpy(array):
    return np.asarray(array.detach() if hasattr(array, "detach") else array)


def test_the_pooling_gives_what_it_gives_in_numpy(parts):
    backend, array, *_ = parts
    features = np.random.default_rng(1).normal(size=(3, 5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    for given in (None, mask):
        expected = log_sum_exp(numpy_xp, features, given, {})
        there = None if given is None else array(given)
        found = log_sum_exp(backend.xp, array(features), there, {})
        np.testing.assert_allclose(as_numpy(found), expected, atol=1e-5)


def test_the_miner_chooses_what_it_chooses_in_numpy(parts):
    backend, array, *_ = parts
    distances = np.random.default_rng(2).random((9, 9)).astype(np.float32)
    labels, is_self = np.arange(9) % 3, np.eye(9, dtype=bool)
    expected = easy_semi_hard(numpy_xp, distances, labels, labels, is_self)
    there = [array(each) for each in (distances, labels, labels, is_self)]
    found = easy_semi_hard(backend.xp, *there)
    np.testing.assert_array_equal(as_numpy(found.valid), expected.valid)
    np.testing.assert_array_equal(
        as_numpy(found.negative)[expected.valid], expected.negative[expected.valid]
    )


def test_the_pooling_lies_between_mean_and_maximum(parts):
    backend, _, _, mapped = parts
    if mapped is None:
        pytest.skip(f"models of {backend.name} have no map to pool")
    model, shape = mapped
    images = np.random.default_rng(3).normal(size=(2, *shape)).astype(np.float32)

    def embedded(pooling, **options):
        asked = PlanOptions(pooling=pooling, pooling_options=options, normalize=False)
        plan = plan_with_installed(backend.trace(model, {"image": images}), asked)
        state = backend.init(backend.adapt(model, plan), PLAIN_SGD, seed=0, device="cpu")
        return backend.embed(state, {"image": images})

    np.testing.assert_allclose(embedded("lse", sharpness=1e-2), embedded("mean"), atol=2e-2)
    np.testing.assert_allclose(embedded("lse", sharpness=1e3), embedded("max"), atol=1e-2)


def test_a_run_mines_with_the_miner_and_freezes_by_the_policy(parts, tmp_path):
    backend, _, model, _ = parts
    pick = np.random.default_rng(4)
    labels = np.arange(24) % 3
    points = (3 * np.eye(3, 6)[labels] + pick.normal(size=(24, 6))).astype(np.float32)
    asked = {"backend": backend.name, "freeze": "surgical:1/1"}
    plan = finetuner.inspect(model, (points, labels), **asked)
    assert plan.freeze.frozen == ()
    depth = [row.name for row in plan.layers if row.parameters and row.role not in UNUSED]
    asked["freeze"] = f"surgical:{len(depth)}/{len(depth)}"
    plan = finetuner.inspect(model, (points, labels), **asked)
    assert plan.freeze.frozen == tuple(depth[:-1])
    run = finetuner.fit(
        model,
        (points, labels),
        **asked,
        loss="TripletMarginLoss",
        miner="easy-semi-hard",
        batch_size=12,
        epochs=1,
        to_onnx=False,
        home=tmp_path,
    )
    assert run.status() is RunState.FINISHED
    assert run.config.miner == "easy-semi-hard"
