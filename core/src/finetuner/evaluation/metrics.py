"""Retrieval metrics, one function each: a ranking in, one score a query out.

Notation: a query has R relevant items in the index, rel(i) is 1 where the item at
rank i (from one) is relevant, else 0. Every function takes a
:class:`~finetuner.contracts.Ranking` of B queries and a cut k and gives float64 of
shape B in [0, 1]. An index with fewer than k candidates counts the missing places
as wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finetuner.contracts import Ranking
from finetuner.errors import UsageError

Scores = NDArray[np.float64]

DEFAULT_METRICS: tuple[str, ...] = (
    "recall@1",
    "recall@5",
    "recall@10",
    "precision@5",
    "map@r",
    "r_precision",
    "mrr",
    "ndcg@10",
    "coverage@10",
)
"""What is measured unless something else is asked for."""


def recall(ranking: Ranking, k: int | None) -> Scores:
    """1 where a relevant item is among the first k, else 0.

    This is recall as metric learning uses it (Jégou et al. 2011; Musgrave et al.
    2020), also called hit rate; the share of relevant items found is :func:`coverage`.
    """
    return np.asarray(np.any(ranking.relevant[:, : _cut(k)], axis=1), dtype=np.float64)


def precision(ranking: Ranking, k: int | None) -> Scores:
    """Share of relevant items among the first k: Σ_{i≤k} rel(i) / k."""
    cut = _cut(k)
    return _count(ranking.relevant[:, :cut]) / cut


def coverage(ranking: Ranking, k: int | None) -> Scores:
    """Share of all relevant items that the first k hold: Σ_{i≤k} rel(i) / R."""
    return _count(ranking.relevant[:, : _cut(k)]) / ranking.total


def ndcg(ranking: Ranking, k: int | None) -> Scores:
    """Normalised discounted cumulative gain with binary gains.

    Σ_{i≤k} rel(i) / log2(i + 1), over the same sum for the best ranking, which
    has min(k, R) relevant items in front (Järvelin and Kekäläinen 2002).
    """
    cut = _cut(k)
    discounts = 1.0 / np.log2(np.arange(2, cut + 2))
    shown = ranking.relevant[:, :cut]
    ideal: Scores = np.cumsum(discounts)[np.minimum(ranking.total, cut) - 1]
    gained: Scores = shown @ discounts[: shown.shape[1]]
    return gained / ideal


def map_at_r(ranking: Ranking, k: int | None) -> Scores:
    """MAP@R (Musgrave et al. 2020, A Metric Learning Reality Check, section 3.2).

    1/R · Σ_{i≤R} rel(i) · P(i), where P(i) is the precision of the first i.
    """
    counted = _first_r(ranking)
    precisions = np.cumsum(counted, axis=1, dtype=np.float64)
    precisions /= np.arange(1, counted.shape[1] + 1)
    summed: Scores = np.sum(precisions, axis=1, where=counted)
    return summed / ranking.total


def r_precision(ranking: Ranking, k: int | None) -> Scores:
    """Share of relevant items among the first R: Σ_{i≤R} rel(i) / R."""
    return _count(_first_r(ranking)) / ranking.total


def reciprocal_rank(ranking: Ranking, k: int | None) -> Scores:
    """One over the rank of the nearest relevant item; the mean over queries is MRR."""
    return 1.0 / ranking.first


def _count(relevant: NDArray[np.bool_]) -> Scores:
    return np.asarray(np.count_nonzero(relevant, axis=1), dtype=np.float64)


def _first_r(ranking: Ranking) -> NDArray[np.bool_]:
    """Relevance with everything behind each query's rank R blanked."""
    relevant = ranking.relevant[:, : int(ranking.total.max())]
    ranks = np.arange(1, relevant.shape[1] + 1)
    within: NDArray[np.bool_] = ranks <= ranking.total[:, None]
    return relevant & within


def _cut(k: int | None) -> int:
    if k is None:
        raise UsageError("this metric needs a cut k, as in recall@10")
    return k
