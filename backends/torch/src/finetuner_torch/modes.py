"""Which modules run in training mode while the rest trains.

``module.training`` decides two things at once, dropout and batch statistics; a
frozen layer wants neither, and fine-tuning without dropout only the second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from finetuner.errors import ModelError, UsageError

Flags = tuple[tuple[nn.Module, bool], ...]
"""Modules with the value of ``training`` that each has in a training step."""


def training_flags(
    model: nn.Module, frozen: Collection[str] = (), dropout: float | None = 0.0
) -> Flags:
    """The training mode of every module; nothing is changed but dropout rates.

    Inside frozen layers everything is in evaluation mode (see :func:`frozen_modules`).
    Elsewhere ``dropout=0.0`` puts all in evaluation mode but the layers that keep
    running statistics, ``None`` leaves the model's own training mode, and another
    rate also sets every dropout that is active.
    """
    still = {id(module) for module in frozen_modules(model, frozen)}
    was = [(module, module.training) for module in model.modules()]
    model.train()
    own = [(module, module.training) for module in model.modules()]
    set_flags(was)
    if dropout:
        _set_rate([module for module, on in own if on and id(module) not in still], dropout)
    return tuple(
        (module, on and id(module) not in still and (dropout != 0.0 or has_statistics(module)))
        for module, on in own
    )


def set_flags(flags: Collection[tuple[nn.Module, bool]]) -> None:
    """Set each module's mode without calling ``train()``, which models override."""
    for module, training in flags:
        module.training = training


def has_statistics(module: nn.Module) -> bool:
    """Whether the module keeps running statistics of what passes (batch normalisation)."""
    return any("running_" in name and value is not None for name, value in module._buffers.items())


def frozen_modules(model: nn.Module, frozen: Collection[str]) -> Iterator[nn.Module]:
    """Modules that count as inside the layers named ``frozen``.

    A module with parameters or running statistics in it is inside when all layers
    that hold them are frozen; one without (a dropout, an activation) follows the
    nearest module around it that has some.
    """
    modules = dict(model.named_modules())
    if unknown := sorted(set(frozen) - set(modules)):
        raise ModelError(f"the plan freezes {unknown[0]!r}, which is no layer of this model")
    inside: dict[str, bool] = {}
    for name, module in modules.items():
        holders = [
            name + ("." if name and child else "") + child
            for child, part in module.named_modules()
            if part._parameters or has_statistics(part)
        ]
        around = inside.get(name.rpartition(".")[0], False) if name else False
        inside[name] = all(holder in frozen for holder in holders) if holders else around
        if inside[name]:
            yield module


def _set_rate(modules: Collection[nn.Module], rate: float) -> None:
    """Give every active dropout that rate: dropout modules and ``…dropout…`` attributes."""
    if not 0.0 < rate < 1.0:
        raise UsageError(f"dropout={rate}: a dropout rate is at least 0 and below 1")
    spots = [(module, name) for module in modules for name in _active_rates(module)]
    if not spots:
        raise UsageError(f"dropout={rate}: this model has no dropout to set; leave it out")
    for module, name in spots:
        setattr(module, name, rate)


def _active_rates(module: nn.Module) -> list[str]:
    if isinstance(module, _DropoutNd):
        return ["p"] if module.p > 0 else []
    return [
        name
        for name, value in vars(module).items()
        if "dropout" in name and isinstance(value, float) and value > 0
    ]
