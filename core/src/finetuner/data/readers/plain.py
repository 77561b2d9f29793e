"""Contents without labels: a list of texts, images or arrays, or a single text or image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from finetuner.contracts import Rows
from finetuner.data.contents import is_pil_image, kind_of, looks_like_image_path
from finetuner.data.readers.options import only_known
from finetuner.data.readers.values import rows_of


def matches(data: object) -> bool:
    """A list of contents, an array of rows, or one text, image file or Pillow image.

    The name of a CSV file, a folder or any other file that exists is no text.
    """
    if isinstance(data, list):
        if not data:
            # An empty list of another class (docarray's) is for that class's own reader.
            return type(data) is list
        return data[0] is None or kind_of(data[0]) is not None or _is_row(data[0])
    if isinstance(data, str):
        table = os.path.splitext(data)[1].lower() in (".csv", ".tsv") and "\n" not in data
        return not table and (looks_like_image_path(data) or not os.path.exists(data))
    if isinstance(data, os.PathLike):
        return looks_like_image_path(os.fspath(data))
    return (isinstance(data, np.ndarray) and data.ndim > 0) or is_pil_image(data)


def read(data: Any, options: Mapping[str, Any]) -> Rows:
    """The contents as they are."""
    only_known(options, (), "plain")
    return rows_of(data if isinstance(data, list | np.ndarray) else [data], None)


def _is_row(first: object) -> bool:
    """A row of numbers, as a list, tuple or another library's array."""
    if isinstance(first, list | tuple):
        return len(first) > 0 and isinstance(first[0], int | float | list | tuple)
    return hasattr(first, "__array__") and hasattr(first, "shape")
