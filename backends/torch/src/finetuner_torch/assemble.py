"""From a recording to the neutral graph."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from finetuner.contracts.graph import (
    Layer,
    LayerCall,
    ModelGraph,
    Operation,
    OperationKind,
    Parameter,
    Tensor,
)
from finetuner_torch.biases import join_biases
from finetuner_torch.classify import classify
from finetuner_torch.flow import Flow
from finetuner_torch.lineage import Lineage, lineage_of
from finetuner_torch.recorder import RawCall, RawOperation, Recording

STATISTICS = frozenset({"running_mean", "running_var", "num_batches_tracked"})


def layers_of(model: nn.Module) -> tuple[Layer, ...]:
    """Every module with its own parameters and state, in order of registration.

    A tied parameter belongs to the module that has it first. Of the buffers, those
    count that are saved and hold floating-point numbers for several features, and
    running statistics; the rest are constants.
    """
    trainable = {id(p): name for name, p in model.named_parameters()}
    buffers = {id(b): name for name, b in model.named_buffers()}
    layers = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        own = [
            _parameter(prefix + key, p, trainable=p.requires_grad)
            for key, p in module._parameters.items()
            if p is not None and trainable.get(id(p)) == prefix + key
        ]
        own += [
            _parameter(prefix + key, b, trainable=False, statistic=_is_statistic(module, key))
            for key, b in module._buffers.items()
            if b is not None and buffers.get(id(b)) == prefix + key and _counts(module, key, b)
        ]
        layers.append(Layer(name, type(module).__name__, tuple(own)))
    return tuple(layers)


def assemble(
    recording: Recording,
    layers: Sequence[Layer],
    inputs: Sequence[tuple[str, int]],
    outputs: Sequence[tuple[str, int]],
    facts: Mapping[str, object],
) -> ModelGraph:
    """Put together what was recorded: data operations only, values renumbered from 0."""
    parameters = {p.name: p for layer in layers for p in layer.parameters}
    ends = frozenset(value for _, value in outputs)
    lineage = lineage_of(recording, (value for _, value in inputs), ends, parameters)
    if join_biases(recording, lineage, ends):
        lineage = lineage_of(recording, (value for _, value in inputs), ends, parameters)
    kinds = classify(Flow(lineage, {name: p.shape for name, p in parameters.items()}, ends))
    number = _numbering(recording, lineage, inputs, outputs)
    operations = tuple(
        _operation(index, raw, kind, lineage, number)
        for index, (raw, kind) in enumerate(zip(lineage.operations, kinds, strict=True))
    )
    return ModelGraph(
        framework="torch",
        tensors=tuple(Tensor(i, *recording.values.meta[value]) for value, i in number.items()),
        operations=operations,
        layers=_in_order_met(layers, operations),
        calls=_calls(recording, lineage, number),
        inputs=tuple((name, number[value]) for name, value in inputs),
        outputs=tuple((name, number[value]) for name, value in outputs),
        facts=dict(facts),
    )


def _operation(
    index: int,
    raw: RawOperation,
    kind: OperationKind,
    lineage: Lineage,
    number: Mapping[int, int],
) -> Operation:
    return Operation(
        index=index,
        name=raw.name,
        kind=kind,
        layer=raw.layer,
        call=raw.call,
        inputs=tuple(number[value] for value in lineage.data(raw)),
        outputs=tuple(number[value] for value in raw.outputs),
        parameters=lineage.parameters(raw),
    )


def _numbering(
    recording: Recording,
    lineage: Lineage,
    inputs: Iterable[tuple[str, int]],
    outputs: Iterable[tuple[str, int]],
) -> dict[int, int]:
    used = {value for _, value in (*inputs, *outputs)}
    used.update(v for call in recording.calls for v in (*call.inputs, *call.outputs))
    used.update(v for raw in lineage.operations for v in (*lineage.data(raw), *raw.outputs))
    return {value: i for i, value in enumerate(sorted(used))}


def _calls(
    recording: Recording, lineage: Lineage, number: Mapping[int, int]
) -> tuple[LayerCall, ...]:
    kept = {id(operation) for operation in lineage.operations}
    places = [i for i, operation in enumerate(recording.operations) if id(operation) in kept]
    return tuple(_call(call, places, number) for call in recording.calls)


def _call(call: RawCall, places: Sequence[int], number: Mapping[int, int]) -> LayerCall:
    return LayerCall(
        layer=call.layer,
        call=call.call,
        inputs=tuple(number[value] for value in call.inputs),
        outputs=tuple(number[value] for value in call.outputs),
        first=bisect_left(places, call.start),
        last=bisect_left(places, call.stop) - 1,
    )


def _in_order_met(layers: Sequence[Layer], operations: Iterable[Operation]) -> tuple[Layer, ...]:
    """Holders of parameters in the order in which data met them, then the others."""
    owner = {p.name: layer for layer in layers for p in layer.parameters}
    met = [owner[name] for operation in operations for name in operation.parameters]
    unmet = (layer for layer in layers if layer.parameters)
    return tuple({layer.name: layer for layer in (*met, *unmet, *layers)}.values())


def _parameter(
    name: str, tensor: torch.Tensor, *, trainable: bool, statistic: bool = False
) -> Parameter:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Parameter(name, tuple(tensor.shape), dtype, trainable, statistic)


def _is_statistic(module: Any, key: str) -> bool:
    """Running means and variances, and the vectors that spectral normalisation iterates."""
    spectral = key.endswith(("_u", "_v")) and (
        hasattr(module, f"{key[:-2]}_orig") or type(module).__name__ == "_SpectralNorm"
    )
    return key in STATISTICS or spectral


def _counts(module: nn.Module, key: str, buffer: torch.Tensor) -> bool:
    if _is_statistic(module, key):
        return True
    saved = key not in module._non_persistent_buffers_set
    return saved and buffer.is_floating_point() and buffer.numel() > 1
