"""Hugging Face datasets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.columns import COLUMN_OPTIONS
from finetuner.data.readers.options import only_known
from finetuner.data.readers.values import table_rows
from finetuner.errors import UsageError


def matches(data: object) -> bool:
    """A ``datasets.Dataset`` or one of its relatives."""
    module = sys.modules.get("datasets")
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    return module is not None and any(
        isinstance(data, getattr(module, kind)) for kind in kinds if hasattr(module, kind)
    )


def read(data: Any, options: Mapping[str, Any]) -> Rows:
    """One split. Class labels count by name, images stay encoded until they are needed.

    Raises ``UsageError`` for several splits at once and for a stream.
    """
    if isinstance(data, Mapping):
        raise UsageError(
            f"a {type(data).__name__} has the splits {', '.join(map(repr, data))}: give one, as "
            "in data['train']"
        )
    if not hasattr(data, "__len__"):
        raise UsageError(f"a {type(data).__name__} is a stream: load it without streaming=True")
    chosen = only_known(options, COLUMN_OPTIONS, "huggingface")
    names = list(data.column_names)
    return table_rows(names, lambda index: _values(data, names[index]), chosen, "the dataset")


def _values(data: Any, name: str) -> list[Any]:
    feature = data.features[name]
    if hasattr(feature, "int2str"):
        # A class label of -1 stands for a row without one.
        return [
            None if value is None or value < 0 else feature.int2str(value) for value in data[name]
        ]
    if type(feature).__name__ == "Image":
        encoded = data.cast_column(name, type(feature)(decode=False))
        return [_encoded_image(value) for value in encoded[name]]
    return list(data[name])


def _encoded_image(value: Mapping[str, Any] | None) -> Any:
    """The bytes of an image file, or its path where it lies outside the data set."""
    if value is None:
        return None
    return value["path"] if value.get("bytes") is None else value["bytes"]
