"""What each recorded operation is, in the graph's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from finetuner.contracts.graph import OperationKind
from finetuner_torch.flow import Flow
from finetuner_torch.normalise import normalisation
from finetuner_torch.operations import (
    ATTENTION,
    BIASES,
    COMBINING,
    CONVOLUTIONS,
    EMBEDDINGS,
    LOOKUPS,
    NAMED,
    NORMS,
    PRODUCTS,
    RECURRENT,
    WEIGHTS,
    base_name,
    quantised_kind,
)
from finetuner_torch.recorder import RawOperation

AFFINE = frozenset({"mul", "add", "addcmul", "multiply"})
THROUGH = frozenset({"add", "sub", "mul", "div", "masked_fill", "where", "clamp", "tanh", "max"})
"""What may stand between attention's scores and their softmax, besides reshapes."""


def classify(flow: Flow) -> tuple[OperationKind, ...]:
    """The kind of every data operation, in order."""
    kinds: dict[int, OperationKind] = {}
    attention = _attention_products(flow)
    for operation in flow.lineage.operations:
        kind = "attention" if id(operation) in attention else _kind(operation, flow, kinds)
        kinds[id(operation)] = kind
    _name_final_sigmoids(flow, kinds)
    return tuple(kinds[id(operation)] for operation in flow.lineage.operations)


def _kind(operation: RawOperation, flow: Flow, kinds: Mapping[int, OperationKind]) -> OperationKind:
    name = base_name(operation.name)
    reads = flow.lineage.parameters(operation)
    kind = _weighty_kind(operation, name, reads, flow) or normalisation(operation, flow)
    if kind is None and reads:
        kind = "norm" if _is_affine_of_norm(operation, reads, flow, kinds) else "parameter"
    if kind is None:
        joins = name in COMBINING | PRODUCTS and len(flow.lineage.data(operation)) > 1
        kind = "combine" if joins else NAMED.get(name, "other")
    return kind


def _weighty_kind(
    operation: RawOperation, name: str, reads: tuple[str, ...], flow: Flow
) -> OperationKind | None:
    """The kind of an operation that applies weights as layers do."""
    if name in PRODUCTS:
        return "dense" if _is_dense(operation, name, flow) else None
    if name in CONVOLUTIONS and reads:
        return "conv"
    if name in NORMS:
        return "norm"
    if name in RECURRENT:
        return "recurrent"
    if name in ATTENTION:
        return "attention"
    if name in EMBEDDINGS | LOOKUPS and _looks_up_weight(operation, flow):
        return "embedding"
    return quantised_kind(name)


def _is_dense(operation: RawOperation, name: str, flow: Flow) -> bool:
    """Whether one factor of a product is a weight and another carries data."""
    factors = [slot for slot in operation.slots if slot[0] not in ("bias", BIASES.get(name))]
    fixed = [slot for slot in factors if slot[1] not in flow.lineage.live]
    if len(fixed) == len(factors):
        fixed = [slot for slot in factors if slot[0] in WEIGHTS.get(name, ())]
    return any(flow.lineage.sources.get(value) for _, value in fixed)


def _looks_up_weight(operation: RawOperation, flow: Flow) -> bool:
    table = next((v for name, v in operation.slots if name in ("weight", "self")), None)
    return table is not None and bool(flow.lineage.sources.get(table))


def _is_affine_of_norm(
    operation: RawOperation,
    reads: tuple[str, ...],
    flow: Flow,
    kinds: Mapping[int, OperationKind],
) -> bool:
    """Whether it is the scale or shift, one number a feature, of a normalisation before it."""
    if base_name(operation.name) not in AFFINE or len(flow.lineage.data(operation)) != 1:
        return False
    if any(sum(extent > 1 for extent in flow.parameter_shapes[name]) > 1 for name in reads):
        return False
    before = next(flow.back(operation), None)
    while before is not None and kinds[id(before)] == "reshape":
        before = next(flow.back(before), None)
    return before is not None and kinds[id(before)] == "norm"


def _attention_products(flow: Flow) -> frozenset[int]:
    """Products of two data tensors whose result goes into a softmax, or that apply one."""
    found: set[int] = set()
    weighted: set[int] = set()
    for operation in flow.lineage.operations:
        name = base_name(operation.name)
        if NAMED.get(name) == "softmax":
            weighted.update(operation.outputs)
            scores = (o for o in _upstream(operation, flow) if _is_product_of_data(o, flow))
            found.update(map(id, scores))
        elif not weighted.isdisjoint(flow.lineage.data(operation)):
            if _is_product_of_data(operation, flow):
                found.add(id(operation))
            elif name in THROUGH or NAMED.get(name) in ("reshape", "dropout"):
                weighted.update(operation.outputs)
    return frozenset(found)


def _upstream(operation: RawOperation, flow: Flow, steps: int = 12) -> Iterator[RawOperation]:
    """Operations reached backwards from a softmax through scaling, masking and reshapes."""
    front, seen = [(operation, 0)], {id(operation)}
    while front:
        current, step = front.pop()
        for before in flow.back(current):
            if id(before) in seen or step == steps:
                continue
            seen.add(id(before))
            yield before
            name = base_name(before.name)
            if name in THROUGH or NAMED.get(name) in ("reshape", "select"):
                front.append((before, step + 1))


def _is_product_of_data(operation: RawOperation, flow: Flow) -> bool:
    name = base_name(operation.name)
    return name in PRODUCTS and len(flow.lineage.data(operation)) > 1 and name != "linear"


def _name_final_sigmoids(flow: Flow, kinds: dict[int, OperationKind]) -> None:
    """A sigmoid whose result is an output, but for reshapes, turns logits into scores."""
    front, seen = list(flow.outputs), set(flow.outputs)
    while front:
        operation = flow.producer.get(front.pop())
        if operation is None:
            continue
        if base_name(operation.name) == "sigmoid" and kinds[id(operation)] == "activation":
            kinds[id(operation)] = "softmax"
        elif kinds[id(operation)] in ("reshape", "select", "dropout"):
            values = [v for v in flow.lineage.data(operation) if v not in seen]
            seen.update(values)
            front.extend(values)
