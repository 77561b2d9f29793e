"""Distances, miners, losses and poolings on arrays, and the batches that they see."""

from finetuner.learning.objective import (
    MetricObjective,
    References,
    make_objective,
    resolve_objective,
)

__all__ = [
    "MetricObjective",
    "References",
    "make_objective",
    "resolve_objective",
]
