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
        """The parameters that it reads, directly or through casts and reparametrisations."""
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
    own = _standing_alone(recording, live, frozenset(outputs))
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
        values = {value for _, value in operation.slots}
        depends = base_name(operation.name) not in SHAPE_ONLY
        if id(operation) in own or (depends and not live.isdisjoint(values)):
            live.update(operation.outputs)
        elif depends:
            names = tuple(dict.fromkeys(n for _, v in operation.slots for n in sources.get(v, ())))
            sources.update(dict.fromkeys(operation.outputs, names))
    return live, sources


def _standing_alone(
    recording: Recording, live: set[int], outputs: frozenset[int]
) -> frozenset[int]:
    """Operations on parameters alone that make data (learned queries) rather than weights.

    Walks backwards: a value is a weight where some operation uses it as one.
    """
    as_weight: set[int] = set()
    as_data: set[int] = set(outputs)
    own: set[int] = set()
    projected = _projected(recording, live)
    for operation in reversed(recording.operations):
        weights = _weight_values(operation, live, projected)
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


def _projected(recording: Recording, live: set[int]) -> set[int]:
    """Batched values made from parameters alone by a layer's operation: no plain weights."""
    projected: set[int] = set()
    for operation in recording.operations:
        values = {value for _, value in operation.slots}
        applies = base_name(operation.name) in WEIGHTS or not projected.isdisjoint(values)
        if applies and live.isdisjoint(operation.outputs):
            projected.update(operation.outputs)
    return {value for value in projected if len(recording.values.meta[value][0]) > 2}


def _weight_values(operation: RawOperation, live: set[int], projected: set[int]) -> set[int]:
    """Which of an operation's arguments it uses as weights.

    The factors of a plain product have no roles of their own: what is not data is
    the weight, unless it was projected like data (the queries of a learned pooling).
    """
    name = base_name(operation.name)
    named = {value for slot, value in operation.slots if slot in WEIGHTS.get(name, ())}
    values = {value for _, value in operation.slots}
    if name not in PRODUCTS - {"linear", "mkldnn_linear"} or live.isdisjoint(values):
        return named
    return values - live - projected
