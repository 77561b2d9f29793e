"""The dataflow of a traced call, seen as a graph of operations.

Some edges carry the content that becomes the embedding, others only steer it: a
mask, an index, a position. ``Flow`` tells them apart without looking at names of
layers: an operation with a floating operand is carried by its floating operands
alone, truth values carry nothing, and what is computed from weights alone is no
flow at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from finetuner.contracts.graph import LayerCall, ModelGraph, Operation, Parameter, Tensor

INPUT = -1
"""The source of a value that came in with the call."""

CONSTANT = -2
"""The source of a value that nothing in the call made: a weight, a literal."""


class Value(NamedTuple):
    """A tensor as one operation made it (in-place changes keep the id)."""

    tensor: int
    source: int


def is_float(tensor: Tensor) -> bool:
    """Whether the tensor holds floating-point numbers."""
    return "float" in tensor.dtype


def is_bool(tensor: Tensor) -> bool:
    """Whether the tensor holds truth values."""
    return "bool" in tensor.dtype


def is_mask(name: str) -> bool:
    """Whether a model input only says which positions count."""
    return name.endswith("mask")


@dataclass(frozen=True)
class Flow:
    """``operands`` are the values that each operation read, in order."""

    graph: ModelGraph
    operands: tuple[tuple[Value, ...], ...]

    @classmethod
    def of(cls, graph: ModelGraph) -> Flow:
        """The flow of a graph; a tensor's source is whoever wrote it last before the read."""
        source = {tensor: INPUT for _, tensor in graph.inputs}
        operands = []
        for position, op in enumerate(graph.operations):
            operands.append(tuple(Value(t, source.get(t, CONSTANT)) for t in op.inputs))
            source.update(dict.fromkeys(op.outputs, position))
        return cls(graph, tuple(operands))

    @cached_property
    def _last_writer(self) -> dict[int, int]:
        writer = {tensor: INPUT for _, tensor in self.graph.inputs}
        for position, op in enumerate(self.graph.operations):
            writer.update(dict.fromkeys(op.outputs, position))
        return writer

    def final(self, tensor: int) -> Value:
        """The tensor as it is when the call ends."""
        return Value(tensor, self._last_writer.get(tensor, CONSTANT))

    def entering(self, call: LayerCall) -> tuple[Value, ...]:
        """The tensors among a call's arguments, as they were when it began."""
        return tuple(self._before(tensor, call.first) for tensor in call.inputs)

    def leaving(self, call: LayerCall) -> tuple[Value, ...]:
        """The tensors among a call's results, as they were when it returned."""
        return tuple(self._before(tensor, call.last + 1) for tensor in call.outputs)

    def _before(self, tensor: int, position: int) -> Value:
        return Value(tensor, max((w for w in self._writers[tensor] if w < position), default=INPUT))

    @cached_property
    def _writers(self) -> dict[int, list[int]]:
        writers: dict[int, list[int]] = {tensor.id: [] for tensor in self.graph.tensors}
        for _, tensor in self.graph.inputs:
            writers[tensor].append(INPUT)
        for position, op in enumerate(self.graph.operations):
            for tensor in op.outputs:
                writers[tensor].append(position)
        return writers

    def tensor(self, value: Value) -> Tensor:
        """Shape and type of a value."""
        return self.graph.tensor[value.tensor]

    def shape(self, value: Value) -> tuple[int, ...]:
        """Shape of a value in the sample call."""
        return self.graph.tensor[value.tensor].shape

    def operation(self, value: Value) -> Operation | None:
        """Who made a value; ``None`` for inputs and constants."""
        return self.graph.operations[value.source] if value.source >= 0 else None

    @cached_property
    def carriers(self) -> tuple[tuple[Value, ...], ...]:
        """For each operation the operands that carry content; empty where it has none."""
        carriers: list[tuple[Value, ...]] = []
        for position, op in enumerate(self.graph.operations):
            live = [v for v in self.operands[position] if self._carries(v, carriers)]
            floating = [v for v in live if is_float(self.tensor(v))]
            truth = all(is_bool(self.graph.tensor[t]) for t in op.outputs)
            carriers.append(() if truth else tuple(dict.fromkeys(floating or live)))
        return tuple(carriers)

    def _carries(self, value: Value, carriers: Sequence[tuple[Value, ...]]) -> bool:
        if value.source == CONSTANT or is_bool(self.tensor(value)):
            return False
        if value.source == INPUT:
            return value.tensor in self._content
        return bool(carriers[value.source])

    def is_content(self, value: Value) -> bool:
        """Whether a value depends on what the model is shown."""
        return self._carries(value, self.carriers)

    @cached_property
    def _content(self) -> frozenset[int]:
        return frozenset(tensor for name, tensor in self.graph.inputs if not is_mask(name))

    def needed(self, values: Iterable[Value]) -> frozenset[int]:
        """Positions of every operation that the values depend on, by any edge."""
        seen: set[int] = set()
        queue = [value.source for value in values if value.source >= 0]
        while queue:
            position = queue.pop()
            if position not in seen:
                seen.add(position)
                queue += [v.source for v in self.operands[position] if v.source >= 0]
        return frozenset(seen)

    @cached_property
    def parameters(self) -> tuple[tuple[str, ...], ...]:
        """Parameters each operation reads, itself or through values made of weights alone."""
        found: list[tuple[str, ...]] = []
        pure: list[bool] = []
        for position, op in enumerate(self.graph.operations):
            operands = self.operands[position]
            names = dict.fromkeys(op.parameters)
            for value in operands:
                if value.source >= 0 and pure[value.source]:
                    names.update(dict.fromkeys(found[value.source]))
            found.append(tuple(names))
            pure.append(
                all(v.source == CONSTANT or (v.source >= 0 and pure[v.source]) for v in operands)
            )
        return tuple(found)

    @cached_property
    def held(self) -> dict[str, Parameter]:
        """Parameters by name."""
        return {p.name: p for layer in self.graph.layers for p in layer.parameters}

    @cached_property
    def owner(self) -> dict[str, str]:
        """The layer that holds each parameter."""
        return {p.name: layer.name for layer in self.graph.layers for p in layer.parameters}

    def chain(self, values: Iterable[Value]) -> tuple[Value, ...]:
        """The values through which all content reaches ``values``, nearest first.

        These are the dominators of ``values`` in the flow of content from the
        model's inputs (Cooper, Harvey and Kennedy 2001, on a graph without loops).
        """
        parent, depth = self._dominators
        common = _meet([v for v in values if self.is_content(v)], parent, depth)
        found = []
        while common is not None:
            found.append(common)
            common = parent[common]
        return tuple(found)

    @cached_property
    def _dominators(self) -> tuple[dict[Value, Value | None], dict[Value, int]]:
        parent: dict[Value, Value | None] = {}
        depth: dict[Value, int] = {}
        for _, tensor in self.graph.inputs:
            parent[Value(tensor, INPUT)], depth[Value(tensor, INPUT)] = None, 0
        for position, op in enumerate(self.graph.operations):
            if carriers := self.carriers[position]:
                above = _meet(list(carriers), parent, depth)
                for tensor in op.outputs:
                    value = Value(tensor, position)
                    parent[value], depth[value] = above, depth[above] + 1 if above else 0
        return parent, depth


def _meet(
    values: list[Value], parent: dict[Value, Value | None], depth: dict[Value, int]
) -> Value | None:
    """The nearest value that dominates all of ``values``; ``None`` where there is none."""
    if not values:
        return None
    current: Value | None = values[0]
    for value in values[1:]:
        other: Value | None = value
        while current != other:
            if current is None or other is None:
                return None
            if depth[current] >= depth[other]:
                current = parent[current]
            else:
                other = parent[other]
    return current
