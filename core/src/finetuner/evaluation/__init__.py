"""Retrieval: metrics, exact blockwise search, and the report before and after."""

from finetuner.evaluation.evaluate import evaluate
from finetuner.evaluation.metrics import DEFAULT_METRICS
from finetuner.evaluation.report import (
    Comparison,
    ExampleResult,
    Neighbour,
    compare,
    comparison_table,
    example_results,
    render_examples,
)
from finetuner.evaluation.search import neighbours

__all__ = [
    "DEFAULT_METRICS",
    "Comparison",
    "ExampleResult",
    "Neighbour",
    "compare",
    "comparison_table",
    "evaluate",
    "example_results",
    "neighbours",
    "render_examples",
]
