"""Backbones of PyTorch Image Models, by timm's own names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from finetuner.contracts import LoadedModel, Preprocessing
from finetuner.errors import MissingDependencyError, ModelError, UnknownNameError
from finetuner_torch.images import image_preprocessing
from finetuner_torch.options import check_options

PREFIX = "timm/"
OPTIONS = ("pretrained", "weights")


def load_timm(name: str, options: Mapping[str, Any]) -> LoadedModel:
    """``timm/NAME`` with its weights and its own preprocessing.

    ``weights`` is the path of a safetensors file; otherwise timm fetches its own,
    unless ``pretrained=False`` asks for random ones.
    """
    timm = import_timm()
    model_name = name.removeprefix(PREFIX)
    check_options(options, OPTIONS, "a timm model")
    if model_name.partition(".")[0] not in timm.list_models():
        raise UnknownNameError("model", name, timm_names())
    file = options.get("weights")
    model = timm.create_model(
        model_name, pretrained=bool(options.get("pretrained", True)) and file is None
    )
    if file is not None:
        load_weights(model, Path(file))
    config = timm.data.resolve_data_config({}, model=model)
    reference = None if file is not None else name
    return LoadedModel(model.eval(), "torch", from_data_config(config), reference=reference)


@cache
def timm_names() -> tuple[str, ...]:
    """Every model that timm has, as ``timm/NAME``; none without timm."""
    try:
        timm = import_timm()
    except MissingDependencyError:
        return ()
    return tuple(f"{PREFIX}{name}" for name in timm.list_models())


def import_timm() -> Any:
    """The timm package. Raises ``MissingDependencyError``."""
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise MissingDependencyError("timm/* models need timm: pip install timm") from error
    return timm


def from_data_config(config: Mapping[str, Any]) -> Preprocessing:
    """timm's data configuration as steps: its evaluation transform without augmentation."""
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ModelError(f"the model takes images of {channels} channels; only three are supported")
    mode = config.get("crop_mode", "center")
    if mode not in ("center", "squash"):
        raise ModelError(f"the model's preprocessing crops by {mode!r}, which is not supported")
    share = float(config.get("crop_pct", 0.875))
    resize: int | list[int] = [int(height / share), int(width / share)]
    if mode == "center" and height == width:
        resize = int(height / share)
    return image_preprocessing(
        (height, width),
        resize=resize,
        interpolation=str(config.get("interpolation", "bilinear")),
        mean=config["mean"],
        std=config["std"],
    )


def load_weights(model: Any, file: Path) -> None:
    """Fill ``model`` from a safetensors file. Raises ``ModelError`` where it does not fit."""
    from safetensors.torch import load_file

    if file.suffix != ".safetensors" or not file.is_file():
        raise ModelError(f"weights={str(file)!r} is no safetensors file that exists")
    try:
        model.load_state_dict(load_file(file))
    except RuntimeError as error:
        raise ModelError(f"the weights in {file} do not fit the model: {error}") from error
