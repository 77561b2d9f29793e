"""What is head and where the embedding leaves: the user's word, an adapter's, or the rule's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from finetuner.adaptation.exits import Exit, at_layer, at_output, before, operations_of
from finetuner.adaptation.flow import Flow
from finetuner.adaptation.head import find_head, head_layers, walk_back
from finetuner.adaptation.names import match_layers
from finetuner.contracts.plan import PlanOptions, Reason
from finetuner.contracts.records import AdapterRecord, HeadDecision
from finetuner.errors import ModelError, UsageError


@dataclass(frozen=True)
class Choice:
    """``output`` is the position of the primary output; ``pooling`` an adapter's advice."""

    output: int
    head: tuple[str, ...]
    leaving: Exit
    reasons: tuple[Reason, ...]
    pooling: str | None = None


def choose(flow: Flow, options: PlanOptions, adapters: Sequence[AdapterRecord]) -> Choice:
    """Decide the head and the exit."""
    if options.embedding_layer is not None:
        return _by_embedding_layer(flow, options)
    if options.head is None:
        reason = Reason("head", "none: head=None keeps the whole model")
        return Choice(0, (), at_output(flow, 0), (reason,))
    if options.head != "auto":
        named = (options.head,) if isinstance(options.head, str) else tuple(options.head)
        return _by_name(flow, 0, named, "as asked")
    decision, adapter = _ask(flow, adapters)
    if decision is None:
        return _by_rule(flow)
    return _by_adapter(flow, decision, adapter)


def _by_embedding_layer(flow: Flow, options: PlanOptions) -> Choice:
    if options.head != "auto":
        raise UsageError(
            f"embedding_layer={options.embedding_layer!r} and head={options.head!r} both say "
            "where the embedding leaves the model; give one of them"
        )
    layer = options.embedding_layer or ""
    leaving = at_layer(flow, layer)
    reason = Reason("embedding", f"the output of {layer}, as asked; what follows it is dropped")
    return _with_other_heads(flow, Choice(0, (), leaving, (reason,)))


def _by_name(flow: Flow, output: int, named: Sequence[str], why: str) -> Choice:
    """Take away the layers that the names or patterns choose."""
    weights = (name for name in flow.owner if name in named)
    known = (*(layer.name for layer in flow.graph.layers if layer.name), *weights)
    layers = match_layers(named, known, "head layer")
    primary = flow.final(flow.graph.outputs[output][1])
    needed = flow.needed([primary])
    positions = [at for at in operations_of(flow, layers) if at in needed]
    if not positions:
        raise ModelError(
            f"head {', '.join(layers)} is not on the way to the model's output: taking it away "
            "would change nothing"
        )
    leaving = before(flow, positions, layers)
    if not _anything_left(flow, leaving):
        raise ModelError(
            f"without the head {', '.join(layers)} no layer with parameters is left; name a "
            "later layer, or keep the model whole with head=None"
        )
    return Choice(output, _outermost(layers), leaving, (Reason("head", f"{_join(layers)}: {why}"),))


def _by_adapter(flow: Flow, decision: HeadDecision, adapter: str) -> Choice:
    output = _position(flow, decision.output, adapter)
    why = f"{decision.reason} (adapter {adapter})"
    if decision.head:
        choice = _by_name(flow, output, decision.head, why)
    else:
        leaving = at_output(flow, output)
        choice = Choice(output, (), leaving, (Reason("head", f"none: {why}"),))
    return _with_other_heads(flow, replace(choice, pooling=decision.pooling))


def _by_rule(flow: Flow) -> Choice:
    name, tensor = flow.graph.outputs[0]
    primary = flow.final(tensor)
    finding = find_head(flow, name, primary)
    if not finding.operations:
        reasons = [Reason("head", f"none: {finding.reason}; the output is kept")]
        if any(stop.what == "an L2 normalisation" for stop in walk_back(flow, primary)):
            reasons.append(Reason("normalize", "the model's output is L2-normalised already"))
        return _with_other_heads(flow, Choice(0, (), at_output(flow, 0), tuple(reasons)))
    leaving = before(flow, finding.operations, finding.layers)
    reason = Reason("head", f"{_join(finding.layers)}: {finding.reason}")
    return _with_other_heads(flow, Choice(0, finding.layers, leaving, (reason,)))


def _with_other_heads(flow: Flow, choice: Choice) -> Choice:
    """Add the heads that the rule finds at any output, unless the embedding needs them."""
    known = flow.needed(choice.leaving.values).union(operations_of(flow, choice.head))
    found: dict[str, str] = {}
    for name, tensor in flow.graph.outputs:
        finding = find_head(flow, name, flow.final(tensor))
        positions = [at for at in finding.operations if at not in known]
        for layer in head_layers(flow, positions):
            found.setdefault(layer, name)
    reasons = tuple(
        Reason("head", f"{layer}: head of the output {name!r}; the embedding does without it")
        for layer, name in found.items()
    )
    return replace(choice, head=(*choice.head, *found), reasons=choice.reasons + reasons)


def _ask(flow: Flow, adapters: Sequence[AdapterRecord]) -> tuple[HeadDecision | None, str]:
    """The decision of the one adapter that knows this model."""
    decided = [
        (decision, record.name)
        for record in adapters
        if record.matches(flow.graph) and (decision := record.decide(flow.graph)) is not None
    ]
    if not decided:
        return None, ""
    if any(decision != decided[0][0] for decision, _ in decided):
        raise ModelError(
            f"the adapters {_join(name for _, name in decided)} disagree about this model; "
            "say head= or embedding_layer= yourself"
        )
    return decided[0]


def _position(flow: Flow, output: str | None, adapter: str) -> int:
    names = [name for name, _ in flow.graph.outputs]
    if output is None:
        return 0
    if output not in names:
        raise ModelError(f"adapter {adapter} names the output {output!r}, but there are {names}")
    return names.index(output)


def _anything_left(flow: Flow, leaving: Exit) -> bool:
    return any(flow.parameters[position] for position in flow.needed(leaving.values))


def _outermost(layers: Sequence[str]) -> tuple[str, ...]:
    """Layers that do not lie inside another of them."""
    return tuple(n for n in layers if not any(n.startswith(f"{other}.") for other in layers))


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)
