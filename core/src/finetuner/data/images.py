"""Images: decoding whatever holds one, and the steps that prepare it, with Pillow alone."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from finetuner.data.contents import is_pil_image, local_path
from finetuner.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

Size = int | Sequence[int]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""Formats that are decoded: Pillow's own decoders, none that starts another program."""

_UNKNOWN = f"its content is none of {', '.join(FORMATS)}"


def open_image(content: Any) -> Image:
    """Decode an image to 8 bits per channel: RGB, or RGBA where it has transparency.

    ``content`` is a path or ``file://`` URI, the bytes of an image file, a
    Pillow image, or a uint8 array H×W or H×W×{1, 3, 4}. The EXIF orientation is
    applied; grey, palette and CMYK images become RGB; 16-bit grey is divided by
    257. Raises ``DataError`` saying what is wrong with it.
    """
    with _Blame(content):
        image = _source(content)
        return _eight_bit(_upright(image))


def check_image(content: Any) -> None:
    """Read an image through, as cheaply as its format allows.

    A JPEG is decoded at an eighth of its size. Raises ``DataError`` for one that
    training could not read later: missing, damaged, cut short or too large.
    """
    with _Blame(content):
        image = _source(content)
        if image.format == "JPEG":
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
        if image.mode == "F":
            _eight_bit(image)


class _Blame:
    """Turn what Pillow and the file system raise into one error that names the image."""

    def __init__(self, content: Any) -> None:
        self.name = _name(content)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DataError | UsageError):
            return
        import PIL
        from PIL import Image

        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            raise DataError(
                f"{self.name} is too large to be decoded safely ({error}): shrink it, or raise "
                "PIL.Image.MAX_IMAGE_PIXELS if you trust its source"
            ) from error
        if isinstance(error, FileNotFoundError):
            raise DataError(f"there is no image at {self.name}") from error
        if isinstance(error, PIL.UnidentifiedImageError):
            raise DataError(f"{self.name} cannot be read as an image: {_UNKNOWN}") from error
        # A damaged file makes decoders raise nearly anything: struct, zlib, key and type errors.
        if isinstance(error, Exception):
            raise DataError(f"{self.name} cannot be read as an image: {error}") from error


def _name(content: Any) -> str:
    if isinstance(content, str | os.PathLike):
        return os.fspath(content)
    if isinstance(content, bytes | bytearray | memoryview):
        return f"an image of {len(content)} bytes"
    return f"a {type(content).__name__}"


def _source(content: Any) -> Image:
    import PIL.Image

    if isinstance(content, np.ndarray):
        return _from_pixels(content)
    if is_pil_image(content):
        return cast("Image", content)
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
    elif isinstance(content, str | os.PathLike):
        if not os.fspath(content).strip():
            raise DataError("no image is named")
        data = _file_bytes(local_path(content))
    else:
        raise DataError(f"a {type(content).__name__} is not an image")
    return PIL.Image.open(io.BytesIO(data), formats=FORMATS)


def _file_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # reading a pipe would never end
        raise DataError(f"{path} is not a file")
    return path.read_bytes()


def _from_pixels(pixels: np.ndarray) -> Image:
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise DataError(
            f"an array of {pixels.dtype} with shape {pixels.shape} is not an image: "
            "give uint8, H×W or H×W×{1, 3, 4}"
        )
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        raise DataError(
            f"an image array has shape {pixels.shape}: the last extent holds the channels "
            "and must be 1, 3 or 4"
        )
    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(flat))


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _eight_bit(image: Image) -> Image:
    if image.mode in ("RGB", "RGBA"):
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_sixteen_bits(image)
    if image.mode == "F":
        raise DataError(
            "a floating-point image has no known range: convert it to 8 bits, or give its "
            "values as an array"
        )
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _from_sixteen_bits(image: Image) -> Image:
    from PIL import Image

    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def to_rgb(image: Any, *, background: Sequence[int] | None = None) -> Image:
    """Three channels. Transparency is dropped, or laid over the ``background`` colour."""
    picture = require_image(image, "to-rgb")
    if background is None or picture.mode != "RGBA":
        return picture.convert("RGB")
    from PIL import Image

    canvas = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(canvas, picture).convert("RGB")


def to_gray(image: Any) -> Image:
    """One channel, by the luma of ITU-R 601-2 (0.299 R + 0.587 G + 0.114 B)."""
    return require_image(image, "to-gray").convert("L")


def resize(image: Any, *, size: Size, interpolation: str = "bilinear") -> Image:
    """Resize to ``[height, width]``, or the shorter side to an integer ``size``.

    The longer side is then ``int(size * long / short)``, as in torchvision.
    ``interpolation`` is one of nearest, box, bilinear, hamming, bicubic, lanczos;
    all but nearest are antialiased, as Pillow does it.
    """
    picture = require_image(image, "resize")
    if isinstance(size, int):
        side, _ = extents_of("resize", size)
        height, width = _shortest(picture.height, picture.width, side)
    else:
        height, width = extents_of("resize", size)
    if (width, height) == picture.size:
        return picture
    return picture.resize((width, height), resample=resampling(interpolation))


def center_crop(image: Any, *, size: Size, rounding: str = "even") -> Image:
    """Cut ``size`` (an integer: a square; else ``[height, width]``) out of the middle.

    A smaller image is padded with black. An odd margin is halved torchvision's
    way with ``rounding="even"`` (a cut to the even neighbour, padding less in
    front), and Hugging Face's way with ``"down"`` (a cut down, padding more in
    front).
    """
    if rounding not in ("even", "down"):
        raise UsageError(f"center-crop: rounding is {rounding!r}; give 'even' or 'down'")
    picture = require_image(image, "center-crop")
    height, width = extents_of("center-crop", size)
    top = _start(picture.height - height, rounding)
    left = _start(picture.width - width, rounding)
    return picture.crop((left, top, left + width, top + height))


def resampling(name: str) -> Resampling:
    """Pillow's number for an interpolation. Raises ``UsageError`` with the known names."""
    from PIL import Image

    known = {method.name.lower(): method for method in Image.Resampling}
    if name not in known:
        raise UsageError(f"interpolation is {name!r}; give one of {', '.join(sorted(known))}")
    return known[name]


def require_image(value: Any, step: str) -> Image:
    """``value`` if it is an image; else a ``UsageError`` that names ``step``."""
    if not is_pil_image(value):
        raise UsageError(
            f"the step {step!r} works on an image, but got a {type(value).__name__}: "
            "put it before 'scale', 'normalize' and 'layout', and use it for images only"
        )
    return cast("Image", value)


def extents_of(step: str, size: Size) -> tuple[int, int]:
    """(height, width) of a ``size`` option. Raises ``UsageError`` unless positive integers."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(extent, int) and extent > 0 for extent in pair):
        raise UsageError(
            f"{step}: size is {size!r}; give a positive integer or [height, width] in pixels"
        )
    return pair[0], pair[1]


def _shortest(height: int, width: int, size: int) -> tuple[int, int]:
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def _start(spare: int, rounding: str) -> int:
    """Where the middle begins, given the pixels to cut (or, negative, to add)."""
    if rounding == "down":
        return spare // 2
    return round(spare / 2) if spare >= 0 else -(-spare // 2)
