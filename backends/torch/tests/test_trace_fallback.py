"""Models that cannot run without data are run once with it, and recorded the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from finetuner_torch.trace import trace

SAMPLE = {"array": np.ones((2, 4), np.float32)}


def _net(forward: Any, **members: nn.Module) -> nn.Module:
    net = type("Net", (nn.Module,), {"forward": forward})()
    for name, member in members.items():
        setattr(net, name, member)
    return net


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    "compiled",
    [torch.jit.script, lambda model: torch.jit.trace(model.eval(), torch.ones(2, 4))],
    ids=["script", "trace"],
)
def test_torchscript(compiled: Any) -> None:
    graph = trace(compiled(_mlp()), SAMPLE)

    assert [o.kind for o in graph.operations] == ["dense", "activation", "dense"]
    assert graph.operations[2].parameters == ("2.weight", "2.bias")
    assert graph.depth == ("0", "2")


def test_a_torchscript_part() -> None:
    graph = trace(nn.Sequential(torch.jit.script(_mlp()), nn.Linear(2, 2)), SAMPLE)

    assert graph.depth == ("0.0", "0.2", "1")
    assert graph.operations[-1].inputs == graph.operations[-2].outputs


def test_a_decision_on_data() -> None:
    model = _net(lambda self, x: self.a(x) if x.mean().item() > 0 else self.b(x))
    model.a, model.b = nn.Linear(4, 2), nn.Linear(4, 3)

    assert trace(model, SAMPLE).operations[-1].layer == "a"


def test_a_trip_through_numpy_that_shares_memory() -> None:
    graph = trace(
        _net(lambda self, x: self.fc(torch.from_numpy(x.detach().numpy())), fc=nn.Linear(4, 2)),
        SAMPLE,
    )
    dense = graph.operations[-1]

    assert dense.kind == "dense"
    assert dense.inputs


def test_a_computation_in_numpy_joins_what_went_in_and_what_came_out() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        hidden = self.fc(x).detach().numpy()
        return self.head(torch.from_numpy(np.tanh(hidden)))

    graph = trace(_net(forward, fc=nn.Linear(4, 3), head=nn.Linear(3, 2)), SAMPLE)

    operation, reached = graph.operations[-1], []
    while operation is not None:
        reached.append(operation.layer)
        operation = graph.producer.get(operation.inputs[0])
    assert reached[0] == "head"
    assert "fc" in reached


def test_a_constant_of_the_module_is_not_taken_for_data() -> None:
    model = _net(
        lambda self, x: self.fc(x * self.scale) if x.sum().item() else x, fc=nn.Linear(4, 2)
    )
    model.scale = torch.full((4,), 2.0)

    graph = trace(model, SAMPLE)

    assert "outside_torch" not in [o.name for o in graph.operations]


@pytest.mark.filterwarnings("ignore")
def test_dynamically_quantised_layers() -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build has no quantised kernels")
    model = torch.ao.quantization.quantize_dynamic(_mlp(), {nn.Linear})

    graph = trace(model, SAMPLE)

    assert [(o.kind, o.layer) for o in graph.operations] == [
        ("dense", "0"),
        ("activation", "1"),
        ("dense", "2"),
    ]
