"""Columns of values from lists, arrays, series and tensors of any library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from finetuner.contracts import Rows
from finetuner.data.contents import kind_of, modality_of
from finetuner.data.readers.columns import choose_columns
from finetuner.errors import DataError


def is_column(value: object) -> bool:
    """Whether ``value`` has a length and can be indexed by row; a string does not count."""
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not isinstance(value, str | bytes | bytearray | Mapping)
    )


def rows_of(contents: Any, labels: Any | None) -> Rows:
    """Rows of content values, with the labels beside them.

    Raises ``DataError`` for contents that are no column of strings, images or
    arrays, and for labels that are not one per row.
    """
    values = _values(contents)
    listed = None if labels is None else label_values(labels)
    if listed is not None and len(listed) != len(values):
        raise DataError(f"there are {len(values)} contents, but {len(listed)} labels")
    if isinstance(values, np.ndarray) or _is_nested_numbers(values):
        return Rows(values, listed, "array")
    return Rows(values, listed, modality_of(values))


def table_rows(
    names: Sequence[str],
    column: Callable[[int], list[Any]],
    options: Mapping[str, Any],
    source: str,
) -> Rows:
    """Rows of a table, given its column names and what gives a column's values by number."""
    columns = choose_columns(names, options, source)
    labels = None if columns.label is None else column(columns.label)
    contents = column(columns.content)
    if columns.modality is None:
        return replace(rows_of(contents, labels), columns=names)
    return Rows(contents, labels, columns.modality, columns=names)


def label_values(labels: Any) -> list[Any]:
    """Raw labels as a list. Raises ``DataError`` where there is more than one a row."""
    if isinstance(labels, list | tuple):
        return list(labels)
    array = as_array(labels)
    if array.ndim != 1:
        raise DataError(
            f"the labels have shape {array.shape}: give one label per row (the argmax, where "
            "they are one-hot)"
        )
    return list(array)


def as_array(value: Any) -> np.ndarray:
    """A numpy array of what may be another library's array, series or tensor."""
    for step in ("detach", "cpu"):
        value = getattr(value, step)() if hasattr(value, step) else value
    return np.asarray(value)


def _values(contents: Any) -> Sequence[Any] | np.ndarray:
    if isinstance(contents, list | tuple):
        return [as_array(item) if _is_foreign_array(item) else item for item in contents]
    array = as_array(contents)
    return array if array.dtype.kind in "biuf" else list(array)


def _is_foreign_array(item: object) -> bool:
    return kind_of(item) is None and hasattr(item, "__array__") and np.ndim(item) > 0


def _is_nested_numbers(values: Sequence[Any]) -> bool:
    """Rows given as lists of numbers, or bare numbers; ragged ones are found later, by row."""
    return len(values) > 0 and isinstance(values[0], list | tuple | int | float)
