"""Options that readers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuner.errors import UnknownNameError


def only_known(options: Mapping[str, Any], known: Sequence[str], reader: str) -> dict[str, Any]:
    """The options that are set. Raises ``UnknownNameError`` for one the reader does not have."""
    for name in options:
        if name not in known:
            raise UnknownNameError(f"option of the reader {reader!r}", str(name), known)
    return {name: value for name, value in options.items() if value is not None}
