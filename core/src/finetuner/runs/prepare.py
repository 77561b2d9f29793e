"""Everything that a run decides before it trains: data, model, plan, objective, batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.adaptation import make_plan
from finetuner.contracts import (
    IN_PROCESS,
    AdaptationPlan,
    Backend,
    BatchSampler,
    Inputs,
    LoadedModel,
    Objective,
    OptimizerSpec,
    PlanOptions,
    Preprocessing,
    RunSpec,
    Step,
)
from finetuner.data import (
    PREPROCESSING_OPTIONS,
    Encoded,
    LabeledDataset,
    Preprocessor,
    infer_preprocessing,
    load_dataset,
    preprocessing_files,
)
from finetuner.errors import DataError, UsageError
from finetuner.learning import resolve_objective
from finetuner.plugins.host import Host
from finetuner.runs.defaults import BATCH_SIZE, LOSS, VAL_SPLIT, optimizer_spec
from finetuner.runs.resolve import backend_record, load_model
from finetuner.training import total_steps

RUN_OPTIONS = frozenset({"augmentation", "dropout"})
"""Model options that are about training: no loader and no preprocessing looks at them."""

OWN_RATES = "own"
"""The dropout that leaves the model's own rates as they are."""


@dataclass(frozen=True)
class Held:
    """Labelled rows that retrieval is measured on; leave-one-out where ``index`` is None."""

    source: str
    queries: LabeledDataset
    index: LabeledDataset | None = None


@dataclass(frozen=True)
class RunData:
    """Rows to train on, to choose the best checkpoint by, and to report on."""

    train: LabeledDataset
    validation: Held | None
    report: Held


@dataclass(frozen=True)
class Interpreted:
    """A loaded model with its preprocessing and its plan."""

    backend: Backend
    loaded: LoadedModel
    preprocessing: Preprocessing
    preprocessor: Preprocessor
    plan: AdaptationPlan


@dataclass(frozen=True)
class Training:
    """What the trainer is given."""

    spec: RunSpec
    encoded: Encoded
    labels: np.ndarray
    sampler: BatchSampler
    objective: Objective
    optimizer: OptimizerSpec


def check_names(spec: RunSpec, host: Host) -> None:
    """Raise ``UnknownNameError`` for a name or option that nothing provides."""
    wanted = {
        "losses": spec.loss,
        "miners": spec.miner,
        "distances": spec.distance,
        "samplers": spec.sampler,
        "poolings": spec.plan.pooling,
        "freezing": spec.plan.freeze.partition(":")[0],
    }
    for kind, name in wanted.items():
        if name:
            host.get(kind, name)
    if spec.backend is not None:
        backend_record(spec.backend, host)
    optimizer_spec(spec, steps=1)


def read_data(spec: RunSpec, live: Mapping[str, Any], host: Host) -> RunData:
    """Read and check all data that the run names.

    Without ``eval_data`` and with no ``val_split`` a tenth of each class is held
    out, so that before and after are never measured on rows that were trained on.
    """
    train = _read(live.get("train_data", spec.train_data), spec, host, trainable=True)
    given = live.get("eval_data", spec.eval_data)
    share = spec.val_split if given is not None or spec.val_split > 0 else VAL_SPLIT
    if not 0 <= share < 1:
        raise UsageError(f"val_split is {share}: give the share to hold out, from 0 to below 1")
    validation = None
    if share:
        # Leave-one-out needs two rows of a class on either side.
        train, held = train.split(share, spec.seed, least=2)
        if not len(held):
            raise DataError(
                "no class has the four rows that it takes to train on two and hold out two: "
                "give eval_data, so that retrieval is measured on other rows"
            )
        validation = _telling(Held(f"{len(held)} rows held out of train_data", held))
    if given is None:
        assert validation is not None
        return RunData(train, validation, validation)
    return RunData(train, validation, _telling(_report_set(given, spec, host)))


def interpret(model: object, spec: RunSpec, data: LabeledDataset, host: Host) -> Interpreted:
    """Load, trace and plan ``model`` for the modality of ``data``."""
    backend, loaded = load_model(model, spec.backend, _loading(model, spec.model_options), host)
    loaded = _fed(loaded, data, spec.model_options)
    preprocessing = loaded.preprocessing
    assert preprocessing is not None
    if preprocessing.modality != data.modality:
        raise UsageError(
            f"the model takes {preprocessing.modality}, but the data is {data.modality}"
        )
    preprocessor = Preprocessor(preprocessing, loaded.files, host.by_name("transforms"))
    sample = preprocessor.batch(list(data.contents[:2]) * (2 if len(data) < 2 else 1))
    plan = _plan(backend, loaded, sample, spec.plan, host)
    return Interpreted(backend, loaded, preprocessing, preprocessor, plan)


