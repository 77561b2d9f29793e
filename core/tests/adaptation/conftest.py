"""Hand-made graphs: a small language in which a test writes down a model's dataflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from finetuner.adaptation import make_plan
from finetuner.builtin.adaptation import ADAPTERS, FREEZING
from finetuner.contracts import (
    AdaptationPlan,
    Layer,
    LayerCall,
    ModelGraph,
    Operation,
    Parameter,
    PlanOptions,
    PoolingRecord,
    Tensor,
)

BATCH = 2
Shape = tuple[int, ...]


class Sketch:
    """Records operations as a trace would. Shapes are given without the batch.

    ``run`` is an operation in a module of its own, ``inline`` one in ``within``
    ("" is the model). ``weights`` map a parameter's last name to its shape.
    """

    def __init__(self, framework: str = "torch", **facts: object) -> None:
        self.framework, self.facts = framework, dict(facts)
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.held: dict[str, tuple[str, dict[str, Parameter]]] = {"": ("Model", {})}
        self.calls: list[LayerCall] = []
        self.inputs: list[tuple[str, int]] = []

    def input(self, name: str, *shape: int, dtype: str = "float32") -> int:
        self.inputs.append((name, self._tensor((BATCH, *shape), dtype)))
        return self.inputs[-1][1]

    def run(
        self,
        layer: str,
        kind: str,
        inputs: Sequence[int] | int,
        shape: Shape,
        weights: Mapping[str, Shape] | None = None,
        *,
        statistics: Mapping[str, Shape] | None = None,
        trainable: bool = True,
        tied: Sequence[str] = (),
    ) -> int:
        """One operation in a module of its own. ``tied`` are weights that others hold."""
        names = [
            *self.hold(layer, weights or {}, kind, trainable=trainable),
            *self.hold(layer, statistics or {}, kind, statistic=True),
            *tied,
        ]
        number = sum(call.layer == layer for call in self.calls)
        out = self.inline(kind, inputs, shape, names, within=layer, call=number)
        at = len(self.operations) - 1
        self.calls.append(LayerCall(layer, number, self.operations[at].inputs, (out,), at, at))
        return out

    def inline(
        self,
        kind: str,
        inputs: Sequence[int] | int,
        shape: Shape,
        parameters: Sequence[str] = (),
        *,
        within: str = "",
        call: int = 0,
        dtype: str = "float32",
        name: str | None = None,
    ) -> int:
        given = (inputs,) if isinstance(inputs, int) else tuple(inputs)
        out = self._tensor((BATCH, *shape), dtype)
        self.operations.append(
            Operation(
                len(self.operations), name or kind, kind, within, call, given, (out,),
                tuple(parameters),
            )
        )  # fmt: skip
        return out

    def hold(
        self,
        layer: str,
        weights: Mapping[str, Shape],
        kind: str = "Module",
        *,
        trainable: bool = True,
        statistic: bool = False,
    ) -> list[str]:
        """Give a module parameters; returns their full names."""
        _, held = self.held.setdefault(layer, (kind, {}))
        names = [f"{layer}.{name}".lstrip(".") for name in weights]
        for name, shape in zip(names, weights.values(), strict=True):
            held[name] = Parameter(name, shape, "float32", trainable, statistic)
        return names

    def around(self, layer: str, inputs: Sequence[int], outputs: Sequence[int], first: int) -> None:
        """A container's call, from operation ``first`` to the latest one."""
        self.held.setdefault(layer, ("Container", {}))
        number = sum(call.layer == layer for call in self.calls)
        last = len(self.operations) - 1
        self.calls.append(LayerCall(layer, number, tuple(inputs), tuple(outputs), first, last))

    def dense(self, layer: str, source: int, width: int) -> int:
        *lead, before = self.tensors[source].shape[1:]
        return self.run(
            layer, "dense", source, (*lead, width), {"weight": (width, before), "bias": (width,)}
        )

    def conv(self, layer: str, source: int, channels: int, size: int, kernel: int = 3) -> int:
        before = self.tensors[source].shape[1]
        weight = {"weight": (channels, before, kernel, kernel)}
        return self.run(layer, "conv", source, (channels, size, size), weight)

    def norm(self, layer: str, source: int, axis: int = -1) -> int:
        shape = self.tensors[source].shape
        return self.run(layer, "norm", source, shape[1:], {"weight": (shape[axis],)})

    def same(self, layer: str, kind: str, source: int) -> int:
        """A module without parameters that keeps the shape."""
        return self.run(layer, kind, source, self.tensors[source].shape[1:])

    def graph(self, *outputs: int, names: Sequence[str] | None = None) -> ModelGraph:
        named = tuple(zip(names or map(str, range(len(outputs))), outputs, strict=True))
        root = LayerCall(
            "", 0, tuple(t for _, t in self.inputs), outputs, 0, len(self.operations) - 1
        )
        layers = tuple(
            Layer(name, kind, tuple(held.values())) for name, (kind, held) in self.held.items()
        )
        return ModelGraph(
            self.framework, tuple(self.tensors), tuple(self.operations), layers,
            (root, *self.calls), tuple(self.inputs), named, self.facts,
        )  # fmt: skip

    def _tensor(self, shape: Shape, dtype: str) -> int:
        self.tensors.append(Tensor(len(self.tensors), shape, dtype))
        return len(self.tensors) - 1


