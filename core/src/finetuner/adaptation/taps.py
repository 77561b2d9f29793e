"""Addresses of values: which layer's call takes them in or gives them out."""

from __future__ import annotations

from collections.abc import Sequence

from finetuner.adaptation.flow import Flow, Value, is_float
from finetuner.contracts.graph import LayerCall
from finetuner.contracts.plan import Tap


def output_tap(flow: Flow, value: Value) -> Tap | None:
    """The innermost layer call that gives out ``value``, or that takes it in; ``None`` for none.

    Innermost, so that a backend may stop the call right there.
    """
    giving = [c for c in flow.graph.calls if c.layer and value in flow.leaving(c)]
    made = [c for c in giving if c.first <= value.source <= c.last]
    if call := min(made or giving, key=_span, default=None):
        return Tap(call.layer, call.call, "output", flow.leaving(call).index(value))
    taking = [c for c in flow.graph.calls if c.layer and value in flow.entering(c)]
    if call := min(taking, key=_span, default=None):
        return Tap(call.layer, call.call, "input", flow.entering(call).index(value))
    return None


def input_tap(flow: Flow, position: int, value: Value, layers: Sequence[str]) -> Tap | None:
    """Where ``value`` enters the operation at ``position``, which belongs to ``layers``.

    The outermost call of one of ``layers`` that takes it as an argument, else
    the operation's own module (a cast or a reshape inside it is stepped over),
    else the weight that the operation reads, else any layer that gives the value
    out. ``None`` where it has no address.
    """
    around = [c for c in flow.graph.calls if c.first <= position <= c.last and c.layer]
    named = [c for c in around if c.layer in layers and value in flow.entering(c)]
    if call := max(named, key=_span, default=None):
        return Tap(call.layer, call.call, "input", flow.entering(call).index(value))
    if tap := own_input_tap(flow, position, value):
        return tap
    if weight := weight_of(flow, position):
        op = flow.graph.operations[position]
        return Tap(op.layer, _earlier_reads(flow, position, weight), "input", 0, weight)
    return output_tap(flow, value)


def _earlier_reads(flow: Flow, position: int, weight: str) -> int:
    """How often content met ``weight`` before: what ``Tap.call`` counts for a weight."""
    return sum(
        weight in flow.parameters[earlier]
        and any(is_float(flow.tensor(value)) for value in flow.carriers[earlier])
        for earlier in range(position)
    )


def own_input_tap(flow: Flow, position: int, value: Value) -> Tap | None:
    """The argument of the operation's own module that ``value`` is a view of, if any."""
    op = flow.graph.operations[position]
    for call in flow.graph.calls:
        if op.layer and (call.layer, call.call) == (op.layer, op.call):
            entering = flow.entering(call)
            source = argument_of(flow, value, call)
            if source is not None:
                return Tap(call.layer, call.call, "input", entering.index(source))
    return None


def argument_of(flow: Flow, value: Value, call: LayerCall) -> Value | None:
    """The argument of ``call`` that ``value`` is, or is reshaped or cast from inside it."""
    entering = flow.entering(call)
    while value not in entering:
        op = flow.operation(value)
        if op is None or op.kind != "reshape" or value.source < call.first:
            return None
        if len(flow.carriers[value.source]) != 1:
            return None
        value = flow.carriers[value.source][0]
    return value


def weight_of(flow: Flow, position: int) -> str | None:
    """The parameter of highest rank that an operation reads: its weight, not its bias."""
    names = flow.parameters[position]
    return max(names, key=lambda name: len(flow.held[name].shape), default=None)


def tapped_value(flow: Flow, tap: Tap) -> Value:
    """The value that a layer call's tap gives; the model's output for the layer ``""``."""
    if not tap.layer:
        return flow.final(flow.graph.outputs[tap.index][1])
    for call in flow.graph.calls:
        if (call.layer, call.call) == (tap.layer, tap.call):
            values = flow.leaving(call) if tap.side == "output" else flow.entering(call)
            return values[tap.index]
    raise LookupError(f"no call {tap.call} of {tap.layer!r} was recorded")


def _span(call: LayerCall) -> int:
    return call.last - call.first
