"""A plan as text: for people (a table with reasons) and for machines (JSON)."""

from __future__ import annotations

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from finetuner.contracts.plan import AdaptationPlan, PlannedLayer

STYLES = {
    "backbone": "",
    "head": "red",
    "features": "cyan",
    "dropped": "dim",
    "embedding": "green",
}
"""Colours by role; the role is also written out."""


def plan_to_json(plan: AdaptationPlan) -> str:
    """The plan as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode()


def plan_from_json(text: str | bytes) -> AdaptationPlan:
    """The plan that ``plan_to_json`` wrote. Raises ``msgspec.DecodeError`` for anything else."""
    return msgspec.json.decode(text, type=AdaptationPlan)


def render_plan(plan: AdaptationPlan) -> RenderableType:
    """A table of layers under a summary, then the reasons and warnings."""
    parts: list[RenderableType] = [Text(summary(plan), style="bold"), _table(plan), Text("Why")]
    parts += [Text(f"  {reason.subject}: {reason.text}") for reason in plan.reasons]
    parts += [Text(f"  warning: {warning}", style="yellow") for warning in plan.warnings]
    return Group(*parts)


def summary(plan: AdaptationPlan) -> str:
    """One line: the model and the steps from its input to the vector."""
    head = f"without {', '.join(plan.head)}" if plan.head else "whole"
    steps = [", ".join(plan.inputs), f"{plan.model or plan.framework} ({head})"]
    if plan.pooling is not None:
        steps.append(f"{plan.pooling.name} pooling")
    if plan.output_dim is not None:
        steps.append(f"projection {plan.width} → {plan.output_dim}")
    if plan.normalize:
        steps.append("L2-normalised")
    return " → ".join([*steps, f"{plan.embedding_width} numbers"])


def _table(plan: AdaptationPlan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("layer", "kind"):
        table.add_column(title, overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("parameters", justify="right")
    for title in ("role", "trains"):
        table.add_column(title)
    for row in plan.layers:
        name = Text(row.name or "(model)")
        cells = (Text(row.kind), _extents(row), f"{row.parameters:,}", row.role, _trains(row))
        table.add_row(name, *cells, style=STYLES[row.role])
    return table


def _extents(row: PlannedLayer) -> str:
    """The shape with B for the batch."""
    if row.shape is None:
        return "never runs"
    return "×".join(["B", *map(str, row.shape[1:])])


def _trains(row: PlannedLayer) -> str:
    if row.role in ("head", "dropped") or not row.parameters:
        return "-"
    return "frozen" if row.frozen else "yes"
