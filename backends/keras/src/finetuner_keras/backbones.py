"""Models by name, by file, or as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import BackboneRecord, LoadedModel
from finetuner.errors import ModelError, UnknownNameError, UsageError

DATA_OPTIONS = frozenset(
    {"input_shape", "image_size", "interpolation", "mean", "std", "layout", "dtype"}
    | {"tokenizer", "max_length", "prefix", "padding_id", "inputs", "preprocessing"}
)
"""Options that are for those who feed a model whose file does not say how."""


def load(source: object, options: Mapping[str, Any]) -> LoadedModel:
    """A live model, or what a ``.keras`` file or a backbone's name stands for.

    What a bare model is fed is for core to work out, from the data and from what
    its inputs declare.

    Raises:
        ModelError: nothing there can be loaded, or not safely.
        UnknownNameError: no such backbone, or no such option.
    """
    from finetuner_keras.inputs import is_keras, refuse_strings

    if is_keras(source):
        if options:
            raise UsageError(f"a live model takes no options: {', '.join(sorted(options))}")
        refuse_strings(source)
        return LoadedModel(source, "keras", data_defaults=told_by(source))
    if not isinstance(source, (str, Path)):
        raise ModelError(
            f"a {type(source).__name__} is no Keras model: give a keras.Model, the path of a "
            ".keras file, or the name of a backbone"
        )
    path = Path(source).expanduser()
    if path.exists():
        return load_path(path, options)
    for record in BACKBONES:
        if str(source).startswith(record.pattern.removesuffix("*")):
            return record.load(str(source), options)
    patterns = ", ".join(record.pattern for record in BACKBONES)
    raise UnknownNameError(
        "model", str(source), (), f"; it is no existing path and no backbone's name ({patterns})"
    )


def load_path(path: Path, options: Mapping[str, Any]) -> LoadedModel:
    """The model of a ``.keras`` file; ``options`` are about its input alone."""
    from finetuner_keras.archive import load_archive
    from finetuner_keras.inputs import refuse_strings

    for name in options:
        if name not in DATA_OPTIONS:
            raise UnknownNameError("option of a .keras file", name, DATA_OPTIONS)
    if path.is_dir() or path.suffix != ".keras":
        raise _no_loader(path)
    model = load_archive(path)
    refuse_strings(model)
    return LoadedModel(model, "keras", data_defaults=told_by(model), reference=str(path))


def told_by(model: Any) -> dict[str, Any]:
    """What a model's declared inputs say about feeding it.

    Images are channels-last, of the declared size and channels, and in the range that
    the model's own scaling begins with; a model with one input of integers takes
    token numbers alone.
    """
    from finetuner_keras.inputs import ALIASES, declared_inputs

    told: dict[str, Any] = {"layout": "channels-last"}
    declared = declared_inputs(model)
    if declared is None:
        return told
    shape = tuple(model.inputs[0].shape[1:])
    if declared[0] == "one":
        told["inputs"] = ["input_ids"]
        if None not in shape:
            told["input_shape"] = shape
        if len(shape) == 3 and None not in shape[:2]:
            told["image_size"] = list(shape[:2])
        if len(shape) == 3 and shape[2] in (1, 3) and (most := _most_taken(model)):
            told |= {"mean": [0.0] * shape[2], "std": [1.0 / most] * shape[2]}
        elif len(shape) == 3 and shape[2] == 1:
            told |= {"mean": [0.0], "std": [1.0]}
    else:
        own = set(declared[1])
        wanted = [n for n, others in ALIASES.items() if own & {n, *others} and n != "image"]
        if wanted:
            told["inputs"] = wanted
    return told


def _most_taken(model: Any) -> float | None:
    """The brightest that a model takes which scales images itself; ``None`` for another.

    Scaling counts that comes before the first layer that learns. A factor below
    1/10, or a mean above 1, is for images of 0 to 255.
    """
    import keras

    from finetuner_keras.layers import named_layers

    for layer in named_layers(model).values():
        if isinstance(layer, keras.layers.Rescaling):
            return 255.0 if float(np.max(layer.scale)) < 0.1 else 1.0
        if isinstance(layer, keras.layers.Normalization):
            mean = keras.ops.convert_to_numpy(layer.mean)
            return 255.0 if float(np.max(mean)) > 1.0 else 1.0
        if layer._trainable_variables:
            return None
    return None


def _no_loader(path: Path) -> ModelError:
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return ModelError(
            f"{path} is a TensorFlow SavedModel, which Keras 3 does not read: load it with the "
            "Keras that wrote it and call model.save('model.keras')"
        )
    if path.suffix in (".h5", ".hdf5"):
        return ModelError(
            f"{path} is an HDF5 file, which holds no model that can be read safely: load it "
            "yourself and give the live model, or save it as .keras"
        )
    return ModelError(
        f"{path} is of a kind that is not known: give a .keras file, or a live keras.Model"
    )


def _application(name: str, options: Mapping[str, Any]) -> LoadedModel:
    from finetuner_keras.applications import load_application

    return load_application(name, options)


def _application_names() -> tuple[str, ...]:
    from finetuner_keras.applications import PREFIX, application_names

    return tuple(f"{PREFIX}{name}" for name in application_names())


BACKBONES: tuple[BackboneRecord, ...] = (
    BackboneRecord(
        "keras/*",
        "keras",
        _application,
        "image",
        "the models of keras.applications, by Keras's own names",
        _application_names,
    ),
)
