"""Retrieval on held-out rows, for a model in training and for a tuned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.contracts import Backend
from finetuner.data import Encoded, LabeledDataset
from finetuner.evaluation import ExampleResult, evaluate, example_results
from finetuner.evaluation.similarity import NAMES
from finetuner.plugins.host import Host
from finetuner.runs.prepare import Held, Interpreted
from finetuner.runs.resolve import REFERENCE_BACKEND, get_backend
from finetuner.training import embed_all

if TYPE_CHECKING:
    from finetuner.inference import OnnxEmbedder


class Measured(dict[str, float]):
    """Metrics by name, with the vectors (queries, index) that gave them."""

    def __init__(
        self, metrics: Mapping[str, float], vectors: tuple[np.ndarray, np.ndarray | None]
    ) -> None:
        super().__init__(metrics)
        self.vectors = vectors


@dataclass(frozen=True)
class Measure:
    """Retrieval on held-out rows, encoded once and measured as often as asked."""

    held: Held
    queries: Encoded
    index: Encoded | None
    distance: str
    host: Host

    @classmethod
    def of(cls, held: Held, found: Interpreted, distance: str, host: Host) -> Measure:
        """Encode the rows of ``held`` with the model's preprocessing."""
        encode = found.preprocessor.encode
        index = encode(held.index.contents) if held.index is not None else None
        return cls(held, encode(held.queries.contents), index, distance, host)

    def __call__(self, backend: Backend, state: Any) -> Measured:
        """Embed the rows with ``state`` and compare them."""
        queries = embed_all(backend, state, self.queries)
        index = None if self.index is None else embed_all(backend, state, self.index)
        found = _evaluate(self.held, queries, index, None, self.distance, self.host)
        return Measured(found, (queries, index))

    def examples(self, before: Measured, after: Measured) -> list[ExampleResult]:
        """Some queries with their neighbours before and after."""
        return example_results(
            self.held.queries,
            self.held.index,
            before.vectors,
            after.vectors,
            distance=_distance(self.distance, self.host),
        )


def measure_model(
    embedder: OnnxEmbedder,
    queries: LabeledDataset,
    index: LabeledDataset | None,
    metrics: Sequence[str] | None,
    distance: str,
    batch_size: int,
    host: Host,
) -> dict[str, float]:
    """Retrieval metrics of a tuned model on labelled rows."""
    vectors = embedder.encode(list(queries.contents), batch_size=batch_size)
    against = None
    if index is not None:
        against = embedder.encode(list(index.contents), batch_size=batch_size)
    return _evaluate(Held("", queries, index), vectors, against, metrics, distance, host)


def _evaluate(
    held: Held,
    queries: np.ndarray,
    index: np.ndarray | None,
    metrics: Sequence[str] | None,
    distance: str,
    host: Host,
) -> dict[str, float]:
    chosen: dict[str, Any] = {} if metrics is None else {"metrics": tuple(metrics)}
    return evaluate(
        queries,
        _names(held.queries),
        index,
        None if held.index is None else _names(held.index),
        distance=_distance(distance, host),
        host=host,
        **chosen,
    )


def _distance(name: str, host: Host) -> str | Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A distance that evaluation knows, or a plugin's run on numpy arrays."""
    record = host.get("distances", name)
    if name in NAMES:
        return name
    xp = get_backend(REFERENCE_BACKEND, host).xp

    def distance(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.asarray(record.function(xp, queries, index))

    return distance


def _names(data: LabeledDataset) -> np.ndarray:
    """Labels by name: queries and index may number them differently."""
    return np.asarray(data.label_names)[data.labels]
