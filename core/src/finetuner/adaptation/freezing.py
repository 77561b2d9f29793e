"""Freezing policies: what of the kept layers stays as it is.

A policy sees the graph reduced to what the embedding needs, so that depth never
counts a head that is taken away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from finetuner.adaptation.names import is_within, match_layers
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.plan import FreezeDecision
from finetuner.contracts.records import FreezingRecord
from finetuner.errors import UnknownNameError, UsageError

Measure = Callable[[], Mapping[str, float]]


def kept_view(graph: ModelGraph, kept: frozenset[int]) -> ModelGraph:
    """The graph with the operations at ``kept`` alone; other layers hold no parameters."""
    operations = tuple(op for at, op in enumerate(graph.operations) if at in kept)
    read = {name for op in operations for name in op.parameters}
    layers = tuple(
        layer if any(p.name in read for p in layer.parameters) else replace(layer, parameters=())
        for layer in graph.layers
    )
    return replace(graph, operations=operations, layers=layers)


def decide_freezing(
    view: ModelGraph, spec: str, policies: Mapping[str, FreezingRecord], measure: Measure | None
) -> FreezeDecision:
    """Apply ``spec``, a policy with an optional argument as in ``"first:0.75"``."""
    name, colon, argument = spec.partition(":")
    if name not in policies:
        raise UnknownNameError("freezing policy", name, policies)
    decision = policies[name].decide(view, argument if colon else None, measure or _no_measure)
    named = [*decision.frozen, *decision.inject, *decision.groups, *decision.schedule]
    for layer in named:
        if layer not in view.layer:
            raise UnknownNameError(f"layer in freezing policy {name!r}:", layer, view.layer)
    return replace(decision, policy=spec)


def freeze_none(graph: ModelGraph, argument: str | None, measure: Measure) -> FreezeDecision:
    """Everything trains."""
    _refuse_argument("none", argument)
    return FreezeDecision()


def freeze_backbone(graph: ModelGraph, argument: str | None, measure: Measure) -> FreezeDecision:
    """Nothing of the model trains, only what the plan adds to it."""
    _refuse_argument("backbone", argument)
    return FreezeDecision(frozen=graph.depth)


def freeze_first(graph: ModelGraph, argument: str | None, measure: Measure) -> FreezeDecision:
    """The first ⌊F·n⌋ of the n parameter-holding layers; the argument is F, 0 to 1."""
    fraction = _fraction(argument)
    return FreezeDecision(frozen=graph.depth[: math.floor(fraction * len(graph.depth))])


def freeze_until(graph: ModelGraph, argument: str | None, measure: Measure) -> FreezeDecision:
    """Everything up to and including the layer, container or pattern that is the argument."""
    if not argument:
        raise UsageError("freeze='until' needs a layer, as in 'until:encoder.layer.3'")
    chosen = match_layers([argument], (layer.name for layer in graph.layers), "layer in freeze=")
    last = max((i for i, n in enumerate(graph.depth) if is_within(n, chosen)), default=None)
    if last is None:
        raise UsageError(
            f"freeze='until:{argument}': no layer there holds parameters that the embedding "
            f"needs; choose one of, or around, {', '.join(graph.depth[-3:]) or 'none'}"
        )
    return FreezeDecision(frozen=graph.depth[: last + 1])


def _fraction(argument: str | None) -> Fraction:
    """Exact, so that 0.29 of 100 layers are 29."""
    try:
        fraction = Fraction(argument or "")
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(-1)
    if not 0 <= fraction <= 1:
        raise UsageError(
            f"freeze='first:{argument or ''}' needs a fraction of the depth from 0 to 1, "
            "as in 'first:0.75'"
        )
    return fraction


def _refuse_argument(policy: str, argument: str | None) -> None:
    if argument is not None:
        raise UsageError(f"freeze={policy!r} takes no argument, but got {argument!r}")


def _no_measure() -> Mapping[str, float]:
    raise UsageError("this freezing policy measures gradients, and nothing here can measure them")
