"""What every benchmark shares: paired timing, its interval, the table, ``--json``, exit status."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

RESAMPLES = 10_000


class Ratio(NamedTuple):
    """The median of paired ratios, with the ends of its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One figure, with the target that it is held against (``None``: shown only).

    A ``Ratio`` is judged by its median.
    """

    name: str
    value: float | Ratio
    target: float | None
    better: Literal["higher", "lower"]

    @property
    def figure(self) -> float:
        """The value alone."""
        return float(self.value.median if isinstance(self.value, Ratio) else self.value)

    @property
    def passed(self) -> bool:
        """Whether the figure is on the right side of the target."""
        if self.target is None:
            return True
        if self.better == "higher":
            return self.figure >= self.target
        return self.figure <= self.target


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def paired(
    a: Callable[[], object], b: Callable[[], object], pairs: int = 30, *, warm_up: int = 1
) -> Ratio:
    """Time of ``a`` over time of ``b``, called in turns in this process.

    Which goes first alternates, so that neither always runs on a warmer machine.
    """
    for _ in range(warm_up):
        a()
        b()
    ratios = []
    for number in range(pairs):
        if number % 2:
            under, over = seconds(b), seconds(a)
        else:
            over, under = seconds(a), seconds(b)
        ratios.append(over / under)
    return interval(ratios)


def interval(ratios: Sequence[float]) -> Ratio:
    """The median of ``ratios`` and the 2.5 and 97.5 percentiles of its bootstrap."""
    values = np.asarray(ratios, dtype=float)
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[draws], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(values)), float(low), float(high))


def report(rows: Sequence[Row], json: bool = False) -> int:
    """Print the rows, as a table or as JSON; 0 where every row passed, else 1."""
    if json:
        jsonlib.dump({"rows": [_as_json(row) for row in rows]}, sys.stdout, indent=2)
        print()
    else:
        _print_table(rows)
    return 0 if all(row.passed for row in rows) else 1


def _as_json(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.name,
        "value": row.figure,
        "target": row.target,
        "better": row.better,
        "passed": row.passed,
    }
    if isinstance(row.value, Ratio):
        found |= {"low": row.value.low, "high": row.value.high}
    return found


def _print_table(rows: Sequence[Row]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        value = f"{row.figure:.4g}"
        if isinstance(row.value, Ratio):
            value += f" [{row.value.low:.4g}, {row.value.high:.4g}]"
        target = ""
        if row.target is not None:
            sign = ">=" if row.better == "higher" else "<="
            target = f"{sign} {row.target:<8g} {'passed' if row.passed else 'FAILED'}"
        print(f"{row.name:<{width}}  {value:<26} {target}".rstrip())
