"""L2 normalisations that a model spells out: x / ‖x‖ and x · rsqrt(sum x²)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from finetuner.contracts.graph import Operation

DIVISIONS = frozenset({"Divide", "TrueDivide", "Multiply"})
THROUGH = frozenset({"Sqrt", "Rsqrt", "Maximum", "Add", "Clip", "ExpandDims", "Reshape", "Sum"})
SQUARES = frozenset({"Square", "Multiply", "Power"})


def mark_normalisations(operations: Sequence[Operation]) -> list[Operation]:
    """The operations, with those that divide a tensor by its own length named ``l2norm``."""
    producer = {tensor: o for o in operations for tensor in o.outputs}
    return [
        replace(o, kind="l2norm") if _divides_by_own_length(o, producer) else o for o in operations
    ]


def _divides_by_own_length(operation: Operation, producer: dict[int, Operation]) -> bool:
    if operation.name not in DIVISIONS or len(operation.inputs) != 2:
        return False
    data, scale = operation.inputs
    pairs = [(data, scale)] + ([(scale, data)] if operation.name == "Multiply" else [])
    return any(_is_length(length, of, producer) for of, length in pairs)


def _is_length(value: int, of: int, producer: dict[int, Operation]) -> bool:
    seen: set[str] = set()
    while (made := producer.get(value)) is not None:
        seen.add(made.name)
        if made.name == "Norm":
            return made.inputs == (of,)
        if made.name in SQUARES and "Sum" in seen and seen & {"Sqrt", "Rsqrt"}:
            return made.inputs == (of,)
        if made.name not in THROUGH or len(made.inputs) != 1:
            return False
        value = made.inputs[0]
    return False
