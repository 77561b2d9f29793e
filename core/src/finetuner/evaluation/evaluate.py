"""Retrieval metrics of embeddings with labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.contracts import MetricRecord, Ranking
from finetuner.errors import DataError, PluginError, UsageError
from finetuner.evaluation.metrics import DEFAULT_METRICS
from finetuner.evaluation.names import Metric, parse_metrics
from finetuner.evaluation.search import blocks, check_vectors, nearest
from finetuner.evaluation.similarity import DistanceFunction, similarity_to
from finetuner.plugins.blame import blame
from finetuner.plugins.host import Host, Provided, default_host

COUNTS = ("queries", "skipped")
"""Keys of a result that count and do not score."""


@dataclass(frozen=True)
class Relevance:
    """Which index rows are relevant to which query, by integer classes.

    ``queries`` (Q) and ``index`` (N) are classes; ``rows`` lists the index rows
    class by class, ascending within each, class c at ``starts[c]:starts[c + 1]``.
    """

    queries: np.ndarray
    index: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    leave_one_out: bool

    def totals(self) -> np.ndarray:
        """Number of relevant index rows of every query, int64."""
        sizes: np.ndarray = np.diff(self.starts)[self.queries]
        return sizes - int(self.leave_one_out)

    def members(self, query: int) -> np.ndarray:
        """Index rows of the query's class, its own among them in leave-one-out."""
        label = self.queries[query]
        return self.rows[self.starts[label] : self.starts[label + 1]]


def evaluate(
    queries: np.ndarray,
    query_labels: Sequence[Any] | np.ndarray,
    index: np.ndarray | None = None,
    index_labels: Sequence[Any] | np.ndarray | None = None,
    *,
    metrics: Iterable[str] = DEFAULT_METRICS,
    host: Host | None = None,
    records: Mapping[str, MetricRecord | Provided] | None = None,
    distance: str | DistanceFunction = "cosine",
    block: int | None = None,
) -> dict[str, float]:
    """How well nearest neighbours share a query's label.

    ``queries`` is Q×D with Q labels, ``index`` N×D with N labels; without an index
    every query is searched among all the others (leave-one-out). Labels are
    integers or strings. ``metrics`` are names such as ``"mrr"`` or ``"recall@10"``,
    looked up in ``records`` or in ``host`` (default: what is installed). ``distance``
    is ``"cosine"``, ``"euclidean"``, ``"squared-euclidean"`` or a function of (queries,
    index) to distances. Ties are broken by index order.

    The result has the mean over queries of each metric, in the order asked, then
    ``"queries"``, the number of queries measured, and ``"skipped"``, of those left
    out because the index has nothing of their label. Memory: the vectors, one
    normalised copy of them, and a block of similarities a few times over
    (``block`` queries × N × 4 bytes; by default 64 MiB).

    Raises ``UnknownNameError`` for an unknown metric or distance, ``UsageError``
    for arguments that do not go together, and ``DataError`` for vectors or labels
    that cannot be used, among them a set in which no query has a relevant item.
    """
    if records is None:
        records = (host or default_host()).records("metrics")
    elif host is not None:
        raise UsageError("give either host or records, not both")
    chosen = parse_metrics(metrics, {name: _bare(record) for name, record in records.items()})
    queries, searched, leave_one_out = check_vectors(queries, index)
    relevance = relate(query_labels, index_labels, len(queries), len(searched), leave_one_out)
    totals = relevance.totals()
    measured = np.flatnonzero(totals > 0)
    if len(measured) == 0:
        raise DataError(
            "no query has an item of its label in the index: "
            "evaluation needs a label that two or more items share"
        )
    similarity = similarity_to(queries, searched, distance)
    scores = np.empty((len(chosen), len(queries)))
    # Queries with like numbers of relevant items share a block, so that one large
    # class does not make the search deep for all.
    by_total = measured[np.argsort(totals[measured], kind="stable")]
    for rows in blocks(by_total, len(searched), block):
        depth = max(metric.depth(int(totals[rows].max())) for metric in chosen)
        ranking = rank(similarity(rows), rows, relevance, depth)
        for number, metric in enumerate(chosen):
            scores[number, rows] = _score(metric, ranking, _guard(records, metric))
    means = scores[:, measured].mean(axis=1)
    result = {metric.key: float(mean) for metric, mean in zip(chosen, means, strict=True)}
    return result | dict(zip(COUNTS, (len(measured), len(queries) - len(measured)), strict=True))


