"""Copies of a model that share nothing with it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras

from finetuner.errors import ModelError
from finetuner_keras.layers import Layer, is_graph, named_layers, named_variables
from finetuner_keras.messages import cause

_VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)

_NOTHING_TO_BUILD = ("keras.src.layers.layer", "keras.src.models.model")
"""Where the ``build`` is defined that leaves everything to the layers inside."""


def copy_model(model: Layer) -> Layer:
    """A model with the same layers, names, weights and ``trainable`` flags, in float32.

    Functional and Sequential models are cloned layer by layer, others made anew
    from ``get_config``; policies of other precisions are left behind. Raises
    ``ModelError`` for a model that does not say how.
    """
    try:
        classes = keras.saving.custom_object_scope(_classes(model))
        with classes, _not_compiled(model), _float32_by_default():
            copy = _clone(model) if is_graph(model) else _remake(model)
            _build(copy, model)
            _fill(copy, model)
    except Exception as error:
        raise ModelError(_refusal(model, error)) from error
    return copy


def _clone(model: Layer) -> Layer:
    return keras.models.clone_model(model, clone_function=_clone_layer, recursive=True)


def _clone_layer(layer: Any) -> Any:
    if isinstance(layer, keras.layers.Lambda):
        # A live function needs no code to be stored and read back.
        return type(layer)(
            layer.function,
            output_shape=layer._output_shape,
            mask=layer.mask,
            arguments=layer.arguments,
            name=layer.name,
        )
    if not isinstance(layer, keras.layers.Layer):
        return layer  # an operation, which holds nothing
    return _remake(layer)


def _remake(layer: Layer) -> Layer:
    """The layer anew from its configuration, with what its class does not take left out.

    ``get_config`` as inherited says nothing of the class's own arguments.
    """
    cls, config = type(layer), _in_float32(layer.get_config())
    if cls.__module__.startswith("keras.") or "from_config" in vars(cls):
        return cls.from_config(config)
    parameters = inspect.signature(cls).parameters.values()
    taken = {p.name for p in parameters}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        with suppress(TypeError, ValueError):
            return cls.from_config(config)
        taken |= set(inspect.signature(keras.Layer).parameters)
    config = {name: value for name, value in config.items() if name in taken}
    unsaid = [p.name for p in parameters if p.kind not in _VARIADIC and p.name not in config]
    if unsaid and cls.get_config.__module__.startswith("keras."):
        raise NotImplementedError(f"get_config() does not say {unsaid[0]!r}")
    return cls.from_config(config)


def _in_float32(config: Any) -> Any:
    """A configuration whose policies of floating precision are ``float32``."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {name: _in_float32(value) for name, value in config.items()}
    return [*map(_in_float32, config)] if type(config) is list else config


@contextmanager
def _float32_by_default() -> Iterator[None]:
    """What makes layers of its own, without saying in which precision, makes them in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _build(copy: Layer, model: Layer) -> None:
    """Make the variables of what was not built by being made, outer layers first."""
    here = named_layers(copy)
    for name, layer in named_layers(model).items():
        if name not in here:
            here = named_layers(copy)
        twin = here.get(name)
        if twin is not None and layer.built and not twin.built:
            if type(layer).build.__module__ not in _NOTHING_TO_BUILD:
                twin.build_from_config(layer.get_build_config())
            twin.built = True


def _fill(copy: Layer, model: Layer) -> None:
    here, there = named_layers(copy), named_layers(model)
    for name, layer in there.items():
        if name in here and not is_graph(layer):
            here[name].trainable = layer.trainable
    values, targets = list(named_variables(model).values()), list(named_variables(copy).values())
    if [v.shape for v in values] != [v.shape for v in targets]:
        raise ValueError(
            f"the copy has {len(targets)} variables and the model {len(values)}, or of other "
            "shapes: get_config() does not say all that the model was made with"
        )
    for value, target in zip(values, targets, strict=True):
        target.assign(keras.ops.cast(value, target.dtype))
        target.trainable = value.trainable


def _classes(model: Layer) -> dict[str, type]:
    """The classes of the model's own layers, which need not be registered."""
    classes = {type(layer) for layer in named_layers(model).values()}
    return {c.__name__: c for c in classes if not c.__module__.startswith("keras.")}


@contextmanager
def _not_compiled(model: Layer) -> Iterator[None]:
    """Without the optimizer and losses of ``compile``, which a clone would take over."""
    compiled = getattr(model, "compiled", False)
    if compiled:
        model.compiled = False
    try:
        yield
    finally:
        if compiled:
            model.compiled = True


def _refusal(model: Layer, error: Exception) -> str:
    return (
        f"{type(model).__name__} cannot be copied ({cause(error)}). "
        "Fine-tuning works on a copy, so that your model stays as it is: give its class a "
        "get_config() that returns the arguments of __init__, or build it as a Functional model"
    )
