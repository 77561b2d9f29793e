"""Retrieval on held-out rows, for a model in training and for a tuned one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.contracts import Backend
from finetuner.data import Encoded, LabeledDataset
from finetuner.evaluation import ExampleResult, evaluate, example_results
from finetuner.plugins.host import Host
from finetuner.runs.prepare import Held, Interpreted
from finetuner.training import embed_all

if TYPE_CHECKING:
    from finetuner.inference import OnnxEmbedder


@dataclass(frozen=True)
class Measure:
    """Retrieval on held-out rows, encoded once and measured as often as asked."""

    held: Held
    queries: Encoded
    index: Encoded | None
    host: Host

    @classmethod
    def of(cls, held: Held, found: Interpreted, host: Host) -> Measure:
        """Encode the rows of ``held`` with the model's preprocessing."""
        encode = found.preprocessor.encode
        index = encode(held.index.contents) if held.index is not None else None
        return cls(held, encode(held.queries.contents), index, host)

    def __call__(
        self, backend: Backend, state: Any
    ) -> tuple[dict[str, float], tuple[np.ndarray, np.ndarray | None]]:
        """Metrics by name, and the vectors (queries, index) that gave them."""
        queries = embed_all(backend, state, self.queries)
        index = None if self.index is None else embed_all(backend, state, self.index)
        return _evaluate(self.held, queries, index, None, self.host), (queries, index)

    def metrics(self, backend: Backend, state: Any) -> dict[str, float]:
        """Metrics by name."""
        return self(backend, state)[0]

    def examples(
        self,
        before: tuple[np.ndarray, np.ndarray | None],
        after: tuple[np.ndarray, np.ndarray | None],
    ) -> list[ExampleResult]:
        """Some queries with their neighbours before and after."""
        return example_results(self.held.queries, self.held.index, before, after)


def measure_model(
    embedder: OnnxEmbedder,
    queries: LabeledDataset,
    index: LabeledDataset | None,
    metrics: Sequence[str] | None,
    batch_size: int,
    host: Host,
) -> dict[str, float]:
    """Retrieval metrics of a tuned model on labelled rows."""
    vectors = embedder.encode(list(queries.contents), batch_size=batch_size)
    against = None
    if index is not None:
        against = embedder.encode(list(index.contents), batch_size=batch_size)
    return _evaluate(Held("", queries, index), vectors, against, metrics, host)


def _evaluate(
    held: Held,
    queries: np.ndarray,
    index: np.ndarray | None,
    metrics: Sequence[str] | None,
    host: Host,
) -> dict[str, float]:
    chosen: dict[str, Any] = {} if metrics is None else {"metrics": tuple(metrics)}
    return evaluate(
        queries,
        _names(held.queries),
        index,
        None if held.index is None else _names(held.index),
        records={name: p.record for name, p in host.records("metrics").items()},
        **chosen,
    )


def _names(data: LabeledDataset) -> np.ndarray:
    """Labels by name: queries and index may number them differently."""
    return np.asarray(data.label_names)[data.labels]
