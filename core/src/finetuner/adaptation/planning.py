"""From a traced graph and what the user asks to a plan: pure, frozen, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from finetuner.adaptation.choice import Choice, choose
from finetuner.adaptation.exits import Exit, batch_size
from finetuner.adaptation.features import find_features
from finetuner.adaptation.flow import Flow, is_float, is_mask
from finetuner.adaptation.freezing import Measure, decide_freezing, kept_view
from finetuner.adaptation.pooling import choose_pooling
from finetuner.adaptation.rows import planned_layers
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.plan import (
    AdaptationPlan,
    FeatureMap,
    FreezeDecision,
    PlanOptions,
    PoolingChoice,
    Reason,
)
from finetuner.contracts.records import AdapterRecord, FreezingRecord, PoolingRecord
from finetuner.errors import ModelError, UsageError


def make_plan(
    graph: ModelGraph,
    options: PlanOptions,
    *,
    adapters: Sequence[AdapterRecord],
    poolings: Mapping[str, PoolingRecord],
    freezing: Mapping[str, FreezingRecord],
    measure: Measure | None = None,
) -> AdaptationPlan:
    """Decide how a traced model becomes an embedding model.

    ``measure`` gives gradient norms by layer to the freezing policies that ask.
    Raises ``UsageError`` (``UnknownNameError`` for names) where an option cannot
    apply, and ``ModelError`` for a model without an embedding or where nothing
    would train.
    """
    _check_width(options)
    flow = Flow.of(graph)
    _check_outputs(flow)
    choice = choose(flow, options, adapters)
    found = find_features(flow, choice.leaving)
    features = found[0] if found else None
    pooling, pooling_reason = choose_pooling(
        flow, choice.leaving, features, options, choice.pooling, poolings
    )
    leaving = choice.leaving
    if pooling is not None and found is not None:
        leaving = Exit((found[0].tap,), (found[1],))
    width = found[0].width if pooling and found else _width(flow, leaving)
    kept = flow.needed(leaving.values)
    view = kept_view(graph, kept)
    freeze = decide_freezing(view, options.freeze, freezing, measure)
    learnable = pooling is not None and poolings[pooling.name].parameters is not None
    _check_trains(view, freeze, options, learnable)
    return AdaptationPlan(
        framework=graph.framework,
        model=str(graph.facts.get("class", "")),
        inputs=tuple(name for name, _ in graph.inputs),
        output=graph.outputs[choice.output][0],
        head=choice.head,
        taps=choice.leaving.taps,
        features=features,
        pooling=pooling,
        width=width,
        output_dim=options.output_dim,
        normalize=options.normalize,
        freeze=freeze,
        layers=planned_layers(
            flow, view, choice.head, leaving, features, freeze, pooled=pooling is not None
        ),
        reasons=_reasons(choice, pooling_reason, features, options, view, freeze),
        warnings=_warnings(flow, features, pooling),
    )


def _check_width(options: PlanOptions) -> None:
    if options.output_dim is not None and options.output_dim < 1:
        raise UsageError(f"output_dim={options.output_dim} must be at least 1")


def _check_outputs(flow: Flow) -> None:
    """The model must give a tensor that depends on its input."""
    if not flow.graph.outputs:
        raise ModelError("the model's output holds no tensor: nothing can be an embedding")
    name, tensor = flow.graph.outputs[0]
    if not flow.is_content(flow.final(tensor)):
        raise ModelError(
            f"the model's output {name!r} does not depend on its inputs "
            f"{', '.join(name for name, _ in flow.graph.inputs)}"
        )


def _width(flow: Flow, leaving: Exit) -> int:
    """Width of the vectors that leave the model, the same at every tap."""
    for tap, value in zip(leaving.taps, leaving.values, strict=True):
        place = f"the {tap.side} of {tap.layer or 'the model'}"
        shape = flow.shape(value)
        if not is_float(flow.tensor(value)):
            raise ModelError(
                f"{place} holds {flow.tensor(value).dtype} values, not floating-point numbers; "
                "name the layer that gives the embedding with embedding_layer="
            )
        if len(shape) < 2 or shape[0] != batch_size(flow):
            raise ModelError(
                f"{place} has shape {shape}, not one vector per example; name the layer that "
                "gives the embedding with embedding_layer="
            )
    widths = {prod(flow.shape(value)[1:]) for value in leaving.values}
    if len(widths) > 1:
        raise ModelError(
            "the heads read vectors of different widths "
            f"({', '.join(map(str, sorted(widths)))}), which cannot be averaged; "
            "choose one with embedding_layer="
        )
    return widths.pop()


def _check_trains(
    view: ModelGraph, freeze: FreezeDecision, options: PlanOptions, learnable_pooling: bool
) -> None:
    """Something must be left to train."""
    if options.output_dim is not None or learnable_pooling or freeze.inject or freeze.schedule:
        return
    weights = {
        layer.name: [p for p in layer.parameters if not p.statistic] for layer in view.layers
    }
    if not any(weights.values()):
        raise ModelError(
            "the model has no weights that the embedding depends on: nothing would train; "
            "add output_dim= to train a projection"
        )
    if not any(p.trainable for held in weights.values() for p in held):
        raise ModelError(
            "every weight of the model is marked as not trainable: nothing would train; "
            "unmark some, or add output_dim= to train a projection"
        )
    frozen = set(freeze.frozen)
    if not any(p.trainable for n, held in weights.items() if n not in frozen for p in held):
        raise ModelError(
            f"freeze={freeze.policy!r} leaves nothing to train; freeze less, or add output_dim= "
            "to train a projection"
        )


def _reasons(
    choice: Choice,
    pooling: Reason,
    features: FeatureMap | None,
    options: PlanOptions,
    view: ModelGraph,
    freeze: FreezeDecision,
) -> tuple[Reason, ...]:
    reasons = [*choice.reasons]
    if len(choice.leaving.taps) > 1:
        text = f"the mean of the {len(choice.leaving.taps)} vectors that the heads read"
        reasons.append(Reason("embedding", text))
    if features is not None:
        place = f"the {features.tap.side} of {features.tap.layer or 'the model'}"
        text = f"{place} is the last map through which everything flows to the embedding"
        reasons.append(Reason("features", text))
    reasons.append(pooling)
    if options.output_dim is not None:
        text = f"a new dense layer of width {options.output_dim}, as asked"
        reasons.append(Reason("projection", text))
    if not options.normalize:
        reasons.append(Reason("normalize", "vectors keep their length, as asked"))
    text = f"{freeze.policy}: {len(freeze.frozen)} of {len(view.depth)} layers are frozen"
    return (*reasons, Reason("freeze", text))


def _warnings(
    flow: Flow, features: FeatureMap | None, pooling: PoolingChoice | None
) -> tuple[str, ...]:
    masks = [name for name, _ in flow.graph.inputs if is_mask(name)]
    if pooling is None or features is None or features.mask or not masks:
        return ()
    return (
        f"the input {masks[0]!r} does not fit the feature map: padding is pooled as if it "
        "were content",
    )
