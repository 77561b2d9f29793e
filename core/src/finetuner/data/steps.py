"""The preprocessing steps of core, and how a list of steps becomes functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from finetuner.contracts import Step, TransformRecord
from finetuner.data import arrays, augment, images
from finetuner.errors import UnknownNameError, UsageError
from finetuner.plugins.options import check_options, named_options

STEPS: tuple[TransformRecord, ...] = (
    TransformRecord("to-rgb", images.to_rgb),
    TransformRecord("to-gray", images.to_gray),
    TransformRecord("resize", images.resize),
    TransformRecord("center-crop", images.center_crop),
    TransformRecord("scale", arrays.scale),
    TransformRecord("normalize", arrays.normalize),
    TransformRecord("reverse-channels", arrays.reverse_channels),
    TransformRecord("layout", arrays.layout),
    TransformRecord("reshape", arrays.reshape),
    TransformRecord("cast", arrays.cast),
    TransformRecord("random-flip", augment.random_flip, training_only=True),
    TransformRecord("random-resized-crop", augment.random_resized_crop, training_only=True),
    TransformRecord("color-jitter", augment.color_jitter, training_only=True),
    TransformRecord("random-rotation", augment.random_rotation, training_only=True),
)
"""Every step that core knows, by name."""

Transform = Callable[[Any], Any]
SeededTransform = Callable[..., Any]


def compile_steps(
    steps: Sequence[Step], transforms: Mapping[str, TransformRecord]
) -> tuple[Transform, ...]:
    """The functions of a preprocessing spec, in order.

    Raises ``UnknownNameError`` for an unknown step or option, ``UsageError`` for
    a missing option or a step that is for training only.
    """
    for step in steps:
        if _record(step, transforms).training_only:
            raise UsageError(
                f"the step {step.name!r} is for training only: give it as augmentation, "
                "not as preprocessing"
            )
    return tuple(_bind(step, transforms[step.name]) for step in steps)


def compile_augmentation(
    steps: Sequence[Step], transforms: Mapping[str, TransformRecord]
) -> tuple[SeededTransform, ...]:
    """Functions ``f(value, rng=...)``; steps that are not random take part, too."""
    return tuple(
        bound if record.training_only else partial(_without_rng, bound)
        for step in steps
        for record in (_record(step, transforms),)
        for bound in (_bind(step, record),)
    )


def _without_rng(transform: Transform, value: Any, *, rng: object) -> Any:
    return transform(value)


def _record(step: Step, transforms: Mapping[str, TransformRecord]) -> TransformRecord:
    if step.name not in transforms:
        raise UnknownNameError("preprocessing step", step.name, transforms)
    return transforms[step.name]


def _bind(step: Step, record: TransformRecord) -> Transform:
    """The step with its options, checked against the function's keywords."""
    _, *others = named_options(record.function).items()
    known = {name: default for name, default in others if name != "rng"}
    options = check_options("the step", repr(step.name), record.function, step.options, known=known)
    return partial(record.function, **options)
