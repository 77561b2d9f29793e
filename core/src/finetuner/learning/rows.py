"""Work on A×R arrays a block of rows at a time, so that intermediates stay small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetuner.arrays import Array, ArrayNamespace

BLOCK_ELEMENTS = 1 << 20
"""Elements of one block: what fits a processor's cache beside its intermediates."""


def by_rows(xp: ArrayNamespace, function: Callable[..., Any], /, *arrays: Array, width: int) -> Any:
    """``function(*arrays)``, whose rows do not depend on one another, in blocks of rows.

    ``width`` is the length R of a result's row. The function gives one array, or
    a tuple of arrays; so does this.
    """
    count = arrays[0].shape[0]
    size = max(1, BLOCK_ELEMENTS // max(1, width))
    if count <= size:
        return function(*arrays)
    parts = [
        function(*(array[start : start + size] for array in arrays))
        for start in range(0, count, size)
    ]
    if isinstance(parts[0], tuple):
        return tuple(xp.concat(list(column)) for column in zip(*parts, strict=True))
    return xp.concat(parts)