def _positional(xp, features, mask, parameters):  # type: ignore[no-untyped-def]
    return features


def _with_power(xp, features, mask, parameters, *, eps=1e-6):  # type: ignore[no-untyped-def]
    return features


POOLINGS = {
    "mean": PoolingRecord("mean", _positional),
    "max": PoolingRecord("max", _positional),
    "last": PoolingRecord("last", _positional, ranks=(3,)),
    "cls": PoolingRecord("cls", _positional, ranks=(3,)),
    "gem": PoolingRecord("gem", _with_power, parameters=lambda width: {"p": 3.0}),
}

Plan = Callable[..., AdaptationPlan]


@pytest.fixture(name="sketch")
def sketch_class() -> type[Sketch]:
    return Sketch


@pytest.fixture
def plan() -> Plan:
    """``plan(graph, **options)`` with core's own adapters and policies."""

    def make(graph: ModelGraph, *, adapters=ADAPTERS, measure=None, **options: object):  # type: ignore[no-untyped-def]
        return make_plan(
            graph,
            PlanOptions(**options),  # type: ignore[arg-type]
            adapters=adapters,
            poolings=POOLINGS,
            freezing={record.name: record for record in FREEZING},
            measure=measure,
        )

    return make


def mlp() -> ModelGraph:
    """Dense → activation → dense, 6 → 8 → 5."""
    s = Sketch()
    hidden = s.same("act", "activation", s.dense("first", s.input("array", 6), 8))
    return s.graph(s.dense("second", hidden, 5))


def cnn() -> ModelGraph:
    """Two convolutions with batch normalisation, global pooling, dense, softmax."""
    s = Sketch()
    x = s.conv("conv1", s.input("image", 3, 8, 8), 4, 8)
    x = s.same("act1", "activation", s.norm("bn1", x, axis=1))
    x = s.same("act2", "activation", s.norm("bn2", s.conv("conv2", x, 8, 4), axis=1))
    x = s.inline("reshape", s.run("pool", "pool", x, (8, 1, 1)), (8,))
    return s.graph(s.same("softmax", "softmax", s.dense("fc", x, 5)))


def encoder(*, mask: bool = True, extra: str = "") -> ModelGraph:
    """Token embeddings, attention, normalisation; then nothing, or a classifier on token 0."""
    s = Sketch()
    ids = s.input("input_ids", 7, dtype="int64")
    masks = [s.input("attention_mask", 7, dtype="int64")] if mask else []
    x = s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)})
    added = [s.inline("reshape", m, (1, 1, 7)) for m in masks]
    q = s.dense("attend.query", x, 8)
    x = s.inline("combine", [x, s.inline("attention", [q, x, *added], (7, 8))], (7, 8))
    x = s.norm("norm", x)
    if extra != "classifier":
        return s.graph(x)
    first = s.inline("select", x, (8,))
    pooled = s.same("tanh", "activation", s.dense("pooler", first, 8))
    return s.graph(s.dense("classifier", pooled, 3), names=["logits"])


@pytest.fixture(name="mlp")
def mlp_graph() -> ModelGraph:
    return mlp()


@pytest.fixture(name="cnn")
def cnn_graph() -> ModelGraph:
    return cnn()


@pytest.fixture(name="encoder")
def encoder_graph() -> Callable[..., ModelGraph]:
    return encoder


@pytest.fixture
def rename() -> Callable[[ModelGraph, Mapping[str, str]], ModelGraph]:
    """The same graph with every layer (and so every parameter) under another name."""

    def renamed(graph: ModelGraph, names: Mapping[str, str]) -> ModelGraph:
        owner = {p.name: layer.name for layer in graph.layers for p in layer.parameters}

        def parameter(name: str) -> str:
            last = name[len(owner[name]) :].lstrip(".")
            return f"{names[owner[name]]}.{last}".lstrip(".")

        return replace(
            graph,
            operations=tuple(
                replace(op, layer=names[op.layer], parameters=tuple(map(parameter, op.parameters)))
                for op in graph.operations
            ),
            layers=tuple(
                replace(
                    layer,
                    name=names[layer.name],
                    parameters=tuple(replace(p, name=parameter(p.name)) for p in layer.parameters),
                )
                for layer in graph.layers
            ),
            calls=tuple(replace(call, layer=names[call.layer]) for call in graph.calls),
        )

    return renamed
