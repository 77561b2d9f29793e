"""What readers yield."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetuner.contracts.preprocessing import Modality

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Rows:
    """Raw rows as a reader found them.

    ``contents`` are strings (text), paths, bytes or ``PIL.Image`` (image), or
    numpy arrays; ``labels`` are the raw labels (``None``: the data has none, as
    for encoding). ``origins`` name each row for error messages ("row 3 of
    shop.csv"); empty means "row i". ``skipped`` counts rows left out on request.
    ``columns`` are the names of a table's columns, for the error where none of
    them is the label.
    """

    contents: Sequence[Any] | np.ndarray
    labels: Sequence[Any] | None
    modality: Modality
    origins: Sequence[str] = field(default=())
    skipped: int = 0
    columns: Sequence[str] = field(default=())
