"""Tells data from weights in a recording: what depends on the inputs, what on parameters alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from finetuner_torch.operations import PRODUCTS, SHAPE_ONLY, WEIGHTS, base_name
from finetuner_torch.recorder import RawOperation, Recording


@dataclass(frozen=True)
class Lineage:
    """The operations that carry data, in order, and where every other value comes from.

    ``live`` values depend on the inputs, or are made from parameters by an
    operation that stands for itself (a position embedding, the projection of a
    learned query). ``sources`` names the parameters behind the rest.
    """

    operations: tuple[RawOperation, ...]
    live: frozenset[int]
    sources: Mapping[int, tuple[str, ...]]

    def data(self, operation: RawOperation) -> tuple[int, ...]:
        """The live values that an operation reads, each once."""
        return tuple(dict.fromkeys(v for _, v in operation.slots if v in self.live))

    def parameters(self, operation: RawOperation) -> tuple[str, ...]:
        """The parameters that it reads, directly or through transposes, casts, reparametrisation."""
        fixed = (v for _, v in operation.slots if v not in self.live)
        return tuple(dict.fromkeys(name for v in fixed for name in self.sources.get(v, ())))


def lineage_of(
    recording: Recording, inputs: Iterable[int], outputs: Iterable[int], known: Iterable[str]
) -> Lineage:
    """Follow data and parameters through a recording.

    ``known`` are the parameters and buffers that count; other buffers are constants.
    """
    known = frozenset(known)
    roots = {value: (name,) for value, name in recording.roots.items() if name in known}
    inputs = frozenset(inputs)
    live, _ = _flow(recording.operations, inputs, roots, frozenset())
    own = _standing_alone(recording.operations, live, frozenset(outputs))
    live, sources = _flow(recording.operations, inputs, roots, own)
    kept = (o for o in recording.operations if live.intersection(o.outputs))
    return Lineage(tuple(kept), frozenset(live), sources)


def _flow(
    operations: Iterable[RawOperation],
    inputs: frozenset[int],
    roots: Mapping[int, tuple[str, ...]],
    own: frozenset[int],
) -> tuple[set[int], dict[int, tuple[str, ...]]]:
    """One pass forward. ``own`` holds ids of operation objects that make data by themselves."""
    live, sources = set(inputs), dict(roots)
    for operation in operations:
        values = [value for _, value in operation.slots]
        depends = base_name(operation.name) not in SHAPE_ONLY
        if id(operation) in own or (depends and not live.isdisjoint(values)):
            live.update(operation.outputs)
        elif depends:
            names = tuple(dict.fromkeys(n for v in values for n in sources.get(v, ())))
            sources.update(dict.fromkeys(operation.outputs, names))
    return live, sources


def _standing_alone(
    operations: list[RawOperation], live: set[int], outputs: frozenset[int]
) -> frozenset[int]:
    """Operations on parameters alone that make data (learned queries) rather than weights.

    Walks backwards: a value is a weight where some operation uses it as one.
    """
    as_weight: set[int] = set()
    as_data: set[int] = set(outputs)
    own: set[int] = set()
    for operation in reversed(operations):
        weights = _weight_values(operation, live)
        if not live.isdisjoint(operation.outputs):
            is_data, is_weight = True, False
        else:
            is_data = not as_data.isdisjoint(operation.outputs)
            is_weight = not as_weight.isdisjoint(operation.outputs)
            if is_data and not is_weight and base_name(operation.name) in WEIGHTS:
                own.add(id(operation))
        for _, value in operation.slots:
            if is_weight or value in weights:
                as_weight.add(value)
            elif is_data:
                as_data.add(value)
    return frozenset(own)


def _weight_values(operation: RawOperation, live: set[int]) -> set[int]:
    name = base_name(operation.name)
    if name in PRODUCTS and not live.isdisjoint(v for _, v in operation.slots):
        return {value for _, value in operation.slots if value not in live}
    return {value for slot, value in operation.slots if slot in WEIGHTS.get(name, ())}
