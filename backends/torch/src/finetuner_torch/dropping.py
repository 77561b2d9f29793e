"""Taking a model's unused weights away while its modules stay where they are."""

from __future__ import annotations

import torch
from torch import nn

from finetuner.contracts import AdaptationPlan


def drop_weights(model: nn.Module, plan: AdaptationPlan) -> None:
    """Replace the weights of the head and of other dropped layers by placeholders.

    A placeholder is a zero expanded to the weight's shape: it takes no memory, is
    no parameter and is not saved, but code that reads its shape or dtype on the
    way to the embedding still works. Weights that a kept layer shares stay.
    """
    layers = dropped_layers(plan)
    inline = {tap.parameter for tap in plan.taps if tap.parameter is not None}
    named = dict(model.named_parameters(remove_duplicate=False))
    gone = {name for name in named if name in inline or name.rpartition(".")[0] in layers}
    kept = {id(parameter) for name, parameter in named.items() if name not in gone}
    for name in gone:
        if id(named[name]) not in kept:
            owner, _, key = name.rpartition(".")
            _replace_by_placeholder(model.get_submodule(owner), key, named[name])
    for name, module in model.named_modules():
        if name in layers:
            module._non_persistent_buffers_set.update(module._buffers)


def dropped_layers(plan: AdaptationPlan) -> frozenset[str]:
    """Layers whose own weights the embedding does not need.

    A layer that holds the weight of a head computed inline holds others too: it
    stays, and only that weight goes.
    """
    inline = {tap.layer for tap in plan.taps if tap.parameter is not None}
    unused = {layer.name for layer in plan.layers if layer.role in ("head", "dropped")}
    return frozenset((unused | set(plan.head)) - inline - {""})


def _replace_by_placeholder(module: nn.Module, key: str, parameter: nn.Parameter) -> None:
    if key not in module._parameters:
        return
    del module._parameters[key]
    placeholder = torch.zeros((), dtype=parameter.dtype, device=parameter.device)
    module.register_buffer(key, placeholder.expand(parameter.shape), persistent=False)
