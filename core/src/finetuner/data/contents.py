"""What a piece of content is, and how its bytes are counted."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np

from finetuner.contracts.preprocessing import Modality
from finetuner.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
)
"""File suffixes that make a string the path of an image rather than text."""

Kind = Literal["string", "file", "picture", "array"]


def looks_like_image_path(text: object) -> bool:
    """Whether a string ends like the name of an image file (nothing is opened)."""
    return isinstance(text, str) and os.path.splitext(text)[1].lower() in IMAGE_SUFFIXES


def is_pil_image(value: object) -> bool:
    """Whether ``value`` is a Pillow image; Pillow is not imported for the question."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def is_pixels(value: object) -> bool:
    """Whether ``value`` is an image as an array: uint8, H×W×C with 1, 3 or 4 channels."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim == 3
        and value.shape[-1] in (1, 3, 4)
    )


def kind_of(content: object) -> Kind | None:
    """The form of one piece of content; ``None`` for what cannot be content."""
    if isinstance(content, str):
        return "string"
    if isinstance(content, os.PathLike):
        return "file"
    if isinstance(content, bytes | bytearray | memoryview) or is_pil_image(content):
        return "picture"
    if isinstance(content, np.ndarray):
        return "array"
    return None


def modality_of(contents: Sequence[Any]) -> Modality:
    """What a list of contents is: text, images or plain arrays.

    Strings are text unless every one ends like an image file's name; paths,
    bytes and Pillow images are images, and so are separate arrays of pixels
    (uint8, H×W×1, 3 or 4); other arrays are plain arrays. Raises
    ``DataError`` where there are none, or naming the first row that is of
    another form than row 0.
    """
    if len(contents) == 0:
        raise DataError("the data is empty: there is no row in it")
    kinds = [kind_of(content) for content in contents]
    for row, kind in enumerate(kinds):
        if contents[row] is None:
            raise DataError(f"row {row} holds nothing (None): fill it or leave the row out")
        if kind is None:
            raise DataError(
                f"row {row} is a {type(contents[row]).__name__}: contents are strings, image "
                "files (paths, bytes, PIL images) or numpy arrays"
            )
        if _group(kind) != _group(kinds[0]):
            raise DataError(
                f"row {row} is a {type(contents[row]).__name__}, but row 0 is a "
                f"{type(contents[0]).__name__}: one data set holds one kind of content"
            )
    if kinds[0] == "array":
        return "image" if all(map(is_pixels, contents)) else "array"
    if kinds[0] == "string":
        return "image" if all(map(looks_like_image_path, contents)) else "text"
    return "image"


def _group(kind: Kind | None) -> str:
    return "image" if kind in ("file", "picture") else str(kind)


def local_path(uri: str | os.PathLike[str]) -> Path:
    """The file that a path or a ``file://`` URI names.

    Raises ``DataError`` for any other scheme: nothing is fetched.
    """
    text = os.fspath(uri)
    scheme, separator, _ = text.partition("://")
    if text.startswith("data:"):
        raise DataError(f"{text[:40]}… is a data URI: decode it and give the bytes")
    if not separator:
        return Path(text)
    if scheme.lower() != "file":
        raise DataError(f"{text} is not fetched: download it and give the path of the file")
    return Path(unquote(urlsplit(text).path))


def content_bytes(content: Any, modality: Modality) -> tuple[str, bytes]:
    """A word for the form of ``content`` and its bytes, for a digest."""
    if isinstance(content, bytes | bytearray | memoryview):
        return "file", bytes(content)
    if is_pil_image(content):
        return f"pixels {content.mode} {content.size}", content.tobytes()
    if isinstance(content, str) and modality == "text":
        return "text", content.encode()
    if isinstance(content, str | os.PathLike):
        return "file", local_path(content).read_bytes()
    array = np.ascontiguousarray(content)
    return f"array {array.dtype.str} {array.shape}", array.tobytes()
