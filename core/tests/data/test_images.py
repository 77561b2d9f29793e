from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetuner.data.images import center_crop, check_image, open_image, resize, to_gray, to_rgb
from finetuner.errors import DataError, UsageError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_by_one() -> np.ndarray:
    """Red on the left, blue on the right: 1×2×3."""
    return np.array([[RED, BLUE]], np.uint8)


def rgb(content: object) -> list[list[list[int]]]:
    image = open_image(content)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def test_a_picture_comes_as_path_uri_bytes_image_or_pixels(
    save_image: Callable[..., Path],
) -> None:
    file = save_image("a b.png", two_by_one())
    expected = two_by_one().tolist()
    uri = file.as_uri()
    assert "%20" in uri
    for content in (
        file,
        str(file),
        uri,
        file.read_bytes(),
        memoryview(file.read_bytes()),
        Image.open(file),
        two_by_one(),
    ):
        assert rgb(content) == expected


def test_the_orientation_of_the_camera_is_applied(save_image: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left becomes top
    file = save_image("a.png", two_by_one(), exif=exif)
    assert rgb(file) == [[list(RED)], [list(BLUE)]]


def test_gray_and_palette_become_three_channels(save_image: Callable[..., Path]) -> None:
    gray = np.array([[7, 200]], np.uint8)
    assert rgb(save_image("gray.png", gray)) == [[[7] * 3, [200] * 3]]
    assert rgb(gray) == rgb(gray[:, :, None]) == [[[7] * 3, [200] * 3]]
    palette = Image.fromarray(two_by_one()).convert("P", palette=Image.Palette.ADAPTIVE)
    assert rgb(save_image("p.png", palette)) == two_by_one().tolist()
    assert rgb(save_image("one.png", Image.new("1", (1, 1), 1))) == [[[255] * 3]]
    assert rgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0))) == [[list(RED)]]


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.ppm", "a.jp2"])
def test_every_known_format_is_decoded(save_image: Callable[..., Path], name: str) -> None:
    pixels = np.full((16, 16, 3), 200, np.uint8)
    assert np.abs(np.asarray(open_image(save_image(name, pixels))).astype(int) - 200).max() <= 2


def test_what_is_no_known_format_is_said(tmp_path: Path) -> None:
    page = tmp_path / "a.png"
    page.write_text("<html>not found</html>")
    for check in (open_image, check_image):
        with pytest.raises(DataError, match=r"a\.png cannot be read as an image: .*none of JPEG"):
            check(page)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is not a file"):
        check_image(tmp_path / "a.png")


def test_sixteen_bits_become_eight_by_value_and_not_by_cutting(
    save_image: Callable[..., Path],
) -> None:
    deep = np.array([[0, 257, 65535, 100 * 257]], np.uint16)
    file = save_image("deep.png", Image.fromarray(deep))
    assert [pixel[0] for pixel in rgb(file)[0]] == [0, 1, 255, 100]
    wide = Image.fromarray(deep.astype(np.int32))
    assert wide.mode == "I"
    assert [pixel[0] for pixel in rgb(wide)[0]] == [0, 1, 255, 100]


def test_transparency_is_kept_for_a_background_or_dropped() -> None:
    half = np.array([[[255, 0, 0, 255], [0, 0, 255, 0]]], np.uint8)
    image = open_image(half)
    assert image.mode == "RGBA"
    assert np.asarray(to_rgb(image)).tolist() == [[list(RED), list(BLUE)]]
    on_white = to_rgb(image, background=(255, 255, 255))
    assert np.asarray(on_white).tolist() == [[list(RED), [255, 255, 255]]]
    assert open_image(Image.new("LA", (1, 1), (9, 0))).mode == "RGBA"


