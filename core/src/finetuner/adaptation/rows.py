"""The rows of the printed plan: each layer with its part in the embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from finetuner.adaptation.exits import Exit
from finetuner.adaptation.flow import Flow, Value
from finetuner.adaptation.names import is_within
from finetuner.adaptation.taps import output_tap
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.plan import FeatureMap, FreezeDecision, PlannedLayer

Role = Literal["backbone", "head", "features", "dropped", "embedding"]


def planned_layers(
    flow: Flow,
    view: ModelGraph,
    head: Sequence[str],
    leaving: Exit,
    features: FeatureMap | None,
    freeze: FreezeDecision,
    *,
    pooled: bool,
) -> tuple[PlannedLayer, ...]:
    """Every layer that holds parameters, and those that give features or embedding, in order.

    ``view`` is the graph reduced to what the embedding needs; ``pooled`` says that
    a pooling, not a layer, gives the embedding.
    """
    mapped = features.tap.layer if features is not None else ""
    made = {name for value in leaving.values if (name := _maker(flow, value))}
    embedding = made - {mapped} if pooled else made
    kept, frozen = set(view.depth), set(freeze.frozen)

    def role(name: str) -> Role:
        if is_within(name, head):
            return "head"
        if name in embedding:
            return "embedding"
        if name == mapped:
            return "features"
        return "backbone" if name in kept else "dropped"

    shown = {*flow.graph.depth, *embedding, *([mapped] if mapped else []), *_named(flow, head)}
    return tuple(
        PlannedLayer(
            name=name,
            kind=flow.graph.layer[name].kind,
            shape=_shape(flow, name),
            parameters=sum(p.size for p in flow.graph.layer[name].parameters if not p.statistic),
            role=role(name),
            frozen=name in frozen,
        )
        for name in sorted(shown, key=_order(flow).__getitem__)
    )


def _named(flow: Flow, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in flow.graph.layer]


def _maker(flow: Flow, value: Value) -> str | None:
    """The layer that gives out ``value``, where one does."""
    tap = output_tap(flow, value)
    return tap.layer if tap is not None and tap.side == "output" else None


def _shape(flow: Flow, name: str) -> tuple[int, ...] | None:
    """Shape of the first tensor that the layer's last call gives out."""
    calls = [call for call in flow.graph.calls if call.layer == name and call.outputs]
    if not calls:
        return None
    return flow.graph.tensor[calls[-1].outputs[0]].shape


def _order(flow: Flow) -> dict[str, tuple[int, int]]:
    """Where each layer comes in the dataflow; those that never ran come last."""
    never = len(flow.graph.operations)
    first: dict[str, int] = {}
    for position, names in enumerate(flow.parameters):
        for name in names:
            first.setdefault(flow.owner[name], position)
    for call in flow.graph.calls:
        if not flow.graph.layer[call.layer].parameters:
            first[call.layer] = max(first.get(call.layer, 0), call.last)
    return {
        layer.name: (first.get(layer.name, never), index)
        for index, layer in enumerate(flow.graph.layers)
    }
