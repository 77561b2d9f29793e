"""Core's reference backend against PyTorch: optimizers, clipping and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from finetuner.builtin.numpy_backend import NumpyBackend
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.builtin.numpy_model import LinearModel
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.contracts import Batch, OptimizerSpec, PlanOptions, Schedule
from finetuner.learning import make_objective
from finetuner.plugins import default_host
from finetuner.testing.backend_case import plan_with_installed
from finetuner.testing.objectives import Contrast
from finetuner_torch import xp
from finetuner_torch.backend import TorchBackend

CONSTANT = Schedule("constant")


def torch_optimizer(spec: OptimizerSpec, parameters: dict[str, torch.Tensor]) -> Any:
    groups = [
        {"params": [p], "weight_decay": spec.weight_decay if p.ndim >= 2 else 0.0}
        for p in parameters.values()
    ]
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=spec.betas, eps=spec.eps)
    return torch.optim.SGD(
        groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov
    )


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec("adamw", 0.1, weight_decay=0.2, schedule=CONSTANT, clip_norm=None),
        OptimizerSpec("adamw", 0.1, betas=(0.5, 0.6), eps=0.3, schedule=CONSTANT, clip_norm=1.0),
        OptimizerSpec("sgd", 0.1, weight_decay=0.2, schedule=CONSTANT, clip_norm=None),
        OptimizerSpec("sgd", 0.1, momentum=0.0, schedule=CONSTANT, clip_norm=0.3),
        OptimizerSpec("sgd", 0.1, momentum=0.7, nesterov=True, schedule=CONSTANT),
    ],
)
def test_updates_are_pytorchs_to_the_last_digits(spec):
    rng = np.random.default_rng(0)
    values = {"weight": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in values.items()}
    optimizer, moments = torch_optimizer(spec, theirs), Moments()
    for _ in range(5):
        gradients = {name: rng.normal(size=array.shape) for name, array in values.items()}
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradients[name])
        clipped, norm = clip(gradients, spec.clip_norm)
        if spec.clip_norm is not None:
            their_norm = torch.nn.utils.clip_grad_norm_(theirs.values(), spec.clip_norm)
            assert norm == pytest.approx(float(their_norm), rel=1e-12)
        optimizer.step()
        values, moments = update(spec, values, clipped, moments)
        for name, parameter in theirs.items():
            np.testing.assert_allclose(values[name], parameter.detach().numpy(), rtol=1e-12)


def test_differences_are_what_autograd_finds():
    rng = np.random.default_rng(1)
    labels = np.arange(6) % 2
    embeddings = rng.normal(size=(6, 3))
    objective = Contrast({"scale": np.array(3.0, np.float32)})
    found = loss_gradients(objective, embeddings, labels, objective.parameters, 0)
    z = torch.tensor(embeddings, requires_grad=True)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    loss, _ = objective(xp, z, torch.tensor(labels), {"scale": scale}, 0)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    np.testing.assert_allclose(found.embeddings, z.grad.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.parameters["scale"], scale.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("loss", ["TripletMarginLoss", "NTXentLoss", "SupConLoss"])
def test_training_on_pytorch_follows_the_reference(loss):
    """The same weights and batches: the same losses, gradients and embeddings, step after step."""
    host = default_host()
    if loss not in host.records("losses"):
        pytest.skip(f"there is no {loss}")
    record = host.get("losses", loss)
    objective = make_objective(
        record,
        host.get("distances", record.distance or "cosine"),
        host.get("miners", record.miner) if record.miner else None,
        classes=3,
        width=3,
    )
    rng = np.random.default_rng(2)
    linear = LinearModel(rng.normal(size=(5, 3)).astype(np.float32), np.zeros(3, np.float32))
    module = torch.nn.Linear(5, 3)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(linear.weight.T.copy()))
        module.bias.zero_()
    spec = OptimizerSpec(learning_rate=0.02, eps=1e-3, schedule=Schedule("linear", 2, 6))
    sides = [side(NumpyBackend(), linear, spec), side(TorchBackend(), module, spec)]
    for step in range(4):
        array = rng.normal(size=(9, 5)).astype(np.float32)
        reports = []
        for at, (backend, state, name) in enumerate(sides):
            chunks = ({name: array[:4]}, {name: array[4:]})
            state, scalars = backend.step(state, Batch(chunks, np.arange(9) % 3, step), objective)
            sides[at] = (backend, state, name)
            reports.append((scalars, backend.embed(state, {name: array})))
        (ours, our_vectors), (theirs, their_vectors) = reports
        for name in ("loss", "grad_norm", "learning_rate"):
            assert theirs[name] == pytest.approx(ours[name], rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(their_vectors, our_vectors, atol=2e-5)


def side(backend: Any, model: Any, spec: OptimizerSpec) -> tuple[Any, Any, str]:
    """A backend, a fresh state of the model without a head, and its input's name."""
    name = "array" if backend.name == "numpy" else "input"
    graph = backend.trace(model, {name: np.zeros((2, 5), np.float32)})
    plan = plan_with_installed(graph, PlanOptions(head=None))
    state = backend.init(backend.adapt(model, plan), spec, seed=0, device="cpu")
    return backend, state, name
