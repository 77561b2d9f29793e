"""Every metric on rankings short enough to work out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from finetuner.contracts import Ranking
from finetuner.errors import UsageError
from finetuner.evaluation import metrics


def ranking(*rows: str, total: list[int] | None = None, first: list[int] | None = None) -> Ranking:
    """Rows such as ``"x..x"``, x for relevant; ``total`` defaults to what is shown."""
    relevant = np.array([[mark == "x" for mark in row] for row in rows])
    shown = [row.count("x") for row in rows]
    firsts = [row.find("x") + 1 for row in rows]
    return Ranking(
        relevant,
        np.array(shown if total is None else total, dtype=np.int64),
        np.array(firsts if first is None else first, dtype=np.int64),
    )


SAMPLE = ranking("x.x.", "..xx", ".x..", total=[2, 3, 1])


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (metrics.recall, 1, [1, 0, 0]),
        (metrics.recall, 2, [1, 0, 1]),
        (metrics.recall, 3, [1, 1, 1]),
        (metrics.precision, 1, [1, 0, 0]),
        (metrics.precision, 4, [2 / 4, 2 / 4, 1 / 4]),
        (metrics.precision, 8, [2 / 8, 2 / 8, 1 / 8]),
        (metrics.coverage, 2, [1 / 2, 0, 1]),
        (metrics.coverage, 4, [1, 2 / 3, 1]),
        # R = 2: x. → 1/1; R = 3: ..x → 1/3; R = 1: . → nothing.
        (metrics.map_at_r, None, [1 / 2 * 1, 1 / 3 * 1 / 3, 0]),
        (metrics.r_precision, None, [1 / 2, 1 / 3, 0]),
        (metrics.reciprocal_rank, None, [1, 1 / 3, 1 / 2]),
        (metrics.ndcg, 1, [1, 0, 0]),
        (
            metrics.ndcg,
            3,
            [
                (1 + 1 / log2(4)) / (1 + 1 / log2(3)),
                (1 / log2(4)) / (1 + 1 / log2(3) + 1 / log2(4)),
                1 / log2(3),
            ],
        ),
    ],
)
def test_each_metric_by_hand(metric, k, expected):
    np.testing.assert_allclose(metric(SAMPLE, k), expected, rtol=1e-12)


def test_map_at_r_of_the_papers_toy_rows():
    """Ten relevant items: right in front scores 1; only the tenth place scores 1/10 · 1/10."""
    perfect, last, none = "x" * 10, "." * 9 + "x", "." * 10
    found = metrics.map_at_r(ranking(perfect, last, none, total=[10] * 3), None)
    np.testing.assert_allclose(found, [1, 0.01, 0], rtol=1e-12)


def test_the_ideal_of_ndcg_is_cut_at_k():
    """Five relevant items and two places, both right: nothing better was possible."""
    np.testing.assert_allclose(metrics.ndcg(ranking("xx", total=[5]), 2), [1])


def test_places_that_a_small_index_does_not_have_count_as_wrong():
    short = ranking("xx", total=[2])
    np.testing.assert_allclose(metrics.precision(short, 5), [2 / 5])
    np.testing.assert_allclose(metrics.ndcg(short, 5), [1])
    np.testing.assert_allclose(metrics.recall(short, 5), [1])


def test_mrr_uses_the_rank_beyond_the_columns():
    np.testing.assert_allclose(
        metrics.reciprocal_rank(ranking("..", total=[1], first=[40]), None), [1 / 40]
    )


@pytest.mark.parametrize("metric", [metrics.recall, metrics.precision, metrics.ndcg])
def test_a_cut_metric_without_a_cut_says_so(metric):
    with pytest.raises(UsageError, match="cut"):
        metric(SAMPLE, None)
