"""Taking a model's unused weights away while its modules stay where they are."""

from __future__ import annotations

import torch
from torch import nn

from finetuner.contracts import AdaptationPlan


def drop_weights(model: nn.Module, plan: AdaptationPlan) -> None:
    """Replace the weights of the head and of other dropped layers by placeholders.

    A placeholder is a zero expanded to the weight's shape: it takes no memory, is
    no parameter and is not saved, but code that reads its shape or dtype on the
    way to the embedding still works. Weights that a kept layer shares stay, and so
    does a head that the plan names by its weight: its holder has other uses.
    """
    dropped = dropped_layers(model, plan)
    named = dict(model.named_parameters(remove_duplicate=False))
    gone = {name for name in named if name.rpartition(".")[0] in dropped}
    kept = {id(parameter) for name, parameter in named.items() if name not in gone}
    for name in gone:
        if id(named[name]) not in kept:
            owner, _, key = name.rpartition(".")
            _replace_by_placeholder(model.get_submodule(owner), key, named[name])
    for name, module in model.named_modules():
        if name in dropped:
            module._non_persistent_buffers_set.update(module._buffers)


def dropped_layers(model: nn.Module, plan: AdaptationPlan) -> frozenset[str]:
    """Layers whose own weights the embedding does not need: the head's and unused ones."""
    heads = tuple(f"{layer}." for layer in plan.head)
    unused = {layer.name for layer in plan.layers if layer.role in ("head", "dropped")}
    inside = (n for n, _ in model.named_modules(remove_duplicate=False) if n)
    return frozenset(unused.union(name for name in inside if f"{name}.".startswith(heads)))


def _replace_by_placeholder(module: nn.Module, key: str, parameter: nn.Parameter) -> None:
    if key not in module._parameters:
        return  # a shared module, met under another name
    del module._parameters[key]
    placeholder = torch.zeros((), dtype=parameter.dtype, device=parameter.device)
    module.register_buffer(key, placeholder.expand(parameter.shape), persistent=False)
