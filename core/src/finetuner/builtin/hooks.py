"""Core's own hook implementations, reached by entry point like anybody's.

Each hook imports its records when it is called, so that looking at one kind of
plugin does not load the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from finetuner.contracts import (
    AdapterRecord,
    BackendRecord,
    CallbackRecord,
    DistanceRecord,
    ExecutorRecord,
    FreezingRecord,
    LossRecord,
    MetricRecord,
    MinerRecord,
    PoolingRecord,
    ReaderRecord,
    SamplerRecord,
    StoreRecord,
    TransformRecord,
)
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_backends() -> Iterator[BackendRecord]:
    from finetuner.builtin.backends import BACKENDS

    yield from BACKENDS


@hookimpl
def finetuner_adapters() -> Iterator[AdapterRecord]:
    from finetuner.builtin.adaptation import ADAPTERS

    yield from ADAPTERS


@hookimpl
def finetuner_freezing() -> Iterator[FreezingRecord]:
    from finetuner.builtin.adaptation import FREEZING

    yield from FREEZING


@hookimpl
def finetuner_poolings() -> Iterator[PoolingRecord]:
    from finetuner.builtin.learning import POOLINGS

    yield from POOLINGS


@hookimpl
def finetuner_samplers() -> Iterator[SamplerRecord]:
    from finetuner.builtin.learning import SAMPLERS

    yield from SAMPLERS


@hookimpl
def finetuner_distances() -> Iterator[DistanceRecord]:
    from finetuner.builtin.learning import DISTANCES

    yield from DISTANCES


@hookimpl
def finetuner_miners() -> Iterator[MinerRecord]:
    from finetuner.builtin.learning import MINERS

    yield from MINERS


@hookimpl
def finetuner_losses() -> Iterator[LossRecord]:
    from finetuner.builtin.learning import LOSSES

    yield from LOSSES


@hookimpl
def finetuner_metrics() -> Iterator[MetricRecord]:
    from finetuner.builtin.metrics import METRICS

    yield from METRICS


@hookimpl
def finetuner_readers() -> Iterator[ReaderRecord]:
    from finetuner.builtin.data import READERS

    yield from READERS


@hookimpl
def finetuner_transforms() -> Iterator[TransformRecord]:
    from finetuner.builtin.data import TRANSFORMS

    yield from TRANSFORMS


@hookimpl
def finetuner_stores() -> Iterator[StoreRecord]:
    from finetuner.builtin.stores import STORES

    yield from STORES


@hookimpl
def finetuner_executors() -> Iterator[ExecutorRecord]:
    from finetuner.builtin.executors import EXECUTORS

    yield from EXECUTORS


@hookimpl
def finetuner_callbacks() -> Iterator[CallbackRecord]:
    from finetuner.builtin.callbacks import CALLBACKS

    yield from CALLBACKS