def relate(
    query_labels: Sequence[Any] | np.ndarray,
    index_labels: Sequence[Any] | np.ndarray | None,
    queries: int,
    index: int,
    leave_one_out: bool,
) -> Relevance:
    """Labels as classes, checked against the numbers of rows."""
    asked = _labels("queries", query_labels, queries)
    if leave_one_out:
        if index_labels is not None:
            raise UsageError("labels of an index were given without the index")
        searched = asked
    elif index_labels is None:
        raise UsageError("an index was given without its labels")
    else:
        searched = _labels("index", index_labels, index)
        if (asked.dtype.kind == "U") != (searched.dtype.kind == "U"):
            raise DataError("labels of queries and index must both be numbers or both be text")
    names, classes = np.unique(np.concatenate([asked, searched]), return_inverse=True)
    of_index = classes[len(asked) :]
    return Relevance(
        queries=classes[: len(asked)],
        index=of_index,
        rows=np.argsort(of_index, kind="stable"),
        starts=np.concatenate([[0], np.cumsum(np.bincount(of_index, minlength=len(names)))]),
        leave_one_out=leave_one_out,
    )


def rank(scores: np.ndarray, rows: np.ndarray, relevance: Relevance, depth: int) -> Ranking:
    """The ranking of a block: ``scores`` B×N of the queries ``rows``; may change ``scores``."""
    if relevance.leave_one_out:
        scores[np.arange(len(rows)), rows] = -np.inf
    depth = min(max(depth, 1), scores.shape[1] - relevance.leave_one_out)
    found = nearest(scores, depth)
    relevant = relevance.index[found] == relevance.queries[rows][:, None]
    first = np.argmax(relevant, axis=1) + 1
    for row in np.flatnonzero(~relevant.any(axis=1)):
        first[row] = _first_rank(scores[row], relevance.members(rows[row]))
    return Ranking(relevant, relevance.totals()[rows], first)


def _first_rank(scores: np.ndarray, members: np.ndarray) -> int:
    """Rank, from one, of the best of ``members`` (ascending columns) among all scores."""
    best = members[np.argmax(scores[members])]
    ahead = np.count_nonzero(scores > scores[best])
    return int(ahead + np.count_nonzero(scores[:best] == scores[best]) + 1)


def _labels(name: str, labels: Sequence[Any] | np.ndarray, rows: int) -> np.ndarray:
    # As objects, so that numpy does not make text of a number or a NaN among texts.
    result = labels if isinstance(labels, np.ndarray) else np.array(labels, dtype=object)
    if result.shape != (rows,):
        raise DataError(f"{name} has {rows} rows and labels of shape {result.shape}")
    if result.dtype.kind == "O":
        kinds = sorted({type(label).__name__ for label in result})
        if len(kinds) > 1:
            raise DataError(f"labels of {name} must be of one type, not {' and '.join(kinds)}")
        result = np.asarray(result.tolist())
    if result.dtype.kind not in "biuU":
        raise DataError(f"labels of {name} must be integers or text, not {result.dtype}")
    return result


def _bare(record: MetricRecord | Provided) -> MetricRecord:
    return record.record if isinstance(record, Provided) else record


def _guard(
    records: Mapping[str, MetricRecord | Provided], metric: Metric
) -> AbstractContextManager[None]:
    provided = records.get(metric.record.name)
    return blame(provided.origin) if isinstance(provided, Provided) else nullcontext()


def _score(metric: Metric, ranking: Ranking, context: AbstractContextManager[None]) -> np.ndarray:
    with context:
        scores = np.asarray(metric.record.function(ranking, metric.k), dtype=np.float64)
        if scores.shape != ranking.total.shape:
            raise PluginError(
                f"metric {metric.key!r} gave shape {scores.shape} for {len(ranking.total)} queries"
            )
    return scores
