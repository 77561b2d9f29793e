"""Models from ``.keras`` files, without running code that a file brings."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from finetuner.errors import ModelError
from finetuner_keras.layers import Layer
from finetuner_keras.messages import cause

BOUND = {
    "TFSMLayer": "tensorflow",
    "TorchModuleWrapper": "torch",
    "JaxLayer": "jax",
    "FlaxLayer": "jax",
}
"""Layers that run on one Keras backend alone."""

LARGE, EXPANSION = 64 * 2**20, 100
"""Bytes above which a member may take at most that many times its size in the file.

Keras stores weights uncompressed; only a file made to fill memory is beyond both.
"""


def load_archive(path: Path) -> Layer:
    """The model in a ``.keras`` file, in Keras's safe mode.

    Raises ``ModelError`` for a file that is none, that expands to fill the memory,
    that holds a lambda layer (which is code), that was made for another Keras
    backend, or whose classes are unknown.
    """
    config = _config(path)
    for entry in _objects(config):
        name = str(entry.get("class_name"))
        if name == "Lambda" and _is_code(entry):
            raise ModelError(
                f"{path} holds a lambda layer ({_layer_name(entry)!r}), which is code that would "
                "run when it is read, and is refused: load it yourself if you trust the file and "
                "give the live model, or save it with a registered layer instead"
            )
        needed = BOUND.get(name)
        if needed is not None and needed != keras.backend.backend():
            raise ModelError(
                f"{path} holds a {name} ({_layer_name(entry)!r}), which runs on {needed} alone, "
                f"and this is Keras on {keras.backend.backend()}: set KERAS_BACKEND={needed}"
            )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be loaded by Keras {keras.version()} on {keras.backend.backend()} "
            f"({cause(error)}). Classes of your own must be imported, and registered with "
            "keras.saving.register_keras_serializable()"
        ) from error


def _config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_expanding(path, archive)
            return json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} is no .keras file ({type(error).__name__}: {error}): write one with "
            "model.save('model.keras')"
        ) from error


def _refuse_expanding(path: Path, archive: zipfile.ZipFile) -> None:
    for member in archive.infolist():
        if member.file_size > max(LARGE, EXPANSION * member.compress_size):
            raise ModelError(
                f"{path} is refused: {member.filename} would expand from "
                f"{member.compress_size:,} to {member.file_size:,} bytes, which no model does. "
                "Write it again with model.save('model.keras')"
            )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object in a configuration, outer ones first."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for child in value.values():
            yield from _objects(child)
    elif isinstance(value, list):
        for child in value:
            yield from _objects(child)


def _is_code(entry: dict[str, Any]) -> bool:
    """Whether a lambda layer's function is stored as code, not by a registered name."""
    return any(found.get("class_name") == "__lambda__" for found in _objects(entry.get("config")))


def _layer_name(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    return str(config.get("name", "")) if isinstance(config, dict) else ""
