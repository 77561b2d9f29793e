from __future__ import annotations

import pytest

from finetuner.builtin.metrics import METRICS
from finetuner.errors import UnknownNameError, UsageError
from finetuner.evaluation import DEFAULT_METRICS
from finetuner.evaluation.names import parse_metric, parse_metrics

RECORDS = {record.name: record for record in METRICS}


def test_a_name_with_a_cut_is_parsed():
    metric = parse_metric("recall@10", RECORDS)
    assert (metric.key, metric.record.name, metric.k) == ("recall@10", "recall", 10)


def test_map_at_r_is_a_name_and_no_cut():
    metric = parse_metric("map@r", RECORDS)
    assert (metric.record.name, metric.k) == ("map@r", None)


def test_the_defaults_are_known():
    assert tuple(m.key for m in parse_metrics(DEFAULT_METRICS, RECORDS)) == DEFAULT_METRICS


def test_hit_is_another_name_for_recall():
    assert parse_metric("hit@3", RECORDS).record.function is RECORDS["recall"].function


@pytest.mark.parametrize(
    ("name", "near"), [("recal@5", "recall@5"), ("nddcg", "ndcg@10"), ("map", "map@r")]
)
def test_an_unknown_metric_offers_near_ones(name, near):
    with pytest.raises(UnknownNameError, match="unknown metric") as caught:
        parse_metric(name, RECORDS)
    assert repr(near) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("recall", "needs a cut, as in 'recall@10'"),
        ("mrr@10", "takes no cut: write 'mrr'"),
        ("recall@0", "whole number from 1"),
        ("recall@", "whole number from 1"),
        ("recall@-1", "whole number from 1"),
        ("recall@ten", "whole number from 1"),
        ("recall@²", "whole number from 1"),
    ],
)
def test_a_cut_that_does_not_fit_is_an_error(name, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_metric(name, RECORDS)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [((), "no metric"), (("mrr", "mrr"), "twice: mrr"), ("mrr", "list of names")],
)
def test_lists_of_metrics_that_make_no_sense_are_errors(names, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_metrics(names, RECORDS)


@pytest.mark.parametrize(
    ("name", "depth"), [("recall@7", 7), ("map@r", 30), ("r_precision", 30), ("mrr", 0)]
)
def test_a_metric_says_how_deep_it_looks(name, depth):
    assert parse_metric(name, RECORDS).depth(30) == depth
