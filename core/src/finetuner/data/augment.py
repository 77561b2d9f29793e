"""Augmentation: seeded changes to training images. Never part of a preprocessing spec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.data.images import Size, extents_of, require_image, resampling
from finetuner.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_ATTEMPTS = 10


def random_flip(image: Any, *, rng: np.random.Generator, p: float = 0.5) -> Image:
    """Mirror left and right with probability ``p``."""
    from PIL import Image

    picture = require_image(image, "random-flip")
    if rng.random() >= p:
        return picture
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def random_resized_crop(
    image: Any,
    *,
    rng: np.random.Generator,
    size: Size,
    scale: Sequence[float] = (0.5, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
) -> Image:
    """Cut out a random part and resize it to ``size``.

    The part has a share of the area drawn from ``scale`` and a width-to-height
    ratio drawn log-uniformly from ``ratio`` (Szegedy et al. 2015, "Going deeper
    with convolutions"); where ten draws do not fit, the whole image is taken.
    """
    picture = require_image(image, "random-resized-crop")
    height, width = extents_of("random-resized-crop", size)
    box = _draw_box(picture.width, picture.height, rng, scale, ratio)
    return picture.resize((width, height), resample=resampling(interpolation), box=box)


def color_jitter(
    image: Any,
    *,
    rng: np.random.Generator,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
) -> Image:
    """Change brightness, contrast and saturation by factors from [1 - x, 1 + x]."""
    from PIL import ImageEnhance

    picture = require_image(image, "color-jitter")
    for enhance, strength in (
        (ImageEnhance.Brightness, brightness),
        (ImageEnhance.Contrast, contrast),
        (ImageEnhance.Color, saturation),
    ):
        if not 0 <= strength <= 1:
            raise UsageError(f"color-jitter: a strength is {strength}; give one from 0 to 1")
        factor = float(rng.uniform(1 - strength, 1 + strength))
        if strength:
            picture = enhance(picture).enhance(factor)
    return picture


def random_rotation(image: Any, *, rng: np.random.Generator, degrees: float = 10.0) -> Image:
    """Turn about the centre by up to ``degrees`` either way; corners become black."""
    picture = require_image(image, "random-rotation")
    angle = float(rng.uniform(-degrees, degrees))
    return picture.rotate(angle, resample=resampling("bilinear"))


def _draw_box(
    width: int,
    height: int,
    rng: np.random.Generator,
    scale: Sequence[float],
    ratio: Sequence[float],
) -> tuple[float, float, float, float]:
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(scale[0], scale[1])
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        wide, high = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < wide <= width and 0 < high <= height:
            left = int(rng.integers(width - wide + 1))
            top = int(rng.integers(height - high + 1))
            return left, top, left + wide, top + high
    return 0, 0, width, height
