"""The same learning code in numpy and PyTorch: values, and gradients against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from finetuner.builtin import numpy_xp
from finetuner.builtin.learning import DISTANCES, LOSSES, MINERS, POOLINGS
from finetuner.learning import References, make_objective
from finetuner_torch import xp

LOSS = {record.name: record for record in LOSSES}
MINER = {record.name: record for record in MINERS}
DISTANCE = {record.name: record for record in DISTANCES}
STEP = 1e-6

OBJECTIVES = [
    *(("TripletMarginLoss", miner, {}) for miner in MINER),
    *(
        ("TripletMarginLoss", miner, {"soft_margin": True})
        for miner in ("hard", "semi-hard", "easy-hard")
    ),
    ("NTXentLoss", None, {}),
    ("SupConLoss", None, {"temperature": 0.1}),
    ("ContrastiveLoss", None, {"pos_margin": 0.1, "neg_margin": 1.1}),
]


def objective(loss: str, miner: str | None, distance: str, options: Any = None) -> Any:
    return make_objective(
        LOSS[loss],
        DISTANCE[distance],
        MINER[miner] if miner else None,
        loss_options=options,
        classes=4,
        width=6,
    )


def batch(size: int = 16, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float64, no two candidates of which tie."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, width)) * 0.5, np.arange(size) % 4


def differences(function: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Central differences of a scalar function, in float64."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += STEP
        down[index] -= STEP
        gradient[index] = (float(function(up)) - float(function(down))) / (2 * STEP)
    return gradient


@pytest.mark.parametrize("distance", DISTANCE)
@pytest.mark.parametrize(("loss", "miner", "options"), OBJECTIVES)
def test_losses_and_gradients_agree(
    loss: str, miner: str | None, options: Any, distance: str
) -> None:
    function = objective(loss, miner, distance, options)
    x, labels = batch()

    def of_numpy(values: np.ndarray) -> Any:
        return function(numpy_xp, values, labels, {}, 0)

    expected, expected_scalars = of_numpy(x)
    leaf = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    value, scalars = function(xp, leaf, torch.tensor(labels), {}, 0)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, abs=1e-5)
    for name, scalar in expected_scalars.items():
        assert scalars[name].item() == pytest.approx(scalar, abs=1e-5)
        assert not scalars[name].requires_grad
    expected_gradient = differences(lambda values: of_numpy(values)[0], x)
    np.testing.assert_allclose(leaf.grad, expected_gradient, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("miner", MINER)
def test_miners_choose_the_same(miner: str) -> None:
    rng = np.random.default_rng(1)
    labels, references = rng.integers(0, 4, 12), rng.integers(0, 4, 30)
    distances = rng.random((12, 30)).astype(np.float32)
    is_self = np.eye(12, 30, 7, dtype=bool)
    arrays = (distances, labels, references, is_self)
    expected = MINER[miner].function(numpy_xp, *arrays, 0)
    found = MINER[miner].function(xp, *map(torch.from_numpy, arrays), 0)
    if MINER[miner].yields == "pair_weights":
        np.testing.assert_array_equal(found.weights, expected.weights)
    else:
        np.testing.assert_array_equal(found.valid, expected.valid)
        chosen = expected.valid
        np.testing.assert_array_equal(found.negative[chosen], expected.negative[chosen])


def test_references_get_no_gradient_that_is_not_asked_for() -> None:
    x, labels = batch()
    memory = torch.tensor(x[:5], dtype=torch.float32)
    leaf = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    references = References(memory, torch.tensor(labels[:5]))
    function = objective("SupConLoss", None, "cosine")
    value, _ = function(xp, leaf, torch.tensor(labels), {}, 0, references=references)
    value.backward()
    expected, _ = function(numpy_xp, x, labels, {}, 0, references=References(x[:5], labels[:5]))
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert memory.grad is None


@pytest.mark.parametrize("distance", DISTANCE)
@pytest.mark.parametrize(("loss", "miner", "options"), OBJECTIVES)
def test_identical_and_zero_vectors_leave_gradients_finite(
    loss: str, miner: str | None, options: Any, distance: str
) -> None:
    x, labels = batch()
    x[4] = x[0]  # of one class
    x[1] = x[2]  # of two classes
    x[3] = x[7] = 0.0
    leaf = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    value, _ = objective(loss, miner, distance, options)(xp, leaf, torch.tensor(labels), {}, 0)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().max() < 1e3


def test_a_collapsed_batch_has_no_nan() -> None:
    leaf = torch.ones(8, 4, requires_grad=True)
    labels = torch.arange(8) % 4
    for loss, miner, options in OBJECTIVES:
        value, _ = objective(loss, miner, "euclidean", options)(xp, leaf, labels, {}, 0)
        value.backward()
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("apart", [1e-5, 1e-4, 1e-2])
def test_close_pairs_keep_their_distance(apart: float) -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(1, 384))
    centre /= np.linalg.norm(centre)
    directions = rng.normal(size=(60, 384))
    x = centre + apart * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    x = x.astype(np.float32)
    exact = np.sqrt(((x[:, None].astype(np.float64) - x[None]) ** 2).sum(axis=2))
    found = DISTANCE["euclidean"].function(xp, torch.tensor(x), torch.tensor(x))
    np.testing.assert_allclose(found, exact, atol=1e-7, rtol=1e-4)


def test_a_close_pair_is_pushed_along_its_difference() -> None:
    a = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    b = torch.tensor([[1.0, 1e-4, 0.0]])
    DISTANCE["euclidean"].function(xp, a, b).sum().backward()
    torch.testing.assert_close(a.grad, torch.tensor([[0.0, -1.0, 0.0]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("record", POOLINGS, ids=lambda record: record.name)
@pytest.mark.parametrize("masked", [True, False])
def test_poolings_and_their_gradients_agree(record: Any, masked: bool) -> None:
    rng = np.random.default_rng(2)
    features = rng.random((4, 5, 3)) + 0.1
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    weights = rng.normal(size=(4, 3))
    parameters = record.parameters(3) if record.parameters else {}

    def of_numpy(values: np.ndarray) -> Any:
        return record.function(numpy_xp, values, mask if masked else None, parameters)

    leaf = torch.tensor(features, dtype=torch.float32, requires_grad=True)
    learnt = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    found = record.function(xp, leaf, torch.tensor(mask) if masked else None, learnt)
    (found * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(found.detach(), of_numpy(features), atol=1e-5)
    expected = differences(lambda values: (of_numpy(values) * weights).sum(), features)
    np.testing.assert_allclose(leaf.grad, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.isfinite(value.grad).all() for value in learnt.values())


def test_the_power_of_gem_learns() -> None:
    record = next(record for record in POOLINGS if record.name == "gem")
    features = np.random.default_rng(3).random((2, 4, 3)) + 0.1
    power = torch.tensor([3.0], requires_grad=True)
    record.function(xp, torch.tensor(features), None, {"p": power}).sum().backward()
    expected = differences(
        lambda p: record.function(numpy_xp, features, None, {"p": p}).sum(), np.array([3.0])
    )
    np.testing.assert_allclose(power.grad, expected, atol=1e-5)


@pytest.mark.parametrize(("loss", "miner", "options"), OBJECTIVES)
def test_compiled_as_one_graph_gives_the_same(loss: str, miner: str | None, options: Any) -> None:
    torch._dynamo.reset()
    function = objective(loss, miner, "euclidean" if miner == "all" else "cosine", options)
    x, labels = batch()
    leaf = torch.tensor(x, dtype=torch.float32, requires_grad=True)

    def run(embeddings: Any, labels: Any) -> Any:
        return function(xp, embeddings, labels, {}, 0)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    value, scalars = compiled(leaf, torch.tensor(labels))
    value.backward()
    again = leaf.detach().clone().requires_grad_()
    expected, expected_scalars = run(again, torch.tensor(labels))
    expected.backward()
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(scalars, expected_scalars, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(leaf.grad, again.grad, atol=1e-6, rtol=1e-4)
