"""Raw labels of any reader → integers and sorted names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from finetuner.errors import DataError

_Kind = Literal["text", "number", "truth value"]
_KIND_ORDER: dict[type, _Kind] = {bool: "truth value", int: "number", str: "text"}


def encode_labels(
    labels: Sequence[object], name_row: Callable[[int], str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integer labels (int64, N) and the names that they stand for.

    Labels may be strings, integers, booleans, or floats that are whole numbers;
    numbers are named in numerical order, text in natural order ("c2" before
    "c10"). ``name_row`` gives the words for a row in an error. Raises
    ``DataError`` naming the row of a missing, non-scalar or fractional label,
    or of one whose kind differs from the first row's.
    """
    values = normal_labels(labels, name_row)
    names = sorted(set(values), key=_natural)
    number = {name: index for index, name in enumerate(names)}
    integers = np.fromiter((number[value] for value in values), np.int64, len(values))
    return integers, tuple(str(name) for name in names)


def normal_labels(
    labels: Sequence[object], name_row: Callable[[int], str]
) -> list[str | int | bool]:
    """The labels as text, integers or booleans; raises as :func:`encode_labels`."""
    values = [_scalar(label, row, name_row) for row, label in enumerate(labels)]
    _check_one_kind(values, name_row)
    return values


def label_kind(label: str | int | bool) -> Literal["text", "number", "truth value"]:
    """The word for what a label is."""
    return _KIND_ORDER[type(label)]


def is_missing(label: object) -> bool:
    """Whether ``label`` stands for none: None, NaN, NaT, pandas' NA, or blank text."""
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, str):
        return not label.strip()
    if isinstance(label, float | np.floating):
        return math.isnan(label)
    return False


def _scalar(label: object, row: int, name_row: Callable[[int], str]) -> str | int | bool:
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if is_missing(label):
        raise DataError(f"{name_row(row)} has no label ({label!r}): give it one or leave it out")
    if isinstance(label, str):
        return _unicode(str(label), row, name_row)
    if isinstance(label, bool | np.bool_):
        return bool(label)
    if isinstance(label, int | np.integer):
        return int(label)
    if isinstance(label, float | np.floating):
        if not float(label).is_integer():
            raise DataError(
                f"{name_row(row)} has the label {label!r}: a class is text or a whole number"
            )
        return int(label)
    raise DataError(
        f"{name_row(row)} has a label of type {type(label).__name__} ({_short(label)}): "
        "a label is one string or one whole number"
    )


def _unicode(label: str, row: int, name_row: Callable[[int], str]) -> str:
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name_row(row)} has the label {label!r}, which is not valid Unicode ({error.reason})"
        ) from error
    return label


def _check_one_kind(values: Sequence[str | int | bool], name_row: Callable[[int], str]) -> None:
    for row, value in enumerate(values):
        if type(value) is not type(values[0]):
            raise DataError(
                f"{name_row(row)} has a label that is a {_KIND_ORDER[type(value)]} ({value!r}), "
                f"but {name_row(0)} has a {_KIND_ORDER[type(values[0])]} ({values[0]!r}): "
                "use one kind throughout"
            )


def _natural(name: str | int | bool) -> tuple[object, ...]:
    if not isinstance(name, str):
        return (int(name),)
    # Text and digits alternate, so equal places always hold equal types; Python
    # makes no integer of more than 4,300 digits.
    parts = re.split(r"(\d{1,4000})", name)
    return (tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
