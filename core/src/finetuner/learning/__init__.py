"""Distances, miners, losses and poolings on arrays, and the batches that they see."""

from finetuner.learning.objective import (
    MetricObjective,
    References,
    make_objective,
    resolve_objective,
)
from finetuner.learning.options import check_options

__all__ = [
    "MetricObjective",
    "References",
    "check_options",
    "make_objective",
    "resolve_objective",
]
