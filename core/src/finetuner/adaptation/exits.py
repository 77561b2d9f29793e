"""Where the embedding leaves the model: in front of the head, at a layer, or at the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetuner.adaptation.flow import Flow, Value, is_float
from finetuner.adaptation.names import is_within
from finetuner.adaptation.taps import input_tap, tapped_value
from finetuner.contracts.graph import LayerCall
from finetuner.contracts.plan import Tap
from finetuner.errors import ModelError, UnknownNameError


@dataclass(frozen=True)
class Exit:
    """The points where the embedding leaves, with their values in the sample call."""

    taps: tuple[Tap, ...]
    values: tuple[Value, ...]


def at_output(flow: Flow, position: int) -> Exit:
    """The model's own output number ``position``."""
    value = flow.final(flow.graph.outputs[position][1])
    return Exit((Tap("", 0, "output", position),), (value,))


def at_layer(flow: Flow, layer: str) -> Exit:
    """What the last call of ``layer`` gives. ``ModelError`` where it gives no vectors."""
    if layer not in flow.graph.layer or not layer:
        raise UnknownNameError("embedding_layer", layer, filter(None, flow.graph.layer))
    calls = [call for call in flow.graph.calls if call.layer == layer]
    if not calls:
        raise ModelError(f"embedding_layer {layer!r} is never called by the model")
    call = max(calls, key=lambda call: call.call)
    for index, value in enumerate(flow.leaving(call)):
        if flow.is_content(value) and is_float(flow.tensor(value)) and len(flow.shape(value)) > 1:
            return Exit((Tap(layer, call.call, "output", index),), (value,))
    raise ModelError(
        f"embedding_layer {layer!r} gives no floating-point tensor of rank 2 or more that "
        "depends on the model's inputs; name another layer"
    )


def before(flow: Flow, positions: Sequence[int], layers: Sequence[str]) -> Exit:
    """What enters the operations at ``positions``, which belong to the head's ``layers``."""
    inside = set(positions)
    found: dict[Tap, Value] = {}
    for position in sorted(inside):
        for value in flow.carriers[position]:
            if inside.isdisjoint(flow.needed([value])):
                tap, entering = _entrance(flow, position, value, layers)
                if entering not in found.values():
                    found[tap] = entering
    return Exit(tuple(found), tuple(found.values()))


def _entrance(flow: Flow, position: int, value: Value, layers: Sequence[str]) -> tuple[Tap, Value]:
    """The address where ``value`` enters the head, and the value that is found there."""
    value = _whole(flow, value)
    tap = input_tap(flow, position, value, layers)
    if tap is None:
        raise ModelError(
            f"what enters the head {', '.join(layers)} is computed inline and has no address; "
            "name the layer that gives the embedding with embedding_layer="
        )
    return tap, value if tap.parameter else tapped_value(flow, tap)


def _whole(flow: Flow, value: Value) -> Value:
    """``value`` before positions were folded into the batch, as dense layers do."""
    batch = batch_size(flow)
    while flow.shape(value)[:1] != (batch,):
        op = flow.operation(value)
        if op is None or op.kind != "reshape" or len(flow.carriers[value.source]) != 1:
            break
        value = flow.carriers[value.source][0]
    return value


def batch_size(flow: Flow) -> int | None:
    """The extent of the batch in the sample call."""
    for _, tensor in flow.graph.inputs:
        if shape := flow.graph.tensor[tensor].shape:
            return shape[0]
    return None


def operations_of(flow: Flow, layers: Sequence[str]) -> tuple[int, ...]:
    """Positions of all that runs in ``layers``; for one never called, all that reads its weights.

    A weight's own name, as the plan gives it for a head computed inline, stands
    for the operations that read it.
    """
    found: set[int] = set()
    for layer in layers:
        ran = set(_ran(flow, layer))
        found |= ran or {
            position
            for position, names in enumerate(flow.parameters)
            if any(name == layer or is_within(flow.owner[name], [layer]) for name in names)
        }
    return tuple(sorted(found))


def _ran(flow: Flow, layer: str) -> list[int]:
    spans = [call for call in flow.graph.calls if call.layer == layer]
    return [
        position
        for position, op in enumerate(flow.graph.operations)
        if is_within(op.layer, [layer]) or _covers(spans, position)
    ]


def _covers(spans: Sequence[LayerCall], position: int) -> bool:
    return any(call.first <= position <= call.last for call in spans)
