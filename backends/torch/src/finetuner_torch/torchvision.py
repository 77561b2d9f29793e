"""torchvision's classifiers, by torchvision's own names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from finetuner.contracts import LoadedModel, Preprocessing
from finetuner.errors import MissingDependencyError, ModelError, UnknownNameError
from finetuner_torch.images import image_preprocessing
from finetuner_torch.options import check_options
from finetuner_torch.timm import load_weights

PREFIX = "torchvision/"
OPTIONS = ("pretrained", "weights")


def load_torchvision(name: str, options: Mapping[str, Any]) -> LoadedModel:
    """``torchvision/NAME`` with its default weights and their preprocessing.

    ``weights`` is the path of a safetensors file; otherwise torchvision fetches its
    own, unless ``pretrained=False`` asks for random ones.
    """
    torchvision = import_torchvision()
    model_name = name.removeprefix(PREFIX)
    check_options(options, OPTIONS, "a torchvision model")
    if model_name not in torchvision.models.list_models(module=torchvision.models):
        raise UnknownNameError("model", name, torchvision_names())
    file = options.get("weights")
    weights = torchvision.models.get_model_weights(model_name).DEFAULT
    fetched = bool(options.get("pretrained", True)) and file is None
    model = torchvision.models.get_model(model_name, weights=weights if fetched else None)
    if file is not None:
        load_weights(model, Path(file))
    return LoadedModel(
        model.eval(),
        "torch",
        from_presets(weights.transforms()),
        reference=None if file is not None else name,
    )


@cache
def torchvision_names() -> tuple[str, ...]:
    """Every classifier that torchvision has, as ``torchvision/NAME``; none without it."""
    try:
        torchvision = import_torchvision()
    except MissingDependencyError:
        return ()
    names = torchvision.models.list_models(module=torchvision.models)
    return tuple(f"{PREFIX}{name}" for name in names)


def import_torchvision() -> Any:
    """The torchvision package. Raises ``MissingDependencyError``."""
    try:
        import torchvision
    # Beside a torch that it was not built for, torchvision fails with RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            f"torchvision/* models need a torchvision that fits torch ({error}): "
            "pip install torchvision"
        ) from error
    return torchvision


def from_presets(transforms: Any) -> Preprocessing:
    """The transforms that belong to a set of weights, as steps."""
    crop, resize = list(transforms.crop_size), list(transforms.resize_size)
    size = (int(crop[0]), int(crop[-1]))
    interpolation = transforms.interpolation.value
    if size[0] < 1:
        raise ModelError(f"the model's preprocessing crops to {crop}, which is not understood")
    return image_preprocessing(
        size,
        resize=int(resize[0]) if len(resize) == 1 else [int(extent) for extent in resize],
        interpolation=interpolation,
        mean=transforms.mean,
        std=transforms.std,
    )
