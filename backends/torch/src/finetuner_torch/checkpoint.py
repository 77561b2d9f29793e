"""States and weights on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from finetuner.errors import ModelError
from finetuner_torch.state import State

WEIGHTS_FILE = "weights.safetensors"
TENSORS_FILE = "state.safetensors"
VALUES_FILE = "state.json"

_MODEL, _OBJECTIVE, _MOMENTS = "model/", "objective/", "optimizer/"


def save(state: State, directory: Path) -> None:
    """Write weights, statistics, the optimizer's moments, step, seed and loss scale.

    Raises ``OSError`` where the disk does not take it.
    """
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in weights(state.model).items()}
    tensors |= {f"{_OBJECTIVE}{name}": tensor for name, tensor in state.parameters.items()}
    for name, parameter in state.trained.items():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"{_MOMENTS}{name}/{key}"] = torch.as_tensor(value)
    _save_file(tensors, directory / TENSORS_FILE)
    values = {
        "optimizer": state.spec.name,
        "seed": state.seed,
        "step": state.step,
        "scaler": state.scaler.state_dict() if state.scaler else None,
    }
    (directory / VALUES_FILE).write_text(json.dumps(values, indent=1) + "\n")


def restore(state: State, directory: Path) -> State:
    """Fill ``state``, fresh from the same model and optimizer, with what was saved.

    Training on gives the same bits as if it had never stopped. Raises
    ``ModelError`` where the checkpoint is of another model or cannot be read.
    """
    try:
        saved = load_file(directory / TENSORS_FILE)
        values = json.loads((directory / VALUES_FILE).read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"the checkpoint {directory} cannot be read: {error}") from error
    here = {f"{_MODEL}{name}": tensor for name, tensor in weights(state.model).items()}
    here |= {f"{_OBJECTIVE}{name}": tensor for name, tensor in state.parameters.items()}
    moments = {name: saved.pop(name) for name in list(saved) if name.startswith(_MOMENTS)}
    _check_same(here, saved, directory)
    if values["optimizer"] != state.spec.name:
        raise ModelError(
            f"the checkpoint {directory} was trained with {values['optimizer']!r}, "
            f"not {state.spec.name!r}: choose the same optimizer"
        )
    _load_moments(state, moments, directory)
    with torch.no_grad():
        for name, tensor in here.items():
            tensor.copy_(saved[name])
    if state.scaler is not None and values["scaler"] is not None:
        state.scaler.load_state_dict(values["scaler"])
    state.seed, state.step = values["seed"], values["step"]
    return state


def save_weights(state: State, directory: Path) -> str:
    """Write the embedding model's weights and statistics; tied ones once."""
    _save_file(weights(state.model), directory / WEIGHTS_FILE)
    return WEIGHTS_FILE


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and saved buffers by name; what is shared appears under its first name."""
    found: dict[str, torch.Tensor] = dict(model.named_parameters())
    unsaved = {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        for name in module._non_persistent_buffers_set
    }
    found |= {name: b for name, b in model.named_buffers() if name not in unsaved}
    return found


def _save_file(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(_independent(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def _independent(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, contiguous, no two in one storage: what safetensors asks for."""
    result: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        storages.add(storage.data_ptr())
        result[name] = tensor
    return result


def _check_same(
    here: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor], directory: Path
) -> None:
    if different := sorted(set(here) ^ set(saved)):
        where = "the checkpoint" if different[0] in saved else "the model"
        raise ModelError(
            f"the checkpoint {directory} is of another model: {different[0]!r} is only in {where}"
        )
    for name, tensor in here.items():
        if tensor.shape != saved[name].shape:
            raise ModelError(
                f"the checkpoint {directory} is of another model: {name!r} is "
                f"{tuple(saved[name].shape)} there and {tuple(tensor.shape)} here"
            )


def _load_moments(state: State, moments: Mapping[str, torch.Tensor], directory: Path) -> None:
    order = [p for group in state.optimizer.param_groups for p in group["params"]]
    number = {id(parameter): index for index, parameter in enumerate(order)}
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for path, tensor in moments.items():
        name, _, key = path.removeprefix(_MOMENTS).rpartition("/")
        if name not in state.trained:
            raise ModelError(
                f"the checkpoint {directory} trained {name!r}, which is frozen here: "
                "choose the same freeze"
            )
        entries.setdefault(number[id(state.trained[name])], {})[key] = tensor
    current = state.optimizer.state_dict()
    state.optimizer.load_state_dict({**current, "state": entries})
