"""What a retrieval metric may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ranking:
    """The neighbours of a block of B queries, nearest first, as right or wrong.

    ``relevant`` (bool, B×K) says which of the K nearest index items bear the
    query's label; items at equal distance follow the order of the index. K is at
    least what the metric asked for, or all of the index where that has fewer.
    ``total`` (int64, B) counts the relevant items in the index; it is never zero,
    since queries without any are left out before. ``first`` (int64, B) is the
    rank of the nearest relevant item among the whole index, counted from one.
    In leave-one-out a query is not a neighbour of itself and is not counted.
    """

    relevant: NDArray[np.bool_]
    total: NDArray[np.int64]
    first: NDArray[np.int64]
