"""The feature map: the last map that dominates the embedding, with its layout."""

from __future__ import annotations

import re
from collections.abc import Mapping

from finetuner.adaptation.exits import Exit, batch_size
from finetuner.adaptation.flow import Flow, Value, is_float
from finetuner.adaptation.taps import output_tap, weight_of
from finetuner.contracts.plan import FeatureMap, Layout, Tap

MASK = "attention_mask"
"""The model input that says which positions of a sequence count."""

FIRST, LAST = 1, -1
_NORM_OVER_CHANNELS = re.compile(r"batch|group|instance", re.IGNORECASE)


def find_features(flow: Flow, leaving: Exit) -> tuple[FeatureMap, Value] | None:
    """The last map of rank 3 or 4 through which all content reaches the embedding.

    A map holds at least two positions, or was narrowed to one by a convolution;
    what a pooling left of a map is no map. It comes after a layer with weights
    and can be addressed by a layer's call. ``None`` where there is none.
    """
    known = dict(zip(leaving.values, leaving.taps, strict=True))
    collapsed: FeatureMap | None = None
    at: Value | None = None
    for dominating in flow.chain(leaving.values):
        value = _sequence_of(flow, dominating)
        if not _is_map(flow, value):
            continue
        tap = _address(flow, value, known)
        if is_flat(flow.shape(value)):
            if collapsed is None and tap is not None and _narrowed(flow, value):
                collapsed, at = describe(flow, value, tap), value
        elif collapsed is None and tap is not None:
            return describe(flow, value, tap), value
    return (collapsed, at) if collapsed is not None and at is not None else None


def is_flat(shape: tuple[int, ...]) -> bool:
    """Whether at most one extent beside the batch is larger than 1: a vector in disguise."""
    return sum(extent > 1 for extent in shape[1:]) <= 1


def describe(flow: Flow, value: Value, tap: Tap) -> FeatureMap:
    """Layout, width and mask of the map ``value``."""
    shape = flow.shape(value)
    axis = feature_axis(flow, value)
    layout: Layout
    if axis == FIRST:
        layout = "channels-first"
    else:
        layout = "sequence" if len(shape) == 3 else "channels-last"
    return FeatureMap(tap, len(shape), layout, shape[axis], mask_of(flow, shape, layout))


def mask_of(flow: Flow, shape: tuple[int, ...], layout: Layout) -> str | None:
    """The attention mask's name where it has one entry per position of a sequence."""
    mask = dict(flow.graph.inputs).get(MASK)
    if mask is None or layout != "sequence":
        return None
    return MASK if flow.graph.tensor[mask].shape == shape[:2] else None


def _sequence_of(flow: Flow, value: Value) -> Value:
    """A recurrent layer's sequence, where ``value`` is its last state."""
    op = flow.operation(value)
    if op is not None and op.kind == "recurrent":
        return Value(op.outputs[0], value.source)
    return value


def _is_map(flow: Flow, value: Value) -> bool:
    shape = flow.shape(value)
    return (
        len(shape) in (3, 4)
        and shape[0] == batch_size(flow)
        and is_float(flow.tensor(value))
        and any(
            not flow.held[name].statistic
            for position in flow.needed([value])
            for name in flow.parameters[position]
        )
    )


def _address(flow: Flow, value: Value, known: Mapping[Value, Tap]) -> Tap | None:
    tap = known.get(value)
    if tap is not None and tap.layer:
        return tap
    return output_tap(flow, value) or tap


def _narrowed(flow: Flow, value: Value) -> bool:
    """Whether a convolution brought the map down to one position."""
    queue, seen = [value], set[Value]()
    while queue:
        value = queue.pop()
        op = flow.operation(value)
        if op is None or value in seen:
            continue
        seen.add(value)
        for carrier in flow.carriers[value.source]:
            if is_flat(flow.shape(carrier)):
                queue.append(carrier)
            elif op.kind == "conv":
                return True
    return False


def feature_axis(flow: Flow, value: Value) -> int:
    """Which axis of a map holds its features: ``FIRST`` (behind the batch) or ``LAST``.

    The layers that made the map decide; where none speaks, maps of rank 4 follow
    the framework's custom and sequences keep their features last.
    """
    found = _axis_from_producer(flow, value)
    if found is not None:
        return found
    return FIRST if len(flow.shape(value)) == 4 and flow.graph.framework == "torch" else LAST


def _axis_from_producer(flow: Flow, value: Value) -> int | None:
    op = flow.operation(value)
    if op is None or not flow.carriers[value.source]:
        return None
    if op.kind == "conv":
        return FIRST if flow.graph.framework == "torch" else LAST
    if op.kind in ("dense", "embedding", "attention", "recurrent"):
        return LAST
    if op.kind == "norm" and (axis := _axis_of_norm(flow, value)) is not None:
        return axis
    return _axis_from_operand(flow, value)


def _axis_of_norm(flow: Flow, value: Value) -> int | None:
    """The axis that a normalisation's weight fits."""
    weight = weight_of(flow, value.source)
    if weight is None:
        return None
    size, shape = flow.held[weight].size, flow.shape(value)
    fitting = [axis for axis in (FIRST, LAST) if shape[axis] == size]
    if len(fitting) == 2:
        over_channels = _NORM_OVER_CHANNELS.search(flow.graph.operations[value.source].name)
        return FIRST if over_channels and flow.graph.framework == "torch" else LAST
    return fitting[0] if fitting else None


def _axis_from_operand(flow: Flow, value: Value) -> int | None:
    """Follow the features through an operation that leaves them whole."""
    op, shape = flow.graph.operations[value.source], flow.shape(value)
    for carrier in flow.carriers[value.source]:
        before = flow.shape(carrier)
        if op.kind == "reshape" and before != shape:
            axis = _axis_from_producer(flow, carrier)
            return None if axis is None else _moved(before, shape, axis)
        if len(before) == len(shape):
            return _axis_from_producer(flow, carrier)
    return None


def _moved(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """Where the features at ``axis`` are after a reshape; ``axis`` where both would fit."""
    fitting = [a for a in (FIRST, LAST) if after[a] == before[axis]]
    return axis if axis in fitting else (fitting[0] if fitting else None)
