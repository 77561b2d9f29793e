"""pandas and polars frames."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.columns import COLUMN_OPTIONS
from finetuner.data.readers.options import only_known
from finetuner.data.readers.values import table_rows


def matches_pandas(data: object) -> bool:
    """A ``pandas.DataFrame``."""
    module = sys.modules.get("pandas")
    return module is not None and isinstance(data, module.DataFrame)


def matches_polars(data: object) -> bool:
    """A ``polars.DataFrame`` (a lazy frame has to be collected first)."""
    module = sys.modules.get("polars")
    return module is not None and isinstance(data, module.DataFrame)


def read_pandas(data: Any, options: Mapping[str, Any]) -> Rows:
    """Columns by the options text, image and label, else by their usual names."""
    chosen = only_known(options, COLUMN_OPTIONS, "pandas")
    names = [str(name) for name in data.columns]
    return table_rows(names, lambda index: data.iloc[:, index].tolist(), chosen, "the frame")


def read_polars(data: Any, options: Mapping[str, Any]) -> Rows:
    """Columns by the options text, image and label, else by their usual names."""
    chosen = only_known(options, COLUMN_OPTIONS, "polars")
    return table_rows(
        data.columns, lambda index: data.to_series(index).to_list(), chosen, "the frame"
    )
