"""The hooks. Each yields frozen records; what they may do is in the record's docstring.

Every hook takes no arguments, is called at most once per host, when something of
its kind is first asked for, and must import heavy modules inside the functions
that its records hold. ``docs/plugins.md`` is generated from this module.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import cache

import pluggy

from finetuner import contracts

PREFIX = "finetuner_"

hookspec = pluggy.HookspecMarker("finetuner")


@hookspec
def finetuner_backends() -> Iterator[contracts.BackendRecord]:
    """Frameworks that models live in: PyTorch, Keras, …

    Called when a backend is named, or to find the one that recognises a model.
    ``load`` imports the framework; nothing before it may::

        @hookimpl
        def finetuner_backends():
            def load():
                from finetuner_acme.backend import AcmeBackend

                return AcmeBackend()

            yield BackendRecord("acme", framework="acme", load=load)
    """
    yield from ()


@hookspec
def finetuner_backbones() -> Iterator[contracts.BackboneRecord]:
    """Pre-trained models by name: ``timm/resnet50``, ``keras/MobileNetV2``, a directory.

    Called when ``model`` is a string. ``load`` gives the model with its preprocessing::

        @hookimpl
        def finetuner_backbones():
            yield BackboneRecord("acme/*", backend="torch", load=load_acme, task="image")
    """
    yield from ()


@hookspec
def finetuner_adapters() -> Iterator[contracts.AdapterRecord]:
    """Knowledge about a library's models that outranks the head rule.

    Called when a model is planned. An adapter sees the traced graph and its
    ``facts`` and nothing else::

        @hookimpl
        def finetuner_adapters():
            yield AdapterRecord(
                "acme",
                matches=lambda graph: graph.facts.get("library") == "acme",
                decide=lambda graph: HeadDecision("acme keeps its head in 'top'", head=("top",)),
            )
    """
    yield from ()


@hookspec
def finetuner_poolings() -> Iterator[contracts.PoolingRecord]:
    """Ways to make one vector of a feature map: mean, max, cls, last, gem, attention, …

    Called when a pooling is chosen. The function is written in ``xp`` and so
    runs in every backend; ``mask`` is ``None`` for image maps::

        @hookimpl
        def finetuner_poolings():
            def first(xp, features, mask, parameters):
                return features[:, 0]

            yield PoolingRecord("first", first)
    """
    yield from ()


@hookspec
def finetuner_freezing() -> Iterator[contracts.FreezingRecord]:
    """Policies that decide which layers stay as they are: none, backbone, first:F, until:L, …

    Called when a model is planned; ``freeze="odd:2"`` asks the policy ``odd``
    with the argument ``"2"``::

        @hookimpl
        def finetuner_freezing():
            def everything_but(graph, argument, measure):
                names = [layer.name for layer in graph.layers if layer.name != argument]
                return FreezeDecision("only", frozen=tuple(names))

            yield FreezingRecord("only", everything_but, usage="only:LAYER")
    """
    yield from ()


@hookspec
def finetuner_samplers() -> Iterator[contracts.SamplerRecord]:
    """Batch samplers: which examples share a batch.

    Called when training is set up::

        @hookimpl
        def finetuner_samplers():
            yield SamplerRecord("hard-classes", build=HardClassSampler)
    """
    yield from ()


@hookspec
def finetuner_distances() -> Iterator[contracts.DistanceRecord]:
    """Distances between embeddings: cosine, euclidean, …

    Called when training is set up; written in ``xp``::

        @hookimpl
        def finetuner_distances():
            def manhattan(xp, a, b):
                difference = xp.expand_dims(a, axis=1) - xp.expand_dims(b, axis=0)
                return xp.sum(xp.abs(difference), axis=2)

            yield DistanceRecord("manhattan", manhattan)
    """
    yield from ()


@hookspec
def finetuner_miners() -> Iterator[contracts.MinerRecord]:
    """Which triplets or pairs of a batch count: all, hard, semi-hard, easy-hard, …

    Called when training is set up; written in ``xp``::

        @hookimpl
        def finetuner_miners():
            def within(xp, distances, labels, reference_labels, is_self, key, *, radius=0.5):
                same = xp.expand_dims(labels, axis=1) == xp.expand_dims(reference_labels, axis=0)
                near = xp.where(distances < radius, xp.ones_like(distances), 0.0)
                signed = xp.where(same, near, -near)
                return PairWeights(xp.where(is_self, xp.zeros_like(near), signed))

            yield MinerRecord("within", within, yields="pair_weights")
    """
    yield from ()


@hookspec
def finetuner_losses() -> Iterator[contracts.LossRecord]:
    """Losses: triplet margin, NT-Xent, SupCon, contrastive, …

    Called when training is set up; written in ``xp``::

        @hookimpl
        def finetuner_losses():
            def pull(xp, pairs):
                return xp.mean(xp.where(pairs.positive, pairs.distances, 0.0))

            yield LossRecord("PullLoss", pull, consumes=("pairs",))
    """
    yield from ()


@hookspec
def finetuner_metrics() -> Iterator[contracts.MetricRecord]:
    """Retrieval metrics: recall@k, MAP@R, …

    Called when embeddings are evaluated; the function scores a block of queries::

        @hookimpl
        def finetuner_metrics():
            def first_right(ranking, k):
                return ranking.relevant[:, 0].astype(float)

            yield MetricRecord("first_right", first_right, depth=1)
    """
    yield from ()


@hookspec
def finetuner_readers() -> Iterator[contracts.ReaderRecord]:
    """Data formats: ``DocList``, CSV, image folder, data frames, arrays, …

    Called when data is given. ``matches`` must be cheap and import nothing::

        @hookimpl
        def finetuner_readers():
            def matches(data):
                return isinstance(data, str) and data.endswith(".acme")

            yield ReaderRecord("acme", matches, read_acme)
    """
    yield from ()


@hookspec
def finetuner_transforms() -> Iterator[contracts.TransformRecord]:
    """Preprocessing steps and augmentations that a preprocessing spec can name.

    Called when data is encoded. Production needs the same plugin for steps that
    are not ``training_only``::

        @hookimpl
        def finetuner_transforms():
            yield TransformRecord("invert", lambda image: 255 - image)
    """
    yield from ()


@hookspec
def finetuner_exporters() -> Iterator[contracts.ExporterRecord]:
    """Other forms that a bundle can be written in: triton, sentence-transformers, …

    Called when an export names one::

        @hookimpl
        def finetuner_exporters():
            yield ExporterRecord("triton", export_triton)
    """
    yield from ()


@hookspec
def finetuner_stores() -> Iterator[contracts.StoreRecord]:
    """Where artifacts live, by URL scheme: file, s3, gs, az, …

    Called when a store's address is given::

        @hookimpl
        def finetuner_stores():
            yield StoreRecord(("acme",), open=lambda url: AcmeStore(url))
    """
    yield from ()


@hookspec
def finetuner_executors() -> Iterator[contracts.ExecutorRecord]:
    """Where a run is carried out: local, process, ray, hub.

    Called when a run is started; ``finetuner.login`` asks the one that has a ``login``::

        @hookimpl
        def finetuner_executors():
            yield ExecutorRecord("cluster", load=lambda: ClusterExecutor())
    """
    yield from ()


@hookspec
def finetuner_callbacks() -> Iterator[contracts.CallbackRecord]:
    """Observers of training: early stopping, experiment trackers, …

    Called when ``callbacks`` names one. What a callback raises is logged and
    does not stop the run::

        @hookimpl
        def finetuner_callbacks():
            yield CallbackRecord("acme-tracker", build=AcmeTracker)
    """
    yield from ()


@hookspec
def finetuner_commands() -> Iterator[contracts.CommandRecord]:
    """Commands that a plugin adds to ``finetuner`` on the command line.

    Called when the command line is used; ``load`` only when the command is::

        @hookimpl
        def finetuner_commands():
            def load():
                from finetuner_acme.cli import app

                return app

            yield CommandRecord("acme", help="Talk to Acme.", load=load)
    """
    yield from ()


HOOKS: tuple[str, ...] = tuple(name for name in list(globals()) if name.startswith(PREFIX))
"""Every hook's name, in the order of this module."""

KINDS: tuple[str, ...] = tuple(name.removeprefix(PREFIX) for name in HOOKS)
"""Every kind of record: its hook's name without the prefix."""


@cache
def record_type(hook: str) -> type:
    """The class of the records that ``hook`` yields, read off its specification."""
    returned = typing.get_type_hints(globals()[hook])["return"]
    (record,) = typing.get_args(returned)
    return typing.cast("type", record)
