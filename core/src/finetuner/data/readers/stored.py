"""A data set that was pulled from a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.options import only_known
from finetuner.data.stored import StoredData, is_stored, read_stored


def matches(data: object) -> bool:
    """A data set in a store that was fetched, or the directory that one was pulled to."""
    if isinstance(data, StoredData):
        return True
    return isinstance(data, str | os.PathLike) and os.path.isdir(data) and is_stored(data)


def read(data: StoredData | str | os.PathLike[str], options: Mapping[str, Any]) -> Rows:
    """Its rows, with the labels that they had; none of the contents is in memory."""
    only_known(options, (), "stored")
    return read_stored(data if isinstance(data, StoredData) else StoredData(Path(data)))
