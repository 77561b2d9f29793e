"""Before and after: the metrics side by side, and neighbours of some queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.errors import DataError, UsageError
from finetuner.evaluation.evaluate import COUNTS
from finetuner.evaluation.search import neighbours
from finetuner.evaluation.similarity import DistanceFunction

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from finetuner.data import LabeledDataset

SUMMARY_WIDTH = 80

Vectors = tuple[np.ndarray, np.ndarray | None]
"""Embeddings of the queries, and of the index where there is one."""


@dataclass(frozen=True)
class Comparison:
    """One metric before and after, and what was gained; ``None`` where it was not measured."""

    metric: str
    before: float | None
    after: float | None

    @property
    def gain(self) -> float | None:
        """After less before."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


@dataclass(frozen=True)
class Neighbour:
    """One item found: its row in the index, what it is, and whether its label is right."""

    row: int
    content: str
    label: str
    similarity: float
    right: bool


@dataclass(frozen=True)
class ExampleResult:
    """A query with its nearest neighbours before and after, nearest first."""

    row: int
    content: str
    label: str
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]


def compare(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Comparison, ...]:
    """The metrics of either, in the order in which they are met; counts are left out."""
    names = dict.fromkeys(name for name in (*before, *after) if name not in COUNTS)
    return tuple(Comparison(name, before.get(name), after.get(name)) for name in names)


def comparison_table(before: Mapping[str, float], after: Mapping[str, float]) -> Table:
    """:func:`compare` for a terminal; the caption says how many queries were measured."""
    from rich.table import Table

    table = Table(title="Retrieval before and after", caption=_caption(before, after))
    table.add_column("metric")
    for title in ("before", "after", "gain"):
        table.add_column(title, justify="right")
    for row in compare(before, after):
        gain = "–" if row.gain is None else f"{row.gain:+.3f}"
        style = "green" if (row.gain or 0) > 0 else "red" if (row.gain or 0) < 0 else ""
        cells = (_number(row.before), _number(row.after))
        table.add_row(row.metric, *cells, f"[{style}]{gain}[/]" if style else gain)
    return table


def example_results(
    queries: LabeledDataset,
    index: LabeledDataset | None,
    before: Vectors,
    after: Vectors,
    *,
    count: int = 5,
    k: int = 3,
    seed: int = 0,
    distance: str | DistanceFunction = "cosine",
) -> list[ExampleResult]:
    """``count`` queries drawn by ``seed`` with their ``k`` nearest neighbours.

    The draw looks neither at vectors nor at success, so the examples are fair; it
    takes queries whose label the index has. ``index=None`` searches the queries
    among themselves. Raises ``DataError`` where labels are missing or the vectors
    do not belong to the rows.
    """
    if count < 1:
        raise UsageError(f"the number of examples must be at least 1, not {count}")
    against = queries if index is None else index
    for name, vectors in (("before", before), ("after", after)):
        _check_rows(name, vectors, queries, index)
    rows = _draw(queries, against, index is None, count, seed)
    found = [_search(rows, vectors, k, distance) for vectors in (before, after)]
    asked, labels = _texts(queries, rows), _labels(queries)
    sides = [
        [_neighbours(against, labels[row], *each) for row, each in zip(rows, side, strict=True)]
        for side in found
    ]
    return [
        ExampleResult(int(row), text, str(labels[row]), old, new)
        for row, text, old, new in zip(rows, asked, *sides, strict=True)
    ]


def render_examples(examples: Sequence[ExampleResult]) -> Group:
    """Examples for a terminal: one table a query, right neighbours ticked."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    tables = []
    for example in examples:
        title = f"{escape(example.content)}  [bold]{escape(example.label)}[/]"
        table = Table(title=title, title_justify="left", show_lines=True, expand=True)
        for name in ("before", "after"):
            table.add_column(name, ratio=1, overflow="fold")
        for place in range(max(len(example.before), len(example.after))):
            sides = (example.before[place : place + 1], example.after[place : place + 1])
            table.add_row(*("".join(map(_markup, side)) for side in sides))
        tables.append(table)
    return Group(*tables)


def summarise(content: Any) -> str:
    """A content in one line of at most 80 characters."""
    if isinstance(content, np.ndarray):
        return f"array {'×'.join(map(str, content.shape))} {content.dtype}"
    if isinstance(content, bytes):
        return f"{len(content):,} bytes"
    if isinstance(content, Path):
        content = str(content)
    if not isinstance(content, str):
        size = getattr(content, "size", None)
        extent = f" {'×'.join(map(str, size))}" if isinstance(size, tuple) else ""
        return f"{type(content).__name__}{extent}"
    line = " ".join(content.split())
    return line if len(line) <= SUMMARY_WIDTH else line[: SUMMARY_WIDTH - 1] + "…"


def _caption(before: Mapping[str, float], after: Mapping[str, float]) -> str | None:
    measured = after if "queries" in after else before
    if "queries" not in measured:
        return None
    skipped = int(measured.get("skipped", 0))
    rest = f", {skipped:,} without a relevant item left out" if skipped else ""
    return f"{int(measured['queries']):,} queries{rest}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _markup(neighbour: Neighbour) -> str:
    from rich.markup import escape

    mark = "[green]✓[/]" if neighbour.right else "[red]✗[/]"
    label = f"[bold]{escape(neighbour.label)}[/]"
    return f"{mark} {neighbour.similarity:.3f}  {label}  {escape(neighbour.content)}"


def _check_rows(
    name: str, vectors: Vectors, queries: LabeledDataset, index: LabeledDataset | None
) -> None:
    for what, data, given in (("queries", queries, vectors[0]), ("index", index, vectors[1])):
        rows = None if data is None else len(data)
        have = None if given is None else len(given)
        if rows != have:
            raise DataError(f"{what}: {have} vectors {name} for {rows} rows")


def _labels(data: LabeledDataset) -> np.ndarray:
    """Labels by name: two datasets may number them differently."""
    if data.labels is None:
        raise DataError("examples need data with labels")
    names: np.ndarray = np.asarray(data.label_names)[data.labels]
    return names


def _draw(
    queries: LabeledDataset, against: LabeledDataset, leave_one_out: bool, count: int, seed: int
) -> np.ndarray:
    names, totals = np.unique(_labels(against), return_counts=True)
    known = names[totals > leave_one_out]
    able = np.flatnonzero(np.isin(_labels(queries), known))
    drawn = np.random.default_rng(seed).permutation(able)[:count]
    return np.sort(drawn)


def _search(
    rows: np.ndarray, vectors: Vectors, k: int, distance: str | DistanceFunction
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Neighbours of some rows; in leave-one-out the row itself is dropped."""
    queries, index = vectors
    if len(rows) == 0:
        return []
    if index is not None:
        return list(zip(*neighbours(queries[rows], index, k, distance=distance), strict=True))
    results = []
    found = neighbours(queries[rows], queries, k + 1, distance=distance)
    for row, columns, similarities in zip(rows, *found, strict=True):
        others = np.flatnonzero(columns != row)[:k]
        results.append((columns[others], similarities[others]))
    return results


def _neighbours(
    against: LabeledDataset, label: str, columns: np.ndarray, similarities: np.ndarray
) -> tuple[Neighbour, ...]:
    names = _labels(against)[columns]
    return tuple(
        Neighbour(int(column), text, str(name), float(similarity), bool(name == label))
        for column, text, name, similarity in zip(
            columns, _texts(against, columns), names, similarities, strict=True
        )
    )


def _texts(data: LabeledDataset, rows: np.ndarray) -> list[str]:
    return [summarise(data.contents[int(row)]) for row in rows]
