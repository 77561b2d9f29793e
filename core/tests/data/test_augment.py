from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from finetuner.data.augment import (
    color_jitter,
    random_flip,
    random_resized_crop,
    random_rotation,
)
from finetuner.errors import UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_flip_mirrors_always_never_or_half_the_time() -> None:
    assert np.array_equal(random_flip(PICTURE, rng=rng(), p=1.0), PIXELS[:, ::-1])
    assert np.array_equal(random_flip(PICTURE, rng=rng(), p=0.0), PIXELS)
    seeds = [np.array_equal(random_flip(PICTURE, rng=rng(s)), PIXELS) for s in range(200)]
    assert 70 < sum(seeds) < 130


def test_a_crop_of_the_whole_at_the_same_size_is_the_image() -> None:
    square = Image.fromarray(PIXELS[:, :12])
    whole = random_resized_crop(square, rng=rng(), size=12, scale=(1, 1), ratio=(1, 1))
    assert np.array_equal(whole, square)


def test_a_crop_shows_a_part_in_the_size_asked_for() -> None:
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(64)[None, :], np.arange(64)[:, None]
    spans = []
    for seed in range(50):
        part = random_resized_crop(
            Image.fromarray(ramp), rng=rng(seed), size=[32, 48], scale=(0.25, 0.25), ratio=(1, 1)
        )
        assert part.size == (48, 32)
        values = np.asarray(part, dtype=int)
        spans.append((np.ptp(values[..., 0]), np.ptp(values[..., 1])))
    # A quarter of the area with ratio 1 is 32 by 32 pixels: neighbouring values 0 to 31.
    assert {span for pair in spans for span in pair} <= {30, 31}


def test_a_ratio_that_never_fits_takes_the_whole_image() -> None:
    strip = Image.fromarray(PIXELS[:1])
    whole = random_resized_crop(strip, rng=rng(), size=[1, 16], scale=(1, 1), ratio=(0.1, 0.2))
    assert np.array_equal(whole, PIXELS[:1])


def test_jitter_of_strength_zero_changes_nothing_and_else_the_same_for_a_seed() -> None:
    same = color_jitter(PICTURE, rng=rng(), brightness=0, contrast=0, saturation=0)
    assert np.array_equal(same, PIXELS)
    one, two = (color_jitter(PICTURE, rng=rng(5)) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, PIXELS)
    with pytest.raises(UsageError, match="strength is 2"):
        color_jitter(PICTURE, rng=rng(), contrast=2)


def test_jitter_of_brightness_scales_the_pixels() -> None:
    gray = Image.new("RGB", (1, 1), (100, 100, 100))
    for seed in range(20):
        factor = rng(seed).uniform(0.5, 1.5)
        out = color_jitter(gray, rng=rng(seed), brightness=0.5, contrast=0, saturation=0)
        assert abs(np.asarray(out)[0, 0, 0] - 100 * factor) <= 1


def test_rotation_keeps_the_size_and_by_zero_the_pixels() -> None:
    assert np.array_equal(random_rotation(PICTURE, rng=rng(), degrees=0), PIXELS)
    assert random_rotation(PICTURE, rng=rng(), degrees=90).size == PICTURE.size
