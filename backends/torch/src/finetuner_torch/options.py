"""Options of the loaders, checked by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from finetuner.errors import UnknownNameError

DATA_OPTIONS = frozenset({"input_shape"})
"""Model options that are for those who feed the model: no loader looks at them."""


def check_options(options: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Refuse options that a loader does not have. ``what`` says whose options they are."""
    allowed = {*known}
    for name in options:
        if name not in allowed and name not in DATA_OPTIONS:
            raise UnknownNameError(f"option of {what}", name, allowed)
