"""The reference backend, against values worked out by hand."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from finetuner.builtin.numpy_backend import NumpyBackend
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.builtin.numpy_model import LinearModel
from finetuner.contracts import (
    AdaptationPlan,
    Batch,
    FreezeDecision,
    InputSpec,
    OptimizerSpec,
    PoolingChoice,
    Schedule,
    Tap,
)
from finetuner.errors import MissingDependencyError, ModelError, UsageError

WEIGHT = np.array([[1, 0], [0, 2], [0, 0]], np.float32)
BIAS = np.array([0, 1], np.float32)
HEAD = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
MODEL = LinearModel(WEIGHT, BIAS, HEAD)
X = {"array": np.array([[3, 1.5, 9]], np.float32)}
"""The dense layer makes (3, 4) of it, which is (0.6, 0.8) times 5."""

SGD = OptimizerSpec(
    "sgd", 0.5, weight_decay=0, momentum=0, clip_norm=None, schedule=Schedule("constant")
)


def plan(**changes: Any) -> AdaptationPlan:
    made = AdaptationPlan(
        framework="numpy",
        model="LinearModel",
        inputs=("array",),
        output="probabilities",
        head=("head",),
        taps=(Tap("head", side="input"),),
        features=None,
        pooling=None,
        width=2,
        output_dim=None,
        normalize=True,
        freeze=FreezeDecision(),
        layers=(),
        reasons=(),
    )
    return replace(made, **changes)


def state(optimizer: OptimizerSpec = SGD, **changes: Any) -> Any:
    backend = NumpyBackend()
    return backend.init(backend.adapt(MODEL, plan(**changes)), optimizer, seed=0)


class First:
    """The loss is the first feature of the first row; a part held constant adds nothing."""

    parameters: Any = {}  # noqa: RUF012  (never written to)

    def __call__(self, xp: Any, z: Any, labels: Any, parameters: Any, key: int) -> Any:
        return xp.sum(z[:1, :1] + 7 * xp.stop_gradient(z[:1, :1]) ** 2), {}


def test_the_embedding_is_what_fed_the_head_and_normalised():
    backend = NumpyBackend()
    np.testing.assert_allclose(backend.embed(state(), X), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(backend.embed(state(normalize=False), X), [[3, 4]])


@pytest.mark.parametrize(
    ("tap", "width", "expected"),
    [
        (Tap("dense"), 2, [3, 4]),
        (Tap("head", side="input"), 2, [3, 4]),
        (Tap("head"), 3, [3, 4, 0]),
        (Tap(""), 3, np.exp([-1, 0, -4]) / np.exp([-1, 0, -4]).sum()),
    ],
)
def test_every_tap_gives_the_value_at_its_point(tap, width, expected):
    made = state(taps=(tap,), width=width, normalize=False)
    np.testing.assert_allclose(NumpyBackend().embed(made, X), [expected], rtol=1e-6)


def test_a_step_is_the_one_worked_out_by_hand():
    """d(x/|x|)/dx at (3, 4) is [[16, -12], [-12, 9]] / 125: its first row is the gradient."""
    after, scalars = NumpyBackend().step(state(), Batch((X,), np.zeros(1, np.int64)), First())
    gradient = np.array([16, -12]) / 125
    assert scalars["loss"] == pytest.approx(0.6 + 7 * 0.36)
    assert scalars["grad_norm"] == pytest.approx(0.16 * np.sqrt(1 + 9 + 2.25 + 81))
    np.testing.assert_allclose(after.parameters["dense.bias"], BIAS - 0.5 * gradient, atol=1e-8)
    expected = WEIGHT - 0.5 * np.outer(X["array"][0], gradient)
    np.testing.assert_allclose(after.parameters["dense.weight"], expected, atol=1e-7)


def test_differences_hold_constant_what_the_objective_holds_constant():
    """Also where a loss asks for float32, whose rounding would drown the difference."""

    class Rounds(First):
        def __call__(self, xp: Any, z: Any, labels: Any, parameters: Any, key: int) -> Any:
            scale = xp.asarray(parameters["scale"], like=z, dtype="float32")
            loss, _ = super().__call__(xp, xp.astype(z, "float32"), labels, parameters, key)
            return loss * scale, {}

    point = np.array([[0.3, 0.4]])
    found = loss_gradients(Rounds(), point, np.zeros(1), {"scale": np.array(2.0)}, 0)
    np.testing.assert_allclose(found.embeddings, [[2, 0]], atol=1e-8)
    np.testing.assert_allclose(found.parameters["scale"], 0.3 + 7 * 0.09, atol=1e-8)
    np.testing.assert_array_equal(point, [[0.3, 0.4]])


def test_the_graph_tells_dense_layers_and_softmax():
    graph = NumpyBackend().trace(MODEL, {"array": np.zeros((4, 3), np.float32)})
    assert [(op.kind, op.layer) for op in graph.operations] == [
        ("dense", "dense"),
        ("dense", "head"),
        ("softmax", "softmax"),
    ]
    assert graph.tensor[graph.outputs[0][1]].shape == (4, 3)
    assert graph.depth == ("dense", "head")
    assert NumpyBackend().trace(LinearModel(WEIGHT, BIAS), X).depth == ("dense",)


def test_a_model_is_loaded_from_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": WEIGHT, "bias": BIAS, "head": HEAD}, path)
    loaded = NumpyBackend().load(str(path), {})
    assert loaded.reference == str(path)
    np.testing.assert_array_equal(loaded.model.head, HEAD)


def test_bad_files_and_models_are_named(tmp_path):
    backend = NumpyBackend()
    (tmp_path / "no.safetensors").write_bytes(b"none")
    save_file({"kernel": WEIGHT}, tmp_path / "other.safetensors")
    for source, words in [
        (tmp_path / "no.safetensors", "cannot be read"),
        (tmp_path / "other.safetensors", r"holds \['kernel'\]"),
        (LinearModel(WEIGHT, HEAD), "weight in×hidden"),
        (LinearModel(WEIGHT, BIAS, WEIGHT), "must be 2×classes"),
        (object(), "LinearModel or a .safetensors"),
    ]:
        with pytest.raises(ModelError, match=words):
            backend.load(source, {})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"array": np.zeros((2, 4))}, r"\(batch, 3\), not \(2, 4\)"),
        ({"array": np.zeros(3)}, r"not \(3,\)"),
        ({"image": np.zeros((2, 3))}, r"'array', not \['image'\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs, words):
    with pytest.raises(ModelError, match=words):
        NumpyBackend().embed(state(), inputs)


def test_two_inputs_cannot_be_traced():
    with pytest.raises(ModelError, match="one input"):
        NumpyBackend().trace(MODEL, {"a": np.zeros((1, 3)), "b": np.zeros((1, 3))})


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": PoolingChoice("mean")},
        {"taps": (Tap("head"), Tap("dense"))},
        {"head": ("classifier",)},
        {"freeze": FreezeDecision("lora:4", inject={"dense": 4})},
        {"freeze": FreezeDecision("auto", schedule={"dense": 2})},
    ],
)
def test_a_plan_that_a_linear_model_cannot_follow_is_refused(changes):
    with pytest.raises(ModelError):
        NumpyBackend().adapt(MODEL, plan(**changes))


def test_a_dropout_that_it_does_not_have_is_refused():
    model = NumpyBackend().adapt(MODEL, plan())
    with pytest.raises(UsageError, match=r"dropout=0\.1"):
        NumpyBackend().init(model, SGD, seed=0, dropout=0.1)


def test_export_without_onnx_names_the_package(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    spec = (InputSpec("array", "float32", (None, 3)),)
    with pytest.raises(MissingDependencyError, match="pip install onnx"):
        NumpyBackend().export(state(), Path(tmp_path / "m.onnx"), spec, X)
