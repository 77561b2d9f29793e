"""Names of a model's layers and variables: the same for a model and for its copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

Layer = Any
Variable = Any

_BOOKS = ("_layers", "_modules", "_self_")
"""Attributes in which Keras, PyTorch and TensorFlow list a layer's children once more."""

_PREPROCESSING = "keras.src.layers.preprocessing."
_AUGMENTING = ("Rand", "AugMix")


def named_layers(model: Layer) -> dict[str, Layer]:
    """Every layer by its path, the model itself as ``""``; a shared one has its first path.

    Inside Functional and Sequential models a layer goes by its own name, inside any
    other layer by the attribute that holds it (``"encoder.blocks.0"``), since names
    given automatically differ from copy to copy.
    """
    found: dict[str, Layer] = {}
    seen: set[int] = set()

    def visit(path: str, layer: Layer) -> None:
        seen.add(id(layer))
        found[path] = layer
        for name, child in _children(layer):
            if id(child) not in seen:
                visit(_free(f"{path}.{name}".lstrip("."), found), child)

    visit("", model)
    return found


def own_variables(layer: Layer) -> Iterator[tuple[str, Variable, bool]]:
    """Name, variable, and whether it is a statistic, of what the layer itself holds."""
    names: dict[str, None] = {}
    statistics = {id(variable) for variable in layer._non_trainable_variables}
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
        name = _free(variable.name, names)
        names[name] = None
        yield name, variable, id(variable) in statistics


def named_variables(model: Layer) -> dict[str, Variable]:
    """Weights and statistics by full name; a shared one under its first name.

    The states of random generators are not among them.
    """
    found: dict[str, Variable] = {}
    seen: set[int] = set()
    for path, layer in named_layers(model).items():
        for name, variable, _ in own_variables(layer):
            if id(variable) not in seen:
                seen.add(id(variable))
                found[f"{path}.{name}".lstrip(".")] = variable
    return found


def seed_states(model: Layer) -> list[Variable]:
    """The state of every random generator in the model, in a fixed order."""
    states = (
        generator.state
        for layer in named_layers(model).values()
        for generator in getattr(layer, "_seed_generators", ())
    )
    return list({id(state): state for state in states}.values())


def has_statistics(layer: Layer) -> bool:
    """Whether the layer keeps running statistics of what passes (batch normalisation)."""
    return bool(layer._non_trainable_variables)


def augments(layer: Layer) -> bool:
    """Whether the layer changes each image at random while training, as ``RandomFlip`` does."""
    cls = type(layer)
    return cls.__module__.startswith(_PREPROCESSING) and cls.__name__.startswith(_AUGMENTING)


def is_graph(layer: Layer) -> bool:
    """Whether the layer is a Functional or Sequential model that calls as such."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "_run_through_graph")
    )


def _children(layer: Layer) -> Iterator[tuple[str, Layer]]:
    if is_graph(layer):
        for child in layer.layers:
            if not isinstance(child, keras.layers.InputLayer):
                yield child.name, child
        return
    held = {id(child) for child in layer._layers}
    # Under PyTorch a layer is a module, which keeps its children apart.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    for attribute in sorted(attributes, key=lambda name: name.startswith("_")):
        if not attribute.startswith(_BOOKS):
            for path, child in _layers_in(attribute.strip("_"), attributes[attribute]):
                if id(child) in held:
                    held.discard(id(child))
                    yield path, child
    for child in layer._layers:
        if id(child) in held:
            yield child.name, child


def _layers_in(path: str, value: Any) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, keras.layers.Layer):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _layers_in(f"{path}.{index}", child)
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _layers_in(f"{path}.{key}", child)


def _free(name: str, taken: Mapping[str, object]) -> str:
    """``name``, numbered where it is taken."""
    number, free = 1, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
