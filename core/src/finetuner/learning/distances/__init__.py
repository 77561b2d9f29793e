"""Distances: ``f(xp, a, b)`` of A×D and R×D gives A×R, in float32 (float64 stays float64)."""

from finetuner.learning.distances.cosine import cosine
from finetuner.learning.distances.euclidean import euclidean, squared_euclidean

__all__ = ["cosine", "euclidean", "squared_euclidean"]
