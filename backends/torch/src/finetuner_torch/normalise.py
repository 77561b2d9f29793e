"""Normalisations that a model spells out: x / ‖x‖, x · rsqrt(mean x²), (x - mean) / std."""

from __future__ import annotations

from typing import Any, Literal

from finetuner_torch.flow import Flow
from finetuner_torch.operations import NAMED, base_name
from finetuner_torch.recorder import RawOperation

LENGTHS = frozenset({"norm", "linalg_vector_norm", "linalg_norm"})
MOMENTS = frozenset({"mean", "var", "std", "var_mean", "std_mean"})
ELEMENTWISE = frozenset(
    {"sqrt", "rsqrt", "reciprocal", "pow", "square", "abs", "clamp", "clamp_min", "add", "mul"}
    | {"maximum", "div", "float_power"}
)


def normalisation(operation: RawOperation, flow: Flow) -> Literal["l2norm", "norm"] | None:
    """Whether an operation divides a tensor by a statistic of itself, and by which.

    ``"l2norm"``: by its Euclidean length along axes other than the batch's;
    ``"norm"``: by a mean square or a standard deviation.
    """
    name = base_name(operation.name)
    if name not in ("div", "mul", "true_divide", "multiply"):
        return None
    values = [value for _, value in operation.slots]
    if len(values) != 2 or any(value not in flow.lineage.live for value in values):
        return None
    pairs = [(values[0], values[1])]
    if name in ("mul", "multiply"):
        pairs.append((values[1], values[0]))
    for data, scale in pairs:
        found = _statistic(scale, flow, inverted=name in ("mul", "multiply"))
        if found is None:
            continue
        kind, of = found
        if _spring(data, flow, scaled=kind == "norm") & _spring(of, flow):
            return kind
    return None


def _statistic(
    value: int, flow: Flow, *, inverted: bool
) -> tuple[Literal["l2norm", "norm"], int] | None:
    """The statistic that a scale was computed from, and the value that it is a statistic of."""
    roots = inversions = 0
    for operation in _chain(value, flow):
        name, power = base_name(operation.name), _power(operation)
        roots += name in ("sqrt", "rsqrt") or power in (0.5, -0.5)
        inversions += name in ("rsqrt", "reciprocal") or power in (-0.5, -1)
        of = flow.lineage.data(operation)[0]
        if name in LENGTHS and inversions == inverted:
            return ("l2norm", of) if _is_euclidean(operation) and _spares_batch(operation) else None
        if name == "sum" and roots and inversions == inverted:
            return ("l2norm", of) if _squares(of, flow) and _spares_batch(operation) else None
        if name in MOMENTS and (roots or "std" in name) and inversions == inverted:
            return "norm", of
    return None


def _chain(value: int, flow: Flow) -> list[RawOperation]:
    """Operations backwards from a scale: elementwise and reshapes, up to a first reduction."""
    chain: list[RawOperation] = []
    while value in flow.producer:
        operation = flow.producer[value]
        chain.append(operation)
        name = base_name(operation.name)
        if name not in ELEMENTWISE and NAMED.get(name) not in ("reshape", "select"):
            break
        data = flow.lineage.data(operation)
        if len(data) != 1 and NAMED.get(name) != "reshape":
            break
        value = data[0]
    return chain


def _spring(value: int, flow: Flow, *, scaled: bool = False) -> set[int]:
    """A value and those it is made from by casts, powers, taking off a mean (and scaling)."""
    found = {value}
    while value in flow.producer:
        operation = flow.producer[value]
        name = base_name(operation.name)
        same = name in ("pow", "square", "abs", "sub") or NAMED.get(name) in ("reshape", "dropout")
        data = flow.lineage.data(operation)
        times = name == "mul" and len(data) == 1 and (scaled or _is_twice(operation))
        if not same and not times:
            break
        value = data[0]
        found.add(value)
    return found


def _squares(value: int, flow: Flow) -> bool:
    operation = flow.producer.get(value)
    while operation is not None and NAMED.get(base_name(operation.name)) == "reshape":
        operation = next(flow.back(operation), None)
    if operation is None:
        return False
    square = base_name(operation.name) == "square" or _power(operation) == 2
    return square or _is_twice(operation)


def _is_twice(operation: RawOperation) -> bool:
    """Whether it multiplies a tensor by itself."""
    values = [value for _, value in operation.slots]
    times = base_name(operation.name) in ("mul", "multiply")
    return times and len(values) == 2 and values[0] == values[1]


def _power(operation: RawOperation) -> Any:
    return operation.options.get("exponent") if base_name(operation.name) == "pow" else None


def _is_euclidean(operation: RawOperation) -> bool:
    order = operation.options.get("ord", operation.options.get("p", 2))
    return order in (None, 2, "fro")


def _spares_batch(operation: RawOperation) -> bool:
    axes = operation.options.get("dim")
    if axes is None:
        return False
    axes = [axes] if isinstance(axes, int) else list(axes)
    return bool(axes) and 0 not in axes
