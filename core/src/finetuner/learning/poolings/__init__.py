"""Poolings: ``f(xp, features, mask, parameters, **options)`` of B×N×D gives B×D.

``mask`` is B×N, not zero where a position counts, or ``None`` where all do. Half
precision is pooled, and returned, in float32. A row in which no position counts
pools to zeros.
"""

from finetuner.learning.poolings.gem import check_gem, gem, gem_parameters
from finetuner.learning.poolings.positions import cls, last
from finetuner.learning.poolings.reduce import max_pooling, mean_pooling

__all__ = ["check_gem", "cls", "gem", "gem_parameters", "last", "max_pooling", "mean_pooling"]
