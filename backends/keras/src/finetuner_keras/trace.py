"""The real dataflow of one call of a Keras model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from finetuner.contracts.backend import Inputs
from finetuner.contracts.graph import Layer as GraphLayer
from finetuner.contracts.graph import ModelGraph, Operation, Parameter
from finetuner.errors import ModelError
from finetuner_keras.facts import facts_of
from finetuner_keras.inputs import input_map, refuse_strings
from finetuner_keras.layers import Layer, named_layers, named_variables, own_variables
from finetuner_keras.messages import cause
from finetuner_keras.normalise import mark_normalisations
from finetuner_keras.recorder import Recorder
from finetuner_keras.tree import named_tensors

PRIMARY = "logits"
"""The output that is the primary one wherever it stands."""


def trace(model: Layer, sample: Inputs) -> ModelGraph:
    """Record which layers and operations one call runs, on what.

    ``sample`` maps canonical input names to numpy arrays, batch first. The model
    is called on symbolic tensors of these shapes, in evaluation mode; Keras's own
    layers count as one operation (and their activation as another), any other
    layer is looked into. It stays as it was.

    Raises:
        ModelError: the model is not built, takes strings, holds a PyTorch module,
            cannot take these inputs, fails on them, or gives no tensor.
    """
    check_model(model)
    mapping = input_map(model, sample)
    symbols = {
        name: keras.KerasTensor(array.shape, keras.backend.standardize_dtype(array.dtype))
        for name, array in sample.items()
    }
    recorder = Recorder(model)
    taken = {name for _, name in mapping.names}
    inputs = tuple((name, recorder.number(symbols[name])) for name in symbols if name in taken)
    args, kwargs = mapping.bind(symbols)
    try:
        with recorder.running():
            result = model(*args, **kwargs, **_evaluation(model))
    except Exception as error:
        raise ModelError(_cause(model, sample, error)) from error
    named = sorted(named_tensors(result), key=lambda output: output[0] != PRIMARY)
    if not named:
        raise ModelError(
            f"{type(model).__name__} returned a {type(result).__name__} without a tensor: return "
            "the embedding or the logits as a tensor, or in a list or dictionary"
        )
    outputs = tuple((name, recorder.number(tensor)) for name, tensor in named)
    operations = mark_normalisations(recorder.operations)
    return ModelGraph(
        framework="keras",
        tensors=recorder.described(),
        operations=tuple(operations),
        layers=_in_order_met(layers_of(model), operations),
        calls=tuple(recorder.calls),
        inputs=inputs,
        outputs=outputs,
        facts=facts_of(model),
    )


def check_model(model: Layer) -> None:
    """Raises ``ModelError`` for a model that cannot be interpreted at all."""
    refuse_strings(model)
    lazy = [name for name, layer in named_layers(model).items() if not layer.built]
    if not model.built or (lazy and not named_variables(model)):
        raise ModelError(
            f"{type(model).__name__} has no weights yet"
            f"{f' ({lazy[-1]!r} is not built)' if lazy and lazy[-1] else ''}: give it a "
            "keras.Input, or call it once on a batch, then hand it over"
        )
    for name, layer in named_layers(model).items():
        if held := _torch_module(name, layer):
            raise ModelError(
                f"{type(model).__name__} holds a PyTorch module ({held!r}): build the model of "
                "Keras layers alone, or make all of it one torch.nn.Module"
            )
        if getattr(layer, "data_format", None) == "channels_first" and hasattr(layer, "kernel"):
            raise ModelError(
                f"the layer {name!r} is channels-first: build the model channels-last "
                "(keras.config.set_image_data_format('channels_last'))"
            )


def _torch_module(path: str, layer: Layer) -> str | None:
    """The path of a PyTorch module that the layer is or holds; Keras on PyTorch wraps them."""
    if type(layer).__name__ == "TorchModuleWrapper":
        return path
    torch = sys.modules.get("torch")
    if torch is None or isinstance(layer, torch.nn.Module):
        return None
    held = (name for name, value in vars(layer).items() if isinstance(value, torch.nn.Module))
    return next((f"{path}.{name}".lstrip(".") for name in held), None)


def layers_of(model: Layer) -> tuple[GraphLayer, ...]:
    """Every layer with its own weights and statistics, in order of registration."""
    known = {id(variable): name for name, variable in named_variables(model).items()}
    found = []
    for path, layer in named_layers(model).items():
        own = []
        for name, variable, statistic in own_variables(layer):
            full = f"{path}.{name}".lstrip(".")
            if known.get(id(variable)) == full:
                trainable = bool(variable.trainable) and not statistic
                shape = tuple(variable.shape)
                own.append(Parameter(full, shape, variable.dtype, trainable, statistic))
        found.append(GraphLayer(path, type(layer).__name__, tuple(own)))
    return tuple(found)


def _evaluation(model: Layer) -> dict[str, Any]:
    return {"training": False} if model._call_has_training_arg else {}


def _in_order_met(
    layers: tuple[GraphLayer, ...], operations: Iterable[Operation]
) -> tuple[GraphLayer, ...]:
    """Holders of parameters in the order in which data met them, then the others."""
    owner = {p.name: layer for layer in layers for p in layer.parameters}
    met = [owner[name] for operation in operations for name in operation.parameters]
    unmet = (layer for layer in layers if layer.parameters)
    return tuple({layer.name: layer for layer in (*met, *unmet, *layers)}.values())


def _cause(model: Layer, sample: Mapping[str, Any], error: Exception) -> str:
    shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in sample.items())
    return (
        f"{type(model).__name__} could not be interpreted on a sample ({shapes}). "
        f"{cause(error)}. Check that the model takes inputs of these shapes and types, and that "
        "its call uses keras.ops, not one framework's own functions"
    )
