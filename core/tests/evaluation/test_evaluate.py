from __future__ import annotations

import subprocess
import sys
import textwrap
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finetuner.builtin.metrics import METRICS
from finetuner.contracts import MetricRecord
from finetuner.errors import DataError, PluginError, UnknownNameError, UsageError
from finetuner.evaluation import DEFAULT_METRICS, evaluate
from finetuner.plugins import Host, Origin, Provided, hookimpl

RECORDS = {record.name: record for record in METRICS}
EVERY = (*DEFAULT_METRICS, "hit@2", "ndcg@3", "coverage@2", "precision@20")


def brute_force(queries, query_labels, index, index_labels, leave_one_out, metrics):
    """The definitions once more, query by query in plain Python and float64."""
    results, skipped = [], 0
    for row, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        candidates = [n for n in range(len(index)) if not (leave_one_out and n == row)]
        squares = {
            n: sum((a - b) ** 2 for a, b in zip(query, index[n], strict=True)) for n in candidates
        }
        order = sorted(candidates, key=lambda n: (squares[n], n))
        hits = [int(index_labels[n] == label) for n in order]
        total = sum(hits)
        if total == 0:
            skipped += 1
            continue
        results.append([score(name, hits, total) for name in metrics])
    means = [sum(column) / len(results) for column in zip(*results, strict=True)]
    return {**dict(zip(metrics, means, strict=True)), "queries": len(results), "skipped": skipped}


def score(name, hits, total):
    base, _, cut = name.partition("@")
    k = total if cut in ("", "r") else int(cut)
    front = hits[:k]
    match base:
        case "recall" | "hit":
            return float(any(front))
        case "precision" | "r_precision":
            return sum(front) / k
        case "coverage":
            return sum(front) / total
        case "map":
            return sum(h * sum(front[: i + 1]) / (i + 1) for i, h in enumerate(front)) / total
        case "mrr":
            return 1 / (hits.index(1) + 1)
        case "ndcg":
            gained = sum(h / log2(i + 2) for i, h in enumerate(front))
            return gained / sum(1 / log2(i + 2) for i in range(min(k, total)))


def grid(rows):
    """Points with small whole coordinates: distances are exact and ties abound."""
    return arrays(np.float32, (rows, 2), elements=st.integers(0, 3).map(float))


@st.composite
def leave_one_out_case(draw):
    rows = draw(st.integers(2, 14))
    labels = draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))
    labels[1] = labels[0]
    return draw(grid(rows)), np.array(labels), draw(st.integers(1, rows))


@given(leave_one_out_case())
def test_leave_one_out_agrees_with_brute_force(case):
    points, labels, block = case
    found = evaluate(
        points, labels, metrics=EVERY, records=RECORDS, distance="euclidean", block=block
    )
    expected = brute_force(points, labels, points, labels, True, EVERY)
    assert found == pytest.approx(expected, rel=1e-12)


@st.composite
def index_case(draw):
    rows, columns = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    query_labels = draw(st.lists(st.integers(-2, 3), min_size=rows, max_size=rows))
    index_labels = draw(st.lists(st.integers(0, 5), min_size=columns, max_size=columns))
    index_labels[-1] = query_labels[0]
    return draw(grid(rows)), np.array(query_labels), draw(grid(columns)), np.array(index_labels)


@given(index_case(), st.integers(1, 9))
def test_queries_against_an_index_agree_with_brute_force(case, block):
    found = evaluate(*case, metrics=EVERY, records=RECORDS, distance="euclidean", block=block)
    assert found == pytest.approx(brute_force(*case, False, EVERY), rel=1e-12)


def test_cosine_agrees_with_brute_force_on_unit_vectors():
    """For unit vectors, cosine and Euclidean distance rank alike."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 6, 60)
    vectors = random.standard_normal((60, 5)) + np.eye(6, 5)[labels]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = evaluate(vectors, labels, records=RECORDS)
    expected = brute_force(unit, labels, unit, labels, True, DEFAULT_METRICS)
    assert found == pytest.approx(expected, rel=1e-9)


def test_three_points_by_hand():
    """On a line: a at 0, b at 1, a at 3. The a's find b first, then each other; b is alone."""
    found = evaluate(
        np.array([[0.0], [1.0], [3.0]]),
        ["a", "b", "a"],
        metrics=["recall@1", "recall@2", "mrr", "map@r"],
        records=RECORDS,
        distance="euclidean",
    )
    assert found == {
        "recall@1": 0, "recall@2": 1, "mrr": 0.5, "map@r": 0, "queries": 2, "skipped": 1
    }  # fmt: skip


def test_a_collapsed_model_gains_nothing_from_ties():
    """All vectors alike, classes in turn: the first in the index wins, whoever asks."""
    vectors = np.ones((6, 3))
    found = evaluate(vectors, [0, 1, 0, 1, 0, 1], metrics=["recall@1"], records=RECORDS)
    # Rows 2 and 4 find row 0 of their class; row 0 finds row 1, and 1, 3, 5 find row 0.
    assert found["recall@1"] == pytest.approx(2 / 6)


