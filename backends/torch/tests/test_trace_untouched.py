"""Tracing leaves the user's model, its surroundings and the random states as they were."""

from __future__ import annotations

import copy
import functools
import random
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from finetuner.errors import ModelError
from finetuner_torch.trace import trace

SAMPLE = {"array": np.ones((2, 4), np.float32)}
COUNTER = {"calls": 0}
SEEN: list[torch.Tensor] = []


class Stateful(nn.Module):
    """Writes into buffers, attributes, containers and a global when called."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("queue", torch.zeros(2, 4))
        self.last = None
        self.history: list[Any] = []
        self.cache: dict[str, Any] = {"nested": {}}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        self.queue.copy_(x)
        self.last = x
        self.added = x
        self.history.append(x)
        self.cache["nested"]["x"] = x
        COUNTER["calls"] += 1
        self.fc.weight.requires_grad_(False)
        torch.rand(1), np.random.rand(), random.random()
        return self.fc(x)


class Real(Stateful):
    """The same, and impossible without data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum().item() < 0:
            return x
        with torch.no_grad():
            self.fc.weight.mul_(0.5)
        return super().forward(x)


def _fingerprint(model: nn.Module) -> dict[str, Any]:
    """Identity and contents of everything that a module holds."""
    state = {name: (id(t), t.detach().clone()) for name, t in model.state_dict().items()}
    state = {name: value for name, (_, value) in state.items()}
    flags = {n: (id(p), p.requires_grad) for n, p in model.named_parameters()}
    attributes = {
        name: {k: id(v) for k, v in vars(module).items()} for name, module in model.named_modules()
    }
    modes = {name: module.training for name, module in model.named_modules()}
    return {"state": state, "flags": flags, "attributes": attributes, "modes": modes}


def _assert_unchanged(before: dict[str, Any], model: nn.Module) -> None:
    after = _fingerprint(model)
    assert all(torch.equal(before["state"][n], t) for n, t in after["state"].items())
    assert before["state"].keys() == after["state"].keys()
    for aspect in ("flags", "attributes", "modes"):
        assert before[aspect] == after[aspect]


@pytest.mark.parametrize("kind", [Stateful, Real])
@pytest.mark.parametrize("training", [True, False])
def test_buffers_attributes_caches_and_flags_stay(kind: type[Stateful], training: bool) -> None:
    model = kind().train(training)
    model.fc.train(not training)
    before = _fingerprint(model)

    graph = trace(model, SAMPLE)

    _assert_unchanged(before, model)
    assert (model.history, model.cache, COUNTER) == ([], {"nested": {}}, {"calls": 0})
    assert [o.kind for o in graph.operations if o.layer == "fc"] == ["dense"]


@pytest.mark.parametrize("kind", [Stateful, Real])
def test_random_states_stay(kind: type[Stateful]) -> None:
    model = kind()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)

    trace(model, SAMPLE)

    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_a_model_that_fails_is_put_back_too() -> None:
    class Failing(Real):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            raise ValueError("nothing works")

    model = Failing()
    before = _fingerprint(model)

    with pytest.raises(ModelError, match="nothing works"):
        trace(model, SAMPLE)

    _assert_unchanged(before, model)


def test_batch_statistics_and_their_count_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).train()
    before = _fingerprint(model)

    trace(model, SAMPLE)

    _assert_unchanged(before, model)


def test_the_model_trains_as_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    twin = copy.deepcopy(model)

    trace(model, SAMPLE)

    for net in (model, twin):
        net(torch.ones(3, 4).cumsum(0)).sum().backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("used", [False, True])
def test_an_old_weight_norm_keeps_a_real_weight(used: bool) -> None:
    with pytest.warns(FutureWarning):
        model = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(4, 3)))
    if used:
        model(torch.ones(1, 4))
    weight = model[0].weight

    (operation,) = trace(model, SAMPLE).operations

    assert model[0].weight is weight
    assert not isinstance(model[0].weight, FakeTensor)
    assert "0.weight_v" in operation.parameters


@pytest.mark.parametrize(
    "normalise",
    [
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
        torch.nn.utils.spectral_norm,
    ],
)
def test_reparametrised_weights_stay(normalise: Any) -> None:
    model = normalise(nn.Linear(4, 3)).train()
    model(torch.ones(1, 4))
    before = _fingerprint(model)

    trace(model, SAMPLE)

    _assert_unchanged(before, model)


def test_hooks_leave_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    captured: dict[str, torch.Tensor] = {}
    calls = 0

    def capture(module: nn.Module, args: Any, output: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        captured["output"] = output
        SEEN.append(output)
        model.features = output

    model[0].register_forward_hook(capture)
    hooks = list(model[0]._forward_hooks.items())

    trace(model, SAMPLE)

    assert captured == {}
    assert not SEEN
    assert calls == 0
    assert not hasattr(model, "features")
    assert list(model[0]._forward_hooks.items()) == hooks
    assert not model[1]._forward_hooks


def test_a_hook_that_changes_the_output_is_part_of_the_dataflow() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].register_forward_hook(lambda module, args, output: output.relu())

    graph = trace(model, SAMPLE)

    assert [o.kind for o in graph.operations] == ["dense", "activation"]
    (call,) = [c for c in graph.calls if c.layer == "0"]
    assert call.outputs == graph.operations[1].outputs


@functools.lru_cache
def _grid(size: int) -> torch.Tensor:
    return torch.arange(size, dtype=torch.float32)


def test_function_caches_hold_no_tensors_of_the_trace() -> None:
    class Cached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + _grid(x.shape[1])

    trace(Cached(), SAMPLE)

    assert type(_grid(4)) is torch.Tensor
    assert not _grid(4).is_inference()


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight

    trace(model, SAMPLE)

    assert model[1].weight is model[0].weight


def test_what_cannot_be_copied_is_run_with_data() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    model.lock = threading.Lock()
    before = _fingerprint(model)

    graph = trace(model, SAMPLE)

    assert [o.kind for o in graph.operations] == ["dense", "activation"]
    _assert_unchanged(before, model)


def test_gradients_that_were_there_stay() -> None:
    model = Real()
    model.fc(torch.ones(1, 4)).sum().backward()
    gradient = model.fc.weight.grad

    trace(model, SAMPLE)

    assert model.fc.weight.grad is gradient


class Making(OrderedDict):
    """Makes what is asked for, as registries of activations do."""

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)()


def test_a_registry_that_makes_things_when_read_stays() -> None:
    model = nn.Linear(4, 3)
    model.registry = Making(relu=nn.ReLU, gelu=nn.GELU)

    trace(model, SAMPLE)

    assert list(model.registry.values()) == [nn.ReLU, nn.GELU]
    assert isinstance(model.registry["relu"], nn.ReLU)


def test_modules_are_called_as_before() -> None:
    call = nn.Module.__call__

    trace(nn.Linear(4, 3), SAMPLE)

    assert nn.Module.__call__ is call
