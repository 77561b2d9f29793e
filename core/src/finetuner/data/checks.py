"""What data must be before anything trains on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from finetuner.data.images import check_image
from finetuner.errors import DataError

NameRow = Callable[[int], str]

_THREADED_FROM = 64


def check_texts(contents: Sequence[Any] | np.ndarray, name_row: NameRow) -> None:
    """Every text is a non-blank Unicode string. Raises ``DataError`` naming the row."""
    for row, text in enumerate(contents):
        if not isinstance(text, str):
            what = "no text" if text is None or text != text else f"a {type(text).__name__}"
            raise DataError(f"{name_row(row)} holds {what} where text is expected")
        if not text.strip():
            raise DataError(f"{name_row(row)} holds an empty text: fill it or leave the row out")
        if not text.isascii():
            _check_unicode(text, row, name_row)


def check_arrays(contents: Sequence[Any] | np.ndarray, name_row: NameRow) -> np.ndarray:
    """Rows as one array N×… of finite numbers. Raises ``DataError`` naming the row."""
    if not isinstance(contents, np.ndarray) or contents.dtype == object:
        contents = _stacked(contents, name_row)
    if contents.dtype.kind not in "biuf":
        raise DataError(f"the arrays hold {contents.dtype}, not numbers")
    if contents.ndim < 2 or 0 in contents.shape[1:]:
        raise DataError(
            f"the array has shape {contents.shape}: give one row per item, N×features or more"
        )
    if contents.dtype.kind == "f":
        finite = _finite(contents)
        if not finite.all():
            raise DataError(
                f"{name_row(int(np.argmin(finite)))} holds a NaN or an infinity, or a number "
                "too large for float32: fill, scale or leave out such rows"
            )
    return contents


def unreadable_images(
    contents: Sequence[Any] | np.ndarray, *, first_only: bool
) -> dict[int, DataError]:
    """The images that cannot be read, by row; all are read through once.

    ``first_only`` stops soon after one was found.
    """
    if len(contents) < _THREADED_FROM:
        return _unreadable(contents, range(len(contents)), first_only)
    found: dict[int, DataError] = {}
    blocks = np.array_split(np.arange(len(contents)), -(-len(contents) // _THREADED_FROM))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(lambda block: _unreadable(contents, block, first_only), blocks):
            found.update(result)
            if found and first_only:
                pool.shutdown(cancel_futures=True)
                return found
    return found


def check_classes(labels: np.ndarray, names: Sequence[str]) -> None:
    """Two classes with two items each, the least that yields a triplet both ways.

    Raises ``DataError`` saying what there is instead.
    """
    counts = np.bincount(labels, minlength=len(names))
    present, paired = np.flatnonzero(counts), int((counts >= 2).sum())
    if len(present) < 2:
        raise DataError(
            f"all {len(labels)} rows have the label {names[present[0]]!r}: metric learning needs "
            "at least two classes"
        )
    if paired < 2:
        raise DataError(
            f"of {len(present)} classes {paired or 'none'} has two items or more: at least two "
            "classes need two items each, or no triplet can be formed"
        )


def _unreadable(
    contents: Sequence[Any] | np.ndarray, rows: Sequence[int] | np.ndarray, first_only: bool
) -> dict[int, DataError]:
    found: dict[int, DataError] = {}
    for row in rows:
        try:
            check_image(contents[row])
        except DataError as error:
            found[int(row)] = error
            if first_only:
                break
    return found


def _check_unicode(text: str, row: int, name_row: NameRow) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name_row(row)} holds a text that is not valid Unicode ({error.reason} at "
            f"character {error.start})"
        ) from error


def _finite(rows: np.ndarray) -> np.ndarray:
    """Which rows hold numbers that are finite in float32, as models take them."""
    # A NaN or an infinity comes through as an extreme; the whole is never copied.
    extremes = rows.reshape(len(rows), -1)
    with np.errstate(over="ignore"):
        lowest = extremes.min(axis=1).astype(np.float32)
        highest = extremes.max(axis=1).astype(np.float32)
    finite: np.ndarray = np.isfinite(lowest) & np.isfinite(highest)
    return finite


def _stacked(contents: Sequence[Any] | np.ndarray, name_row: NameRow) -> np.ndarray:
    rows: list[np.ndarray] = []
    for row, content in enumerate(contents):
        try:
            array = np.asarray(content)
        except ValueError as error:
            raise DataError(f"{name_row(row)} is ragged: {error}") from error
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{name_row(row)} holds {array.dtype}, not numbers: convert it, as with "
                "array.astype('float32')"
            )
        rows.append(array)
        if array.shape != rows[0].shape:
            raise DataError(
                f"{name_row(row)} has the shape {array.shape}, but {name_row(0)} has "
                f"{rows[0].shape}: all rows must have one shape"
            )
    return np.stack(rows)
