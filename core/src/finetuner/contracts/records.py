"""The frozen records that hooks yield. A record is chosen by its ``name``, never by order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from finetuner.contracts.backend import Backend, LoadedModel
from finetuner.contracts.data import Rows
from finetuner.contracts.evaluation import Ranking
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.learning import BatchSampler, Consumes, Yields
from finetuner.contracts.plan import FreezeDecision
from finetuner.contracts.runs import Executor
from finetuner.contracts.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class BackendRecord:
    """A framework: ``load`` imports it and gives the backend.

    ``framework`` is the top-level module whose presence in ``sys.modules`` makes
    a live model possible (``"torch"``). ``paths`` are shell patterns of the paths
    that only this backend loads; with none, it is one for any other path.
    """

    name: str
    framework: str
    load: Callable[[], Backend]
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class BackboneRecord:
    """Backbones by name: ``pattern`` is a shell pattern such as ``"timm/*"``.

    ``load(name, options)`` gives the model; ``task`` is the modality it is for;
    ``names`` lists what can be asked for, where that is known cheaply.
    """

    pattern: str
    backend: str
    load: Callable[[str, Mapping[str, Any]], LoadedModel]
    task: Literal["text", "image", "array"]
    description: str = ""
    names: Callable[[], tuple[str, ...]] | None = None

    @property
    def name(self) -> str:
        return self.pattern


@dataclass(frozen=True)
class HeadDecision:
    """An adapter's answer: the head's layers and how to read the embedding.

    ``head`` empty means that there is none; ``output`` names the primary output
    where it is not the first; ``reason`` is printed in the plan.
    """

    reason: str
    head: tuple[str, ...] = ()
    output: str | None = None
    pooling: str | None = None


@dataclass(frozen=True)
class AdapterRecord:
    """Library knowledge that outranks the head rule; sees the graph alone."""

    name: str
    matches: Callable[[ModelGraph], bool]
    decide: Callable[[ModelGraph], HeadDecision | None]


@dataclass(frozen=True)
class PoolingRecord:
    """``function(xp, features, mask, parameters, **options)`` → B×D.

    ``features`` is B×N×D (maps are flattened to positions first), ``mask`` B×N
    of 0 and 1 or ``None``. ``parameters`` maps names of learnable parameters to
    initial values given the width D. ``ranks`` are the ranks of the map that it
    applies to (3 a sequence, 4 an image map). Options are the function's
    keyword-only arguments; ``check(options)`` raises ``UsageError`` for values
    that cannot be used, before anything runs.
    """

    name: str
    function: Callable[..., Any]
    parameters: Callable[[int], Mapping[str, Any]] | None = None
    ranks: tuple[int, ...] = (3, 4)
    check: Callable[[Mapping[str, Any]], None] | None = None


@dataclass(frozen=True)
class FreezingRecord:
    """``decide(graph, argument, measure)``: what to freeze.

    ``argument`` is what follows the colon in ``"first:0.75"`` or ``None``;
    ``measure()`` gives the mean gradient norm by layer name, where the caller
    can measure, else raises ``UsageError``.
    """

    name: str
    decide: Callable[[ModelGraph, str | None, Callable[[], Mapping[str, float]]], FreezeDecision]
    usage: str = ""


@dataclass(frozen=True)
class SamplerRecord:
    """``build(labels, batch_size, num_items_per_class, seed)`` → a batch sampler.

    ``labels`` are int64, one a row; what a batch sampler has is in
    :class:`~finetuner.contracts.BatchSampler`.
    """

    name: str
    build: Callable[..., BatchSampler]


@dataclass(frozen=True)
class DistanceRecord:
    """``function(xp, a, b)``: A×D and R×D to A×R, float32."""

    name: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class MinerRecord:
    """``function(xp, distances, labels, reference_labels, is_self, key, **options)``.

    Options are the function's keyword-only arguments; one called ``margin`` takes
    the loss's margin unless it is set. ``check(options)`` raises ``UsageError``
    for values that cannot be used, before anything runs.
    """

    name: str
    function: Callable[..., Any]
    yields: Yields
    check: Callable[[Mapping[str, Any]], None] | None = None


@dataclass(frozen=True)
class LossRecord:
    """``function(xp, pairs: PairBatch, **options)`` → scalar, or (scalar, scalars to report).

    ``consumes`` says what it can be fed, best first; ``narrow(options)`` gives
    less where options rule something out. ``parameters`` gives initial values of
    learnable parameters from (classes, width). ``miner`` and ``distance`` are its
    defaults. Options are the function's keyword-only arguments; ``check(options)``
    raises ``UsageError`` for values that cannot be used, before anything runs.
    """

    name: str
    function: Callable[..., Any]
    consumes: tuple[Consumes, ...]
    parameters: Callable[[int, int], Mapping[str, Any]] | None = None
    miner: str | None = None
    distance: str | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None
    narrow: Callable[[Mapping[str, Any]], tuple[Consumes, ...]] | None = None


@dataclass(frozen=True)
class MetricRecord:
    """``function(ranking, k)`` → one float64 for each query of a block; the mean is reported.

    ``ranking`` is a :class:`~finetuner.contracts.Ranking` of B queries, ``k`` the
    cut asked for (``None`` where ``at`` is false), and the result has shape B.
    Queries come in any order and in blocks of any size, so each is scored by itself.

    ``at`` says whether the name takes a cut, as in ``recall@10``; the ranking then
    has at least k columns. ``depth`` asks for more: a number of columns, or
    ``"relevant"`` for as many as the query has relevant items, as MAP@R needs.
    """

    name: str
    function: Callable[[Ranking, int | None], Any]
    at: bool = False
    depth: int | Literal["relevant"] = 0


@dataclass(frozen=True)
class ReaderRecord:
    """``matches(data)`` must be cheap and import nothing; ``read(data, options)`` → rows."""

    name: str
    matches: Callable[[object], bool]
    read: Callable[[Any, Mapping[str, Any]], Rows]


@dataclass(frozen=True)
class TransformRecord:
    """One preprocessing step: ``function(value, **options)``; seeded when training only."""

    name: str
    function: Callable[..., Any]
    training_only: bool = False


@dataclass(frozen=True)
class ExporterRecord:
    """Another form of a bundle: ``export(bundle, target, **options)``."""

    name: str
    export: Callable[..., Path]


@dataclass(frozen=True)
class StoreRecord:
    """Opens the stores of some URL schemes."""

    schemes: tuple[str, ...]
    open: Callable[[str], Store]

    @property
    def name(self) -> str:
        return self.schemes[0]


@dataclass(frozen=True)
class ExecutorRecord:
    """A place of execution, loaded when asked for."""

    name: str
    load: Callable[[], Executor]
    login: Callable[..., None] | None = None


@dataclass(frozen=True)
class CallbackRecord:
    """``build(**options)`` gives an object with any of the trainer's callback methods."""

    name: str
    build: Callable[..., Any]


@dataclass(frozen=True)
class CommandRecord:
    """A command of ``finetuner``: ``load()`` gives a typer app or function when called."""

    name: str
    help: str
    load: Callable[[], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
