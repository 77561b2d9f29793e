"""Core's retrieval metrics as records."""

from __future__ import annotations

from finetuner.contracts import MetricRecord
from finetuner.evaluation import metrics

METRICS: tuple[MetricRecord, ...] = (
    MetricRecord("recall", metrics.recall, at=True),
    MetricRecord("hit", metrics.recall, at=True),
    MetricRecord("coverage", metrics.coverage, at=True),
    MetricRecord("precision", metrics.precision, at=True),
    MetricRecord("ndcg", metrics.ndcg, at=True),
    MetricRecord("map@r", metrics.map_at_r, depth="relevant"),
    MetricRecord("r_precision", metrics.r_precision, depth="relevant"),
    MetricRecord("mrr", metrics.reciprocal_rank),
)
"""Every metric; ``hit@k`` is another name for ``recall@k``."""
