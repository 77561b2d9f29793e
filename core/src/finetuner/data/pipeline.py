"""One image or array through the steps of a preprocessing spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from finetuner.contracts import InputSpec, Preprocessing, Step, TransformRecord
from finetuner.data.images import open_image, to_rgb
from finetuner.data.steps import SeededTransform, compile_steps
from finetuner.errors import DataError, UsageError

_ON_PICTURES = ("to-rgb", "to-gray", "resize", "center-crop")
"""Core's steps that give a picture again: 8 bits per value, worth keeping in memory."""


class RowPipeline:
    """Runs the steps of an image or array spec on single rows.

    Raises ``UsageError`` for a spec with more than one input or an unknown step.
    """

    def __init__(self, spec: Preprocessing, transforms: Mapping[str, TransformRecord]) -> None:
        self.input = _only_input(spec)
        self._is_image = spec.modality == "image"
        pictorial = _leading_pictorial(spec.steps) if self._is_image else 0
        steps = compile_steps(spec.steps, transforms)
        self._on_picture, self._on_numbers = steps[:pictorial], steps[pictorial:]
        self._background_known = bool(spec.steps) and spec.steps[0].name == "to-rgb"

    def picture(self, content: Any) -> Any:
        """The content decoded (RGB) and through the leading steps that give a picture."""
        return self._shaped(self._decoded(content))

    def augmented(
        self, content: Any, changes: Sequence[SeededTransform], rng: np.random.Generator
    ) -> Any:
        """As :meth:`picture`, with ``changes`` made to the decoded image first."""
        value = self._decoded(content)
        for change in changes:
            value = change(value, rng=rng)
        return self._shaped(value)

    def numbers(self, picture: Any, row: int) -> np.ndarray:
        """One row of the model's input. Raises ``DataError`` naming ``row`` if it does not fit."""
        value = reduce(lambda current, step: step(current), self._on_numbers, picture)
        return _fitted(value, self.input, row)

    def _decoded(self, content: Any) -> Any:
        if not self._is_image:
            return np.asarray(content)
        image = open_image(content)
        return image if self._background_known else to_rgb(image)

    def _shaped(self, value: Any) -> Any:
        return reduce(lambda current, step: step(current), self._on_picture, value)


def _leading_pictorial(steps: Sequence[Step]) -> int:
    for index, step in enumerate(steps):
        if step.name not in _ON_PICTURES:
            return index
    return len(steps)


def _only_input(spec: Preprocessing) -> InputSpec:
    if len(spec.inputs) != 1:
        names = ", ".join(wanted.name for wanted in spec.inputs) or "none"
        raise UsageError(f"a preprocessing for {spec.modality} has one input, but got {names}")
    return spec.inputs[0]


def _fitted(value: Any, wanted: InputSpec, row: int) -> np.ndarray:
    """``value`` in the input's dtype, if its shape is the input's."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(f"row {row} holds {array.dtype}, not numbers")
    extents = wanted.shape[1:]
    fits = len(extents) == array.ndim and all(
        extent in (None, have) for extent, have in zip(extents, array.shape, strict=True)
    )
    if not fits:
        shown = "×".join("any" if extent is None else str(extent) for extent in extents)
        raise DataError(
            f"row {row} has the shape {array.shape} after preprocessing, but the model's input "
            f"{wanted.name!r} takes {shown or 'single numbers'}"
        )
    return array.astype(wanted.dtype, copy=False)
