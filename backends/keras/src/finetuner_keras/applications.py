"""The models of ``keras.applications`` by name, with the preprocessing each was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from finetuner.contracts import InputSpec, LoadedModel, Preprocessing, Step
from finetuner.errors import ModelError, UnknownNameError, UsageError
from finetuner_keras.messages import cause

PREFIX = "keras/"
OPTIONS = ("weights", "image_size", "classes")
INSIDE = ("EfficientNet", "MobileNetV3", "ConvNeXt")
"""Families that scale and normalise inside the model: they take 0 to 255."""

CAFFE = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
CAFFE_MEAN = (123.68, 116.779, 103.939)
"""By channel of an RGB image, 0 to 255; these models take BGR."""

TORCH = ("DenseNet",)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_SIZE = 224
SIZES = {"Inception": 299, "Xception": 299, "NASNetLarge": 331}


def application_names() -> tuple[str, ...]:
    """The models by Keras's own names, such as ``MobileNetV2``."""
    return tuple(
        name
        for name, value in sorted(vars(keras.applications).items())
        if inspect.isfunction(value) and name[:1].isupper()
    )


def load_application(name: str, options: Mapping[str, Any]) -> LoadedModel:
    """The model ``keras/NAME``.

    ``weights`` is ``"imagenet"`` (downloaded by Keras), ``None`` or a file;
    ``image_size`` the extent of the images; ``classes`` the width of a head, which
    is left out by default. Raises ``UnknownNameError`` for a name that Keras does
    not have, or an option.
    """
    short = name.removeprefix(PREFIX)
    if short not in application_names():
        known = (f"{PREFIX}{known}" for known in application_names())
        raise UnknownNameError("Keras application", name, known)
    for option in options:
        if option not in OPTIONS:
            raise UnknownNameError("option of keras.applications", option, OPTIONS)
    size = options.get("image_size", _default_size(short))
    if not isinstance(size, int) or size < 32:
        raise UsageError(f"image_size={size!r} must be an integer of at least 32")
    classes = options.get("classes")
    head = {"include_top": False, "pooling": "avg"} if classes is None else {"classes": classes}
    build = getattr(keras.applications, short)
    try:
        weights = options.get("weights", "imagenet")
        model = build(weights=weights, input_shape=(size, size, 3), **head)
    except Exception as error:
        raise ModelError(
            f"{name} could not be loaded ({cause(error)}). Weights are "
            "'imagenet' (Keras downloads them), None, or a file: model_options={'weights': PATH}"
        ) from error
    return LoadedModel(model, "keras", image_steps(short, size), reference=name)


def image_steps(name: str, size: int) -> Preprocessing:
    """Resize, crop and the scaling that the model's own ``preprocess_input`` does."""
    steps = (
        Step("to-rgb"),
        Step("resize", {"size": [size, size], "interpolation": "bilinear"}),
        Step("center-crop", {"size": [size, size]}),
        *_scaling(name),
        Step("layout", {"order": "channels-last"}),
    )
    return Preprocessing("image", (InputSpec("image", "float32", (None, size, size, 3)),), steps)


def _scaling(name: str) -> tuple[Step, ...]:
    if name.startswith(INSIDE):
        return ()
    if name in CAFFE:
        centred = Step("normalize", {"mean": list(CAFFE_MEAN), "std": [1.0, 1.0, 1.0]})
        return centred, Step("reverse-channels")
    halves = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if name.startswith(TORCH) else halves
    return (
        Step("scale", {"factor": 1 / 255}),
        Step("normalize", {"mean": list(mean), "std": list(std)}),
    )


def _default_size(name: str) -> int:
    return next((size for start, size in SIZES.items() if name.startswith(start)), DEFAULT_SIZE)