def test_mrr_counts_beyond_every_cut():
    """Ninety-nine strangers stand before the friend."""
    index = np.arange(1, 101, dtype=np.float32)[:, None]
    labels = [0] * 99 + [1]
    for metrics in (["mrr"], ["mrr", "recall@1"]):
        found = evaluate(
            np.zeros((1, 1)), [1], index, labels,
            metrics=metrics, records=RECORDS, distance="euclidean",
        )  # fmt: skip
        assert found["mrr"] == pytest.approx(1 / 100)


def test_metrics_come_in_the_order_asked():
    names = ["mrr", "recall@3", "map@r"]
    found = evaluate(np.eye(4), [0, 0, 1, 1], metrics=names, records=RECORDS)
    assert list(found) == [*names, "queries", "skipped"]


def test_metrics_come_from_the_host():
    class Plugin:
        @hookimpl
        def finetuner_metrics(self):
            yield MetricRecord("first_right", lambda r, k: r.relevant[:, 0].astype(float))

    host = Host.discover(entry_points=(), extra=[Plugin()])
    assert evaluate(np.eye(2), [0, 0], metrics=["first_right"], host=host)["first_right"] == 1
    assert evaluate(np.eye(2), [0, 0], metrics=["hit@1"])["hit@1"] == 1


def test_a_metric_gets_the_depth_it_asked_for():
    seen = []

    def spy(ranking, k):
        seen.append(ranking.relevant.shape[1])
        return np.zeros(len(ranking.total))

    record = MetricRecord("spy", spy, depth=4)
    evaluate(np.eye(8), [0] * 8, metrics=["spy"], records={"spy": record})
    assert seen == [4]


def test_a_metric_s_error_names_its_plugin():
    def broken(ranking, k):
        raise ZeroDivisionError

    record = MetricRecord("broken", broken)
    provided = Provided(record, Origin("acme", "acme-metrics", "2.0", "finetuner_metrics"))
    with pytest.raises(ZeroDivisionError) as caught:
        evaluate(np.eye(2), [0, 0], metrics=["broken"], records={"broken": provided})
    assert "acme-metrics 2.0" in caught.value.__notes__[0]


def test_a_metric_of_the_wrong_shape_is_an_error():
    record = MetricRecord("mean", lambda ranking, k: 0.5)
    with pytest.raises(PluginError, match=r"shape \(\) for 2 queries"):
        evaluate(np.eye(2), [0, 0], metrics=["mean"], records={"mean": record})


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([0, 1], "has 3 rows and labels of shape"),
        ([[0], [1], [2]], "has 3 rows and labels of shape"),
        ([0.5, 1.0, 1.0], "integers or text, not float64"),
        (["a", "a", float("nan")], "of one type, not float and str"),
        ([0, 1, 2], "no query has an item of its label"),
    ],
)
def test_labels_that_cannot_be_used_are_errors(labels, complaint):
    with pytest.raises(DataError, match=complaint):
        evaluate(np.eye(3), labels, records=RECORDS)


def test_labels_of_queries_and_index_must_be_of_one_kind():
    with pytest.raises(DataError, match="both be numbers or both be text"):
        evaluate(np.eye(2), [0, 1], np.eye(2), ["0", "1"], records=RECORDS)


def test_arguments_that_do_not_go_together_are_errors():
    vectors, labels = np.eye(2), [0, 0]
    with pytest.raises(UsageError, match="without its labels"):
        evaluate(vectors, labels, vectors, records=RECORDS)
    with pytest.raises(UsageError, match="without the index"):
        evaluate(vectors, labels, None, labels, records=RECORDS)
    with pytest.raises(UsageError, match="either host or records"):
        evaluate(vectors, labels, host=Host(()), records=RECORDS)
    with pytest.raises(UnknownNameError, match="did you mean 'recall@1'"):
        evaluate(vectors, labels, metrics=["recal@1"], records=RECORDS)


def test_memory_is_bounded_by_the_block_and_not_by_the_square():
    """20,000 × 16 vectors: all similarities at once would be 1.6 GB."""
    code = """
        import resource
        import numpy as np
        from finetuner.builtin.metrics import METRICS
        from finetuner.evaluation import evaluate
        random = np.random.default_rng(0)
        labels = np.repeat(np.arange(400), 50)
        vectors = random.standard_normal((20_000, 16), dtype=np.float32)
        records = {record.name: record for record in METRICS}
        kilobytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = kilobytes()
        evaluate(vectors, labels, records=records, block=200)
        print((kilobytes() - before) / 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    # A block of 200 × 20,000 similarities is 16 MB; a few of that size are in use at once.
    assert float(done.stdout) < 120
