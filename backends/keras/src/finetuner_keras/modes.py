"""Which layers run as in training while the rest trains.

``training`` decides two things at once, dropout and batch statistics; a frozen
layer wants neither, and fine-tuning without dropout only the second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from finetuner.errors import ModelError, UsageError
from finetuner_keras.layers import Layer, augments, has_statistics


def training_modes(
    layers: Mapping[str, Layer], frozen: Collection[str] = (), dropout: float | None = 0.0
) -> dict[str, bool]:
    """By layer, whether it runs as in training in a training step.

    Frozen layers run in evaluation (see :func:`frozen_layers`). Of the others,
    ``dropout=0.0`` leaves those in training that keep running statistics or augment
    images, ``None`` and any other rate all.
    """
    still = frozen_layers(layers, frozen)
    return {
        name: name not in still and (dropout != 0.0 or has_statistics(layer) or augments(layer))
        for name, layer in layers.items()
    }


def frozen_layers(layers: Mapping[str, Layer], frozen: Collection[str]) -> frozenset[str]:
    """Names of the layers that count as inside those named ``frozen``.

    A layer with weights in it is inside when all layers that hold them are frozen.
    One without (a dropout, an activation) is inside when the layer around it is, or
    when its neighbours with weights before and behind it are.
    """
    if unknown := sorted(set(frozen) - set(layers)):
        raise ModelError(f"the plan freezes {unknown[0]!r}, which is no layer of this model")
    holders = [
        name
        for name, layer in layers.items()
        if layer._trainable_variables or layer._non_trainable_variables
    ]
    inside: set[str] = set()
    for position, name in enumerate(layers):
        within = [h for h in holders if h == name or h.startswith(f"{name}.") or not name]
        if within:
            if all(holder in frozen for holder in within):
                inside.add(name)
        elif _around(name) in inside or _between(list(layers), position, set(holders), frozen):
            inside.add(name)
    return frozenset(inside)


def set_dropout(layers: Mapping[str, Layer], modes: Mapping[str, bool], rate: float) -> None:
    """Give every active dropout that rate: ``rate`` of dropout layers, ``…dropout`` of others."""
    if not 0.0 < rate < 1.0:
        raise UsageError(f"dropout={rate}: a dropout rate is at least 0 and below 1")
    spots = [
        (layer, attribute)
        for name, layer in layers.items()
        if modes[name]
        for attribute, value in vars(layer).items()
        if isinstance(value, float) and value > 0 and _is_rate(layer, attribute)
    ]
    if not spots:
        raise UsageError(f"dropout={rate}: this model has no dropout to set; leave it out")
    for layer, attribute in spots:
        setattr(layer, attribute, rate)


def _is_rate(layer: Layer, attribute: str) -> bool:
    if "Dropout" in type(layer).__name__:
        return attribute == "rate"
    return attribute.strip("_").endswith(("dropout", "dropout_rate"))


def _around(name: str) -> str:
    return name.rpartition(".")[0]


def _between(names: list[str], position: int, holders: set[str], frozen: Collection[str]) -> bool:
    """Whether the neighbours that hold weights, before and behind, are frozen."""
    around = _around(names[position])
    siblings = [name for name in names if _around(name) == around]
    place = siblings.index(names[position])
    before = next((n for n in reversed(siblings[:place]) if _holds(n, holders)), None)
    behind = next((n for n in siblings[place + 1 :] if _holds(n, holders)), None)
    return all(
        n is not None and all(h in frozen for h in holders if h == n or h.startswith(f"{n}."))
        for n in (before, behind)
    )


def _holds(name: str, holders: set[str]) -> bool:
    return any(h == name or h.startswith(f"{name}.") for h in holders)
