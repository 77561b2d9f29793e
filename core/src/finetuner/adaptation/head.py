"""The head rule: which layers turn the embedding into the model's own answer.

From an output the rule walks back through operations without parameters. What
it reaches decides: dense layers and 1×1 convolutions side by side are the head;
anything else means that the output is itself an embedding. Names are looked at
in one function only, ``named_projection``, as evidence that the plan prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from finetuner.adaptation.flow import INPUT, Flow, Value
from finetuner.adaptation.taps import own_input_tap, weight_of
from finetuner.contracts.graph import OperationKind

STOPS: dict[OperationKind, str] = {
    "conv": "a convolution",
    "norm": "a normalisation",
    "embedding": "an embedding table",
    "attention": "an attention",
    "recurrent": "a recurrent layer",
    "l2norm": "an L2 normalisation",
}
"""What ends the walk, in words. A 1×1 convolution is told apart from the others."""

PROJECTION = re.compile(r"proj|embed", re.IGNORECASE)
CLASSIFIER = re.compile(r"classif|logit|score|prob|predict", re.IGNORECASE)


@dataclass(frozen=True)
class Stop:
    """Where the walk ended: the position of an operation (``INPUT``: the model's input)."""

    position: int
    what: str
    head: bool = False


@dataclass(frozen=True)
class Finding:
    """What the rule says of one output.

    ``operations`` are the positions of the head's operations in dataflow order,
    empty where there is no head; ``layers`` are their layers; ``reason`` says why.
    """

    operations: tuple[int, ...]
    layers: tuple[str, ...]
    reason: str


def find_head(flow: Flow, output: str, value: Value) -> Finding:
    """Apply the rule to the output called ``output``."""
    stops = walk_back(flow, value)
    heads = tuple(sorted(stop.position for stop in stops if stop.head))
    if other := [stop.what for stop in stops if not stop.head]:
        return _none(f"walking back from {output!r} reaches {_listed(other)} first")
    if not heads:
        return _none(f"the output {output!r} is not computed by any layer with parameters")
    layers = head_layers(flow, heads)
    if _in_a_row(flow, heads):
        return _none(f"{output!r} sums up layers that follow one another: {_listed(layers)}")
    if all(not _has_parameters_before(flow, position) for position in heads):
        return _none(
            f"{_listed(layers)} read the model's input: without them nothing would be left"
        )
    if evidence := named_projection(output, layers):
        return _none(f"{_listed(layers)} project into the embedding space: {evidence}")
    return Finding(heads, layers, f"{_reached(flow, heads)} reached first from {output!r}")


def walk_back(flow: Flow, value: Value) -> tuple[Stop, ...]:
    """Every place where the walk from ``value`` ends, nearest first."""
    stops: dict[int, Stop] = {}
    seen: set[Value] = set()
    queue = [value]
    while queue:
        value = queue.pop(0)
        if value in seen or not flow.is_content(value):
            continue
        seen.add(value)
        if value.source == INPUT:
            stops.setdefault(INPUT, Stop(INPUT, "the model's own input"))
        elif (stop := _stop(flow, value.source)) is not None:
            stops.setdefault(stop.position, stop)
        else:
            queue += flow.carriers[value.source]
    return tuple(stops.values())


def _stop(flow: Flow, position: int) -> Stop | None:
    """How the walk ends at an operation; ``None`` where it goes on."""
    op = flow.graph.operations[position]
    if op.kind == "dense" or (op.kind == "conv" and is_pointwise(flow, position)):
        return Stop(position, op.kind, head=True)
    if op.kind in STOPS:
        return Stop(position, STOPS[op.kind])
    carriers = flow.carriers[position]
    if op.kind == "other" and len(carriers) > 1:
        return Stop(position, "a product of several values")
    if flow.parameters[position]:
        shapes = {flow.shape(value) for value in carriers}
        if flow.graph.tensor[op.outputs[0]].shape not in shapes:
            return Stop(position, "an operation with parameters of its own")
    return None


def is_pointwise(flow: Flow, position: int) -> bool:
    """Whether a convolution's kernel covers one position only."""
    weight = weight_of(flow, position)
    if weight is None:
        return False
    shape = flow.held[weight].shape
    kernel = shape[2:] if flow.graph.framework == "torch" else shape[:-2]
    return len(shape) > 2 and all(extent == 1 for extent in kernel)


def head_layers(flow: Flow, positions: Iterable[int]) -> tuple[str, ...]:
    """The layers that the operations at ``positions`` belong to, in order."""
    return tuple(dict.fromkeys(head_layer(flow, position) for position in positions))


def head_layer(flow: Flow, position: int) -> str:
    """The module of a head's operation; for one computed inline, the weight's holder.

    Where the holder does more than this, the name of the weight itself.
    """
    op = flow.graph.operations[position]
    weight = weight_of(flow, position)
    if weight is None or own_input_tap(flow, position, flow.carriers[position][0]):
        return op.layer
    owner = flow.owner[weight]
    held = {name for name, holder in flow.owner.items() if holder == owner}
    readers = {at for at, names in enumerate(flow.parameters) if held.intersection(names)}
    return owner if owner and readers == {position} else weight


def named_projection(output: str, layers: Iterable[str]) -> str | None:
    """Evidence by name that the head is a projection into an embedding space.

    The output's name decides where it speaks; otherwise every layer's own name
    must say proj or embed and none may sit inside something called a classifier.
    """
    if PROJECTION.search(output):
        return f"the output is called {output!r}"
    names = tuple(layers)
    if CLASSIFIER.search(output) or any(CLASSIFIER.search(name) for name in names):
        return None
    if all(PROJECTION.search(name.rpartition(".")[2]) for name in names):
        return "by name"
    return None


def _in_a_row(flow: Flow, positions: tuple[int, ...]) -> bool:
    """Whether one of the operations feeds another, as in a residual sum."""
    return any(
        flow.needed(flow.carriers[position]).intersection(positions) for position in positions
    )


def _has_parameters_before(flow: Flow, position: int) -> bool:
    return any(flow.parameters[p] for p in flow.needed(flow.carriers[position]))


def _reached(flow: Flow, positions: tuple[int, ...]) -> str:
    kinds = {flow.graph.operations[p].kind for p in positions}
    noun = "1×1 convolution" if kinds == {"conv"} else "dense layer"
    return f"the {noun} is" if len(positions) == 1 else f"{len(positions)} {noun}s side by side are"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _none(reason: str) -> Finding:
    return Finding((), (), reason)
