"""Preprocessing for a bare model, from the data that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from finetuner.contracts import InputSpec, Preprocessing, Step
from finetuner.data.dataset import LabeledDataset
from finetuner.data.text import read_tokenizer
from finetuner.errors import DataError, UnknownNameError, UsageError

TOKENIZER_FILE = "tokenizer.json"
"""The name that a tokenizer has inside a bundle."""

PREPROCESSING_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "text": ("tokenizer", "max_length", "prefix", "padding_id", "inputs"),
    "image": ("image_size", "interpolation", "mean", "std", "layout"),
    "array": ("dtype",),
}
"""The options of :func:`infer_preprocessing` by modality."""

WHOLE_SPEC = ("preprocessing", "tokenizer")
"""The options where a whole ``Preprocessing`` is given; the tokenizer's file if it names one."""

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MAX_LENGTH = 128


def infer_preprocessing(dataset: LabeledDataset, options: Mapping[str, Any]) -> Preprocessing:
    """What a model without preprocessing of its own is fed.

    - ``preprocessing``, a ``Preprocessing`` or its JSON form, says everything.
    - Arrays: as they are, in float32 (or ``dtype``).
    - Images: the shorter side to ``image_size`` (224), centre crop, 0 to 1, normalised
      by ``mean`` and ``std`` (ImageNet's), channels first (or ``layout``). One
      value of ``mean`` means a grey image.
    - Text: ``tokenizer`` names a ``tokenizer.json`` or its folder; ``max_length``
      (the file's own, or 128) counts tokens; ``inputs`` are the names the model
      takes (``input_ids`` and ``attention_mask``); ``prefix`` is put before each.

    Raises ``UnknownNameError`` for an option that the modality does not have.
    """
    whole = "preprocessing" in options
    known = WHOLE_SPEC if whole else PREPROCESSING_OPTIONS[dataset.modality]
    for name in options:
        if name not in known:
            raise UnknownNameError(f"{dataset.modality} preprocessing option", name, known)
    if whole:
        return _given(options["preprocessing"])
    build = {"text": _text, "image": _image, "array": _array}[dataset.modality]
    return build(dataset, options)


def preprocessing_files(options: Mapping[str, Any]) -> dict[str, Path]:
    """The files, by their name in a bundle, of what :func:`infer_preprocessing` gave."""
    if "tokenizer" not in options:
        return {}
    return {TOKENIZER_FILE: _tokenizer_path(options["tokenizer"])}


def _given(spec: object) -> Preprocessing:
    if isinstance(spec, Preprocessing):
        return spec
    try:
        return msgspec.convert(spec, Preprocessing)
    except msgspec.ValidationError as error:
        raise UsageError(f"preprocessing= is no preprocessing spec: {error}") from error


def _array(dataset: LabeledDataset, options: Mapping[str, Any]) -> Preprocessing:
    name = str(options.get("dtype", "float32"))
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise UsageError(f"dtype is {name!r}, which numpy does not know") from error
    shape = np.shape(dataset.contents[0])
    return Preprocessing("array", (InputSpec("array", dtype.name, (None, *shape)),))


def _image(dataset: LabeledDataset, options: Mapping[str, Any]) -> Preprocessing:
    height, width = size = _extents(options.get("image_size", 224))
    mean = _numbers(options.get("mean", _IMAGENET_MEAN))
    std = _numbers(options.get("std", _IMAGENET_STD))
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise UsageError(
            f"mean has {len(mean)} values and std {len(std)}: give one each for grey images, "
            "or three"
        )
    order = options.get("layout", "channels-first")
    extents = (
        (len(mean), height, width) if order == "channels-first" else (height, width, len(mean))
    )
    steps = (
        Step("to-gray" if len(mean) == 1 else "to-rgb"),
        Step(
            "resize",
            {"size": list(size), "interpolation": options.get("interpolation", "bilinear")},
        ),
        Step("center-crop", {"size": list(size)}),
        Step("scale", {"factor": 1 / 255}),
        Step("normalize", {"mean": mean, "std": std}),
        Step("layout", {"order": order}),
    )
    return Preprocessing("image", (InputSpec("image", "float32", (None, *extents)),), steps)


def _text(dataset: LabeledDataset, options: Mapping[str, Any]) -> Preprocessing:
    if "tokenizer" not in options:
        raise UsageError(
            "the data is text, but the model brings no tokenizer: name a tokenizer.json with "
            "model_options={'tokenizer': PATH}"
        )
    found = read_tokenizer(_tokenizer_path(options["tokenizer"]))
    truncation = found.truncation or {}
    return Preprocessing(
        modality="text",
        inputs=tuple(
            InputSpec(name, "int64", (None, None))
            for name in options.get("inputs", ("input_ids", "attention_mask"))
        ),
        tokenizer=TOKENIZER_FILE,
        max_length=options.get("max_length", truncation.get("max_length", _MAX_LENGTH)),
        padding_id=options.get("padding_id", _padding_id(found)),
        prefix=options.get("prefix", ""),
    )


def _tokenizer_path(given: str | Path) -> Path:
    path = Path(given)
    path = path / TOKENIZER_FILE if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"there is no tokenizer at {path}")
    return path


def _padding_id(tokenizer: Any) -> int:
    """The file's padding token, or the first of the usual ones that it has, or 0."""
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    found = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>", "<|endoftext|>"))
    return next((token for token in found if token is not None), 0)


def _extents(size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(extent, int) and extent > 0 for extent in pair):
        raise UsageError(f"image_size={size!r} must be a positive integer or (height, width)")
    return pair[0], pair[1]


def _numbers(values: float | Sequence[float]) -> list[float]:
    return [float(values)] if isinstance(values, int | float) else [float(v) for v in values]
