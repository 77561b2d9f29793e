"""Live modules, and the preprocessing that a user describes for one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from torch import nn

from finetuner.contracts import LoadedModel, Preprocessing
from finetuner.errors import UsageError
from finetuner_torch.backbones import check_options
from finetuner_torch.images import image_preprocessing
from finetuner_torch.texts import TOKENIZER, text_inputs, text_preprocessing, tokenizer_file

TEXT_OPTIONS = ("tokenizer", "max_length", "padding_id", "prefix", "inputs")
IMAGE_OPTIONS = ("image_size", "mean", "std", "interpolation")
SPEC_OPTIONS = ("preprocessing", "tokenizer")


def load_live(model: nn.Module, options: Mapping[str, Any]) -> LoadedModel:
    """The module as it is; what feeds it is known only where ``options`` say so.

    ``preprocessing`` is a ``Preprocessing`` or its JSON form (its tokenizer's file
    is ``tokenizer``); ``tokenizer`` alone describes text, ``image_size`` images.
    """
    if "preprocessing" in options:
        return _described(model, options)
    if "tokenizer" in options:
        return _text(model, options)
    if "image_size" in options:
        check_options(options, IMAGE_OPTIONS, "a live image model")
        spec = image_preprocessing(
            _extents(options["image_size"]),
            **{name: options[name] for name in IMAGE_OPTIONS[1:] if name in options},
        )
        return LoadedModel(model, "torch", spec)
    return LoadedModel(model, "torch")


def _described(model: nn.Module, options: Mapping[str, Any]) -> LoadedModel:
    check_options(options, SPEC_OPTIONS, "a live model with preprocessing")
    given = options["preprocessing"]
    try:
        spec = given if isinstance(given, Preprocessing) else msgspec.convert(given, Preprocessing)
    except msgspec.ValidationError as error:
        raise UsageError(f"preprocessing= is no preprocessing spec: {error}") from error
    if spec.tokenizer is None:
        if "tokenizer" in options:
            raise UsageError("tokenizer= does not apply: the preprocessing names no tokenizer")
        return LoadedModel(model, "torch", spec)
    if "tokenizer" not in options:
        raise UsageError(
            f"the preprocessing needs {spec.tokenizer!r}: give its path with tokenizer="
        )
    return LoadedModel(model, "torch", spec, {spec.tokenizer: tokenizer_file(options["tokenizer"])})


def _text(model: nn.Module, options: Mapping[str, Any]) -> LoadedModel:
    check_options(options, TEXT_OPTIONS, "a live text model")
    file = tokenizer_file(options["tokenizer"])
    spec = text_preprocessing(
        file,
        inputs=tuple(options.get("inputs", ())) or text_inputs(_forward_names(model)),
        max_length=options.get("max_length"),
        padding_id=options.get("padding_id"),
        prefix=options.get("prefix", ""),
    )
    return LoadedModel(model, "torch", spec, {TOKENIZER: file})


def _forward_names(model: nn.Module) -> tuple[str, ...]:
    return tuple(inspect.signature(model.forward).parameters)


def _extents(size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(extent, int) and extent > 0 for extent in pair):
        raise UsageError(f"image_size={size!r} must be a positive integer or (height, width)")
    return pair[0], pair[1]
