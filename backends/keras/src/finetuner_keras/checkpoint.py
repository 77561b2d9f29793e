"""States and weights on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from finetuner.errors import ModelError
from finetuner_keras import engines
from finetuner_keras.engines import Tensors
from finetuner_keras.state import State

WEIGHTS_FILE = "weights.safetensors"
TENSORS_FILE = "state.safetensors"
VALUES_FILE = "state.json"

_TRAINED, _REST, _MOMENTS = "trained/", "rest/", "optimizer/"


def save(state: State, directory: Path) -> None:
    """Write weights, statistics, the optimizer's moments, step and seed.

    Raises ``OSError`` where the disk does not take it.
    """
    _save_file(_tensors(state), directory / TENSORS_FILE)
    values = {
        "keras_backend": keras.backend.backend(),
        "optimizer": state.spec.name,
        "seed": state.seed,
        "step": state.step,
    }
    (directory / VALUES_FILE).write_text(json.dumps(values, indent=1) + "\n")


def restore(state: State, directory: Path) -> State:
    """Fill ``state``, fresh from the same model and optimizer, with what was saved.

    Training on gives the same bits as if it had never stopped. Raises
    ``ModelError`` where the checkpoint is of another model or of another Keras
    backend, or cannot be read.
    """
    try:
        saved = load_file(directory / TENSORS_FILE)
        values = json.loads((directory / VALUES_FILE).read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"the checkpoint {directory} cannot be read: {error}") from error
    if values.get("keras_backend") != keras.backend.backend():
        raise ModelError(
            f"the checkpoint {directory} was written by Keras on {values.get('keras_backend')!r}, "
            f"and this is Keras on {keras.backend.backend()!r}, which would not go on with the "
            f"same bits: set KERAS_BACKEND={values.get('keras_backend')}"
        )
    if values["optimizer"] != state.spec.name:
        raise ModelError(
            f"the checkpoint {directory} was trained with {values['optimizer']!r}, "
            f"not {state.spec.name!r}: choose the same optimizer"
        )
    _check_same(_tensors(state), saved, directory)
    engine = engines.current()
    with engine.on_device(state.device):
        state.trained = {n: engine.to_tensor(saved[f"{_TRAINED}{n}"]) for n in state.trained}
        state.rest = {n: engine.to_tensor(saved[f"{_REST}{n}"]) for n in state.rest}
        state.moments = {
            kind: {n: engine.to_tensor(saved[f"{_MOMENTS}{kind}/{n}"]) for n in moments}
            for kind, moments in state.moments.items()
        }
    state.seed, state.step = values["seed"], values["step"]
    return state


def save_weights(state: State, directory: Path) -> str:
    """Write the embedding model's weights and statistics."""
    _save_file(state.weights, directory / WEIGHTS_FILE)
    return WEIGHTS_FILE


def _tensors(state: State) -> dict[str, object]:
    found = {f"{_TRAINED}{name}": tensor for name, tensor in state.trained.items()}
    found |= {f"{_REST}{name}": tensor for name, tensor in state.rest.items()}
    for kind, moments in state.moments.items():
        found |= {f"{_MOMENTS}{kind}/{name}": tensor for name, tensor in moments.items()}
    return found


def _save_file(tensors: Tensors, path: Path) -> None:
    to_numpy = engines.current().to_numpy
    arrays = {name: np.array(to_numpy(tensor), order="C") for name, tensor in tensors.items()}
    try:
        save_file(arrays, path, metadata={"format": "keras"})
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def _check_same(here: Tensors, saved: Mapping[str, np.ndarray], directory: Path) -> None:
    if different := sorted(set(here) ^ set(saved)):
        where = "the checkpoint" if different[0] in saved else "the model"
        raise ModelError(
            f"the checkpoint {directory} is of another model or freeze: {different[0]!r} is only "
            f"in {where}"
        )
    for name, tensor in here.items():
        if tuple(tensor.shape) != saved[name].shape:
            raise ModelError(
                f"the checkpoint {directory} is of another model: {name!r} is "
                f"{saved[name].shape} there and {tuple(tensor.shape)} here"
            )
