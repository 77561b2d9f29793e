"""``(X, y)``: arrays, texts or images, with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.options import only_known
from finetuner.data.readers.values import is_column, rows_of


def matches(data: object) -> bool:
    """A tuple of two columns."""
    return isinstance(data, tuple) and len(data) == 2 and all(is_column(part) for part in data)


def read(data: tuple[Any, Any], options: Mapping[str, Any]) -> Rows:
    """Contents and labels side by side; neither may be longer than the other."""
    only_known(options, (), "pairs")
    return rows_of(*data)