def test_a_huge_image_is_refused_with_a_reason(
    save_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_image("big.png", np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (open_image, check_image):
        with pytest.raises(DataError, match=r"big\.png is too large .*MAX_IMAGE_PIXELS"):
            read(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not an image", "an image of 12 bytes cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as an image"),
        ("nowhere.png", "there is no image at nowhere.png"),
        ("https://example.com/a.png", "is not fetched: download it"),
        ("data:image/png;base64,AAAA", "data URI"),
        ("", "no image is named"),
        (3.5, "a float is not an image"),
        (np.zeros((2, 2, 3)), "float64 with shape"),
        (np.zeros((2, 2, 2), np.uint8), "must be 1, 3 or 4"),
        (np.zeros((0, 2, 3), np.uint8), "is not an image"),
        (Image.new("F", (1, 1)), "no known range"),
    ],
)
def test_what_is_no_image_says_why(content: object, problem: str) -> None:
    for read in (open_image, check_image):
        with pytest.raises(DataError, match=problem):
            read(content)


def test_checking_does_not_change_a_live_image() -> None:
    image = Image.new("L", (3, 2))
    check_image(image)
    open_image(image)
    assert (image.mode, image.size) == ("L", (3, 2))


def test_a_large_jpeg_is_checked_at_a_fraction_of_its_size() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480)).save(buffer, "JPEG")
    check_image(buffer.getvalue())


def test_resize_to_the_shorter_side_rounds_the_longer_down() -> None:
    assert resize(Image.new("RGB", (100, 75)), size=32).size == (42, 32)  # 42.67
    assert resize(Image.new("RGB", (75, 100)), size=32).size == (32, 42)
    assert resize(Image.new("RGB", (75, 100)), size=[5, 7]).size == (7, 5)


def test_nearest_resize_doubles_pixels() -> None:
    doubled = resize(Image.fromarray(two_by_one()), size=[1, 4], interpolation="nearest")
    assert np.asarray(doubled).tolist() == [[list(RED), list(RED), list(BLUE), list(BLUE)]]


def test_bilinear_resize_averages_when_shrinking() -> None:
    pixels = np.array([[[0] * 3, [100] * 3], [[100] * 3, [200] * 3]], np.uint8)
    assert np.asarray(resize(Image.fromarray(pixels), size=[1, 1])).tolist() == [[[100] * 3]]


def columns_of(image: Image.Image) -> list[int]:
    return np.asarray(image)[0, :, 0].tolist()


def test_center_crop_halves_odd_margins_as_asked() -> None:
    strip = Image.fromarray(np.repeat(np.arange(7, dtype=np.uint8)[None, :, None], 3, axis=2))
    assert columns_of(center_crop(strip, size=[1, 3])) == [2, 3, 4]
    assert columns_of(center_crop(strip, size=[1, 4])) == [2, 3, 4, 5]  # 1.5 to the even 2
    assert columns_of(center_crop(strip, size=[1, 4], rounding="down")) == [1, 2, 3, 4]


def test_center_crop_pads_a_small_image_with_black() -> None:
    padded = center_crop(Image.new("RGB", (2, 1), (9, 9, 9)), size=[1, 5])
    assert columns_of(padded) == [0, 9, 9, 0, 0]
    other = center_crop(Image.new("RGB", (2, 1), (9, 9, 9)), size=[1, 5], rounding="down")
    assert columns_of(other) == [0, 0, 9, 9, 0]


def test_gray_weighs_the_channels() -> None:
    # 0.299 · 255 = 76.2 and 0.114 · 255 = 29.1
    assert np.asarray(to_gray(Image.fromarray(two_by_one()))).tolist() == [[76, 29]]


def test_options_that_cannot_be_are_usage_errors() -> None:
    image = Image.new("RGB", (2, 2))
    with pytest.raises(UsageError, match="interpolation is 'cubic'; give one of bicubic, bil"):
        resize(image, size=1, interpolation="cubic")
    for size in (0, -1, [1], [1, 2, 3], [1.5, 2]):
        with pytest.raises(UsageError, match="resize: size is"):
            resize(image, size=size)
    with pytest.raises(UsageError, match="rounding is 'up'"):
        center_crop(image, size=1, rounding="up")
    with pytest.raises(UsageError, match="'resize' works on an image, but got a ndarray"):
        resize(np.zeros((2, 2, 3)), size=1)
