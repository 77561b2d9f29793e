from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from finetuner.data.arrays import cast, layout, normalize, reshape, reverse_channels, scale
from finetuner.errors import UsageError


def test_scale_makes_an_image_floats_with_a_channel_axis() -> None:
    values = scale(Image.new("RGB", (3, 2), (255, 0, 51)))
    assert (values.shape, values.dtype) == ((2, 3, 3), np.float32)
    np.testing.assert_allclose(values[0, 0], [1.0, 0.0, 0.2], rtol=1e-6)
    assert scale(Image.new("L", (3, 2))).shape == (2, 3, 1)


def test_scale_takes_any_factor() -> None:
    assert scale(np.array([2, 4]), factor=0.5).tolist() == [1.0, 2.0]


def test_normalize_by_number_and_by_channel() -> None:
    assert normalize(np.array([3.0, 5.0]), mean=1, std=2).tolist() == [1.0, 2.0]
    pixel = np.array([[[1.0, 2.0]]])
    assert normalize(pixel, mean=[1, 1], std=[1, 2]).tolist() == [[[0.0, 0.5]]]
    first = np.array([[[1.0]], [[2.0]]])
    assert normalize(first, mean=[1, 1], std=[1, 2], axis=0).ravel().tolist() == [0.0, 0.5]


def test_layout_moves_the_channels_to_the_front() -> None:
    pixels = np.arange(24.0).reshape(2, 3, 4)
    moved = layout(pixels, order="channels-first")
    assert moved.shape == (4, 2, 3)
    assert moved[3, 1, 2] == pixels[1, 2, 3]
    assert layout(pixels, order="channels-last").tolist() == pixels.tolist()


def test_reverse_channels_makes_blue_the_first() -> None:
    picture = Image.new("RGB", (3, 2), (1, 2, 3))
    values = reverse_channels(picture)
    assert (values.shape, values.dtype) == ((2, 3, 3), np.float32)
    assert values[1, 2].tolist() == [3.0, 2.0, 1.0]
    assert reverse_channels(values)[1, 2].tolist() == [1.0, 2.0, 3.0]
    assert values.flags.c_contiguous
    assert np.asarray(picture)[1, 2].tolist() == [1, 2, 3]


def test_reverse_channels_keeps_rows_and_columns_where_they_are() -> None:
    pixels = np.arange(12.0).reshape(2, 2, 3)
    assert reverse_channels(pixels).tolist() == [
        [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]],
        [[8.0, 7.0, 6.0], [11.0, 10.0, 9.0]],
    ]


def test_reshape_and_cast() -> None:
    assert reshape(np.arange(6), shape=[2, -1]).shape == (2, 3)
    assert cast(np.array([1.7]), dtype="int64").tolist() == [1]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: normalize(np.ones(3), mean=[1, 2], std=[1, 2]), "2 values do not fit axis -1"),
        (lambda: normalize(np.ones(3), mean=0, std=0), "must not hold a zero"),
        (lambda: normalize(np.ones(3), mean=[0], std=[1], axis=4), "axis 4"),
        (lambda: layout(np.ones((2, 2, 3)), order="CHW"), "order is 'CHW'"),
        (lambda: layout(np.ones(3), order="channels-first"), "H×W×C array is needed"),
        (lambda: reverse_channels(np.ones((2, 3))), "H×W×C array is needed, not \\(2, 3\\)"),
        (lambda: reshape(np.ones(5), shape=[2, -1]), "does not fit"),
        (lambda: cast(np.ones(5), dtype="float7"), "is no dtype"),
    ],
)
def test_options_that_do_not_fit(call: object, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        call()  # type: ignore[operator]
