"""Joins ``x @ W`` and the ``+ b`` behind it into one operation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from finetuner_torch.lineage import Lineage
from finetuner_torch.operations import PRODUCTS, base_name
from finetuner_torch.recorder import RawOperation, Recording

JOINED = RawOperation("joined", "", 0, (), ())
"""Stands where the product was, so that the places of the other operations do not move."""


def join_biases(recording: Recording, lineage: Lineage, outputs: frozenset[int]) -> bool:
    """Rewrite the recording where a product's only reader adds a parameter to it.

    Both run in the same call of the same module, so that nobody can tell the
    difference from outside. Says whether anything was joined.
    """
    seen = {v for call in recording.calls for v in (*call.inputs, *call.outputs)} | outputs
    reads = Counter(value for o in recording.operations for _, value in o.slots)
    places = {v: i for i, o in enumerate(recording.operations) for v in o.outputs}
    joined = False
    for index, addition in enumerate(recording.operations):
        place = places.get(_only_data(addition, lineage), -1)
        if place < 0:
            continue
        product = recording.operations[place]
        value = product.outputs[0]
        same = (product.layer, product.call) == (addition.layer, addition.call)
        if same and _is_product(product, lineage) and reads[value] == 1 and value not in seen:
            bias = next(v for _, v in addition.slots if v not in lineage.live)
            slots = (*product.slots, ("bias", bias))
            recording.operations[index] = replace(product, slots=slots, outputs=addition.outputs)
            recording.operations[place] = JOINED
            joined = True
    return joined


def _only_data(operation: RawOperation, lineage: Lineage) -> int:
    """The data that an addition of a parameter reads; -1 for any other operation."""
    data = lineage.data(operation)
    values = [value for _, value in operation.slots]
    adds = base_name(operation.name) == "add" and len(values) == 2 and len(data) == 1
    return data[0] if adds and lineage.parameters(operation) else -1


def _is_product(operation: RawOperation, lineage: Lineage) -> bool:
    """Whether it applies one weight and no bias yet."""
    fixed = [value for _, value in operation.slots if value not in lineage.live]
    weights = [value for value in fixed if lineage.sources.get(value)]
    return base_name(operation.name) in PRODUCTS and len(fixed) == len(weights) == 1