def _loading(model: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for loading: a live model is loaded, so all of its are about its input."""
    if not isinstance(model, (str, Path)):
        return {}
    return {name: value for name, value in options.items() if name not in RUN_OPTIONS}


def _fed(loaded: LoadedModel, data: LabeledDataset, options: Mapping[str, Any]) -> LoadedModel:
    """``loaded`` with preprocessing: its own, else what the data and ``options`` make of it."""
    if loaded.preprocessing is not None:
        return loaded
    chosen = {n: v for n, v in options.items() if n not in RUN_OPTIONS | {"input_shape"}}
    if "preprocessing" not in chosen:
        known = PREPROCESSING_OPTIONS[data.modality]
        chosen = {**{n: v for n, v in loaded.data_defaults.items() if n in known}, **chosen}
    return replace(
        loaded,
        preprocessing=infer_preprocessing(data, chosen),
        files={**loaded.files, **preprocessing_files(chosen)},
    )


def inspect_model(
    model: object,
    data: object,
    model_options: Mapping[str, Any],
    backend: str | None,
    options: PlanOptions,
    host: Host,
) -> AdaptationPlan:
    """The plan for ``model``, fed with ``data`` or with a made-up sample of what it takes."""
    if data is not None:
        rows = load_dataset(data, host, require_labels=False)
        spec = RunSpec("inspect", IN_PROCESS, IN_PROCESS, model_options=dict(model_options))
        spec = replace(spec, backend=backend, plan=options)
        return interpret(model, spec, rows, host).plan
    found, loaded = load_model(model, backend, _loading(model, model_options), host)
    preprocessing = loaded.preprocessing
    told = {**loaded.data_defaults, **model_options}
    if preprocessing is None and "input_shape" not in told:
        raise UsageError(
            "the input of a bare model is not known: give data= (two rows are enough) or "
            "model_options={'input_shape': (3, 224, 224)} (without the batch)"
        )
    sample = _made_up(preprocessing, told)
    return _plan(found, loaded, sample, options, host)


def assemble(spec: RunSpec, found: Interpreted, train: LabeledDataset, host: Host) -> Training:
    """Resolve every learning choice, tokenise once, and lay out the batches."""
    assert train.labels is not None
    objective = resolve_objective(
        host,
        spec.loss or LOSS,
        distance=spec.distance,
        miner=spec.miner,
        loss_options=spec.loss_options,
        miner_options=spec.miner_options,
        classes=len(train.label_names),
        width=found.plan.embedding_width,
    )
    spec = replace(
        spec,
        backend=found.backend.name,
        loss=objective.loss.name,
        miner=None if objective.miner is None else objective.miner.name,
        distance=objective.distance.name,
        batch_size=BATCH_SIZE if spec.batch_size is None else spec.batch_size,
    )
    sampler = host.get("samplers", spec.sampler).build(
        train.labels, spec.batch_size, spec.num_items_per_class, spec.seed
    )
    optimizer = optimizer_spec(spec, total_steps(sampler, spec.epochs))
    spec = replace(spec, learning_rate=optimizer.learning_rate)
    encoded = found.preprocessor.encode(
        train.contents,
        augmentation=_augmentation(spec),
        seed=spec.seed,
        workers=spec.num_workers,
    )
    return Training(spec, encoded, train.labels, sampler, objective, optimizer)


def dropout_rate(options: Mapping[str, Any]) -> float | None:
    """The rate of dropout while training, 0.0 where none is given, ``None`` for the model's own.

    ``UsageError`` for what is neither a rate nor ``"own"``.
    """
    given = options.get("dropout", 0.0)
    if given == OWN_RATES:
        return None
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given < 1:
        return float(given)
    raise UsageError(
        f"model option dropout is {given!r}: give a rate from 0 to below 1, or {OWN_RATES!r} for "
        "the model's own rates"
    )


def _plan(
    backend: Backend, loaded: LoadedModel, sample: Inputs, options: PlanOptions, host: Host
) -> AdaptationPlan:
    return make_plan(
        backend.trace(loaded.model, sample),
        _with_defaults(options, loaded.defaults),
        adapters=list(host.by_name("adapters").values()),
        poolings=host.by_name("poolings"),
        freezing=host.by_name("freezing"),
    )


def _made_up(preprocessing: Preprocessing | None, options: Mapping[str, Any]) -> Inputs:
    """Two zero rows of the right shape; varying extents are eight long."""
    if preprocessing is None:
        shape = tuple(int(extent) for extent in options["input_shape"])
        name = "image" if len(shape) == 3 else "array"
        return {name: np.zeros((2, *shape), np.float32)}
    return {
        spec.name: (np.ones if "mask" in spec.name else np.zeros)(
            (2, *(8 if extent is None else extent for extent in spec.shape[1:])), spec.dtype
        )
        for spec in preprocessing.inputs
    }


def _read(source: object, spec: RunSpec, host: Host, *, trainable: bool = False) -> LabeledDataset:
    return load_dataset(
        source,
        host,
        options=spec.csv_options,
        trainable=trainable,
        skip_unreadable=spec.skip_unreadable,
    )


def _report_set(given: object, spec: RunSpec, host: Host) -> Held:
    if isinstance(given, Mapping) and {"query", "index"} >= set(given) and "query" in given:
        queries = _read(given["query"], spec, host)
        index = _read(given["index"], spec, host) if "index" in given else None
        return Held("eval_data, queries against an index", queries, index)
    return Held("eval_data, leave-one-out", _read(given, spec, host))


def _telling(held: Held) -> Held:
    """``held`` itself; ``DataError`` where retrieval among one label's rows is always right."""
    among = held.queries if held.index is None else held.index
    labels = np.unique(among.labels) if among.labels is not None else np.empty(0)
    if len(labels) == 1:
        raise DataError(
            f"{held.source}: all {len(among)} rows to be found have the label "
            f"{among.label_names[labels[0]]!r}, so that every result is right whatever the model: "
            "give eval_data with rows of two labels or more"
        )
    return held


def _with_defaults(options: PlanOptions, defaults: Mapping[str, Any]) -> PlanOptions:
    """What the model's own files ask for, where the user said nothing."""
    if options.pooling is None and options.embedding_layer is None and "pooling" in defaults:
        return replace(
            options,
            pooling=defaults["pooling"],
            pooling_options=dict(defaults.get("pooling_options", {})),
        )
    return options


def _augmentation(spec: RunSpec) -> tuple[Step, ...]:
    steps = spec.model_options.get("augmentation", ())
    return tuple(
        Step(step) if isinstance(step, str) else Step(step["name"], dict(step.get("options", {})))
        for step in steps
    )
