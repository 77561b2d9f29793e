"""Models that are one operation after another: their graph, and what a plan means for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetuner.contracts import (
    AdaptationPlan,
    Layer,
    LayerCall,
    ModelGraph,
    Operation,
    Parameter,
    Tap,
    Tensor,
)
from finetuner.contracts.graph import OperationKind
from finetuner.errors import ModelError, UnknownNameError


@dataclass(frozen=True)
class ChainStep:
    """One operation of a chain: the layer that it runs in, that layer's class, and what it reads.

    Steps of one layer follow one another.
    """

    layer: str
    layer_class: str
    operation: str
    kind: OperationKind
    parameters: tuple[Parameter, ...] = ()


def chain_graph(
    framework: str,
    steps: Sequence[ChainStep],
    shapes: Sequence[tuple[int, ...]],
    *,
    input: str,
    output: str,
    facts: Mapping[str, object],
) -> ModelGraph:
    """``shapes`` are those of the input and of every step's result, for the sample's rows."""
    operations = tuple(
        Operation(
            place, step.operation, step.kind, step.layer, 0, (place,), (place + 1,),
            tuple(parameter.name for parameter in step.parameters),
        )
        for place, step in enumerate(steps)
    )  # fmt: skip
    layers: dict[str, Layer] = {"": Layer("", str(facts["class"]))}
    spans: dict[str, tuple[int, int]] = {"": (0, len(steps) - 1)}
    for place, step in enumerate(steps):
        held = layers[step.layer].parameters if step.layer in layers else ()
        layers[step.layer] = Layer(step.layer, step.layer_class, held + step.parameters)
        spans[step.layer] = (spans.get(step.layer, (place, 0))[0], place)
    return ModelGraph(
        framework=framework,
        tensors=tuple(Tensor(place, shape, "float32") for place, shape in enumerate(shapes)),
        operations=operations,
        layers=tuple(layers.values()),
        calls=tuple(
            LayerCall(layer, 0, (first,), (last + 1,), first, last)
            for layer, (first, last) in spans.items()
        ),
        inputs=((input, 0),),
        outputs=((output, len(steps)),),
        facts=dict(facts),
    )


def check_chain_plan(plan: AdaptationPlan, framework: str, layers: Sequence[str]) -> None:
    """``ModelError`` for a plan that a chain of these layers cannot follow."""
    if plan.framework != framework:
        raise ModelError(f"this plan is for {plan.framework}, not for the {framework} backend")
    if plan.pooling is not None or len(plan.taps) != 1 or len(plan.inputs) != 1:
        raise ModelError(f"a {plan.model} has one input, one tap and no map to pool")
    freeze = plan.freeze
    if freeze.inject or freeze.groups or freeze.schedule:
        raise ModelError(
            f"freeze={freeze.policy!r}: the {framework} backend freezes whole layers for good and "
            "nothing else"
        )
    named = (*plan.head, *freeze.frozen, *(tap.layer for tap in plan.taps if tap.layer))
    for layer in named:
        if layer not in layers:
            raise ModelError(
                f"the plan is of another model: {UnknownNameError('layer', layer, set(layers))}"
            )


def steps_before(tap: Tap, layers: Sequence[str]) -> int:
    """How many steps lie before the tap, given the layer of each."""
    if not tap.layer:
        return len(layers) if tap.side == "output" else 0
    places = [place for place, layer in enumerate(layers) if layer == tap.layer]
    return places[-1] + 1 if tap.side == "output" else places[0]
