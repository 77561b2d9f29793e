"""The public functions. Two arguments suffice; everything else can be adjusted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuner.contracts import AdaptationPlan, ExporterRecord, PlanOptions, RunSpec
from finetuner.errors import UsageError
from finetuner.runs.directory import RunDirectory, home_directory
from finetuner.runs.run import Run, delete_run, get_run, list_runs

if TYPE_CHECKING:
    import numpy as np

    from finetuner.inference import OnnxEmbedder

__all__ = [
    "delete_run",
    "encode",
    "evaluate",
    "export",
    "fit",
    "get_model",
    "get_run",
    "inspect",
    "list_runs",
    "login",
    "pull",
    "push",
    "resume_run",
]


def fit(
    model: Any,
    train_data: Any,
    eval_data: Any = None,
    *,
    val_split: float = 0.0,
    run_name: str | None = None,
    description: str = "",
    experiment_name: str = "default",
    model_options: Mapping[str, Any] | None = None,
    backend: str | None = None,
    loss: str | None = None,
    loss_options: Mapping[str, Any] | None = None,
    miner: str | None = None,
    miner_options: Mapping[str, Any] | None = None,
    distance: str | None = None,
    sampler: str = "class-balanced",
    num_items_per_class: int | None = None,
    head: str | Sequence[str] | None = "auto",
    embedding_layer: str | None = None,
    pooling: str | None = None,
    pooling_options: Mapping[str, Any] | None = None,
    freeze: str | None = None,
    output_dim: int | None = None,
    normalize: bool = True,
    optimizer: str = "adamw",
    optimizer_options: Mapping[str, Any] | None = None,
    learning_rate: float | None = None,
    scheduler: str = "linear",
    scheduler_options: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    num_workers: int = 0,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
    to_onnx: bool = True,
    store: str | None = None,
    executor: str = "local",
    csv_options: Mapping[str, Any] | None = None,
    skip_unreadable: bool = False,
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Run:
    """Fine-tune ``model`` into an embedding model on labelled data.

    Args:
        model: a live model of an installed backend, a backbone name such as
            ``"timm/resnet50"``, or a path (a Hugging Face or sentence-transformers
            directory).
        train_data: a docarray ``DocList``, CSV path, image folder, frame,
            ``(contents, labels)`` or Hugging Face data set. Labels come from
            ``finetuner_label``, as a field, a column or in ``tags``.
        eval_data: labelled data for the before/after report, measured
            leave-one-out; or ``{"query": …, "index": …}``. Never used to choose a
            checkpoint. Without it, and without ``val_split``, a tenth of
            ``train_data`` is held out.
        val_split: share of each class to hold out of ``train_data``; the best
            checkpoint is the one with the best MAP@R there.
        run_name: unique name of the run; made up where not given.
        description, experiment_name: for finding the run again.
        model_options: for the backbone and its preprocessing (``tokenizer``,
            ``max_length``, ``image_size``, ``augmentation``, …).
        backend: ``"torch"``, ``"keras"``, …; found from the model where not given.
        loss, loss_options, miner, miner_options, distance: what is learned from
            a batch; ``finetuner plugins`` lists what there is.
        sampler, num_items_per_class, batch_size: which examples share a batch.
        head, embedding_layer, pooling, pooling_options, output_dim, normalize:
            how the model is adapted; see :func:`inspect`.
        freeze: ``"none"``, ``"backbone"``, ``"first:0.75"``, ``"until:LAYER"``, ….
        optimizer, optimizer_options, learning_rate, scheduler, scheduler_options:
            AdamW or SGD; warm-up, then constant, linear or cosine.
        epochs: each draws every row at least once.
        precision, device, num_workers: ``"auto"`` takes the best there is.
        callbacks: names (``"early-stopping:patience=2"``) or objects.
        seed: same seed, machine and thread count: same bits.
        to_onnx: whether the artifact holds an ONNX model.
        store: where the artifact goes (``"file:///models"``); without it, to the
            store under ``home``.
        executor: where the run is carried out.
        csv_options: ``text``, ``image``, ``label``, ``delimiter``, ``header``,
            ``encoding``.
        skip_unreadable: leave out images that cannot be read, and count them,
            instead of stopping.
        home: directory of runs; else ``$FINETUNER_HOME``, else ``~/.finetuner``.
        progress: show a progress bar; by default where there is a terminal.

    Returns:
        The run; with the ``local`` executor it is over.

    Raises:
        FinetunerError: with what was found and what to do.
    """
    from finetuner.runs import defaults

    live: dict[str, Any] = {"progress": progress}
    named = [callback for callback in callbacks if isinstance(callback, str)]
    live["callbacks"] = [callback for callback in callbacks if not isinstance(callback, str)]
    reference = _reference("model", model, live)
    spec = RunSpec(
        name=run_name or defaults.run_name(_title(model)),
        model=reference,
        train_data=_reference("train_data", train_data, live),
        eval_data=None if eval_data is None else _reference("eval_data", eval_data, live),
        val_split=val_split,
        description=description,
        experiment_name=experiment_name,
        model_options=dict(model_options or {}),
        backend=backend,
        loss=loss or "",
        loss_options=dict(loss_options or {}),
        miner=miner,
        miner_options=dict(miner_options or {}),
        distance=distance,
        sampler=sampler,
        num_items_per_class=num_items_per_class or defaults.NUM_ITEMS_PER_CLASS,
        plan=_plan_options(
            head, embedding_layer, pooling, pooling_options, freeze, output_dim, normalize
        ),
        optimizer=optimizer,
        optimizer_options=dict(optimizer_options or {}),
        learning_rate=learning_rate,
        scheduler=scheduler,
        scheduler_options=dict(scheduler_options or {}),
        epochs=defaults.EPOCHS if epochs is None else epochs,
        batch_size=batch_size,
        precision=precision,
        device=device,
        num_workers=num_workers,
        callbacks=tuple(named),
        seed=seed,
        to_onnx=to_onnx,
        store=store,
        executor=executor,
        csv_options=dict(csv_options or {}),
        skip_unreadable=skip_unreadable,
    )
    root = home_directory(home)
    chosen = _executor(executor)
    directory = RunDirectory.create(root, spec)
    chosen.submit(spec, directory.path, live)
    return Run(directory, root)


def resume_run(
    name: str,
    *,
    model: Any = None,
    train_data: Any = None,
    eval_data: Any = None,
    callbacks: Sequence[Any] = (),
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Run:
    """Continue a run that was broken off, from its last checkpoint.

    The final weights are those that the undisturbed run would have had. What was
    given as live objects at first must be given again.
    """
    root = home_directory(home)
    directory = RunDirectory.open(root, name)
    spec = directory.spec()
    given = {"model": model, "train_data": train_data, "eval_data": eval_data}
    live = {key: value for key, value in given.items() if value is not None}
    live |= {"callbacks": list(callbacks), "progress": progress}
    for key in ("model", "train_data", "eval_data"):
        if getattr(spec, key) == IN_PROCESS and key not in live:
            raise UsageError(
                f"run {name!r} was begun with a live {key}: resume_run({name!r}, {key}=…)"
            )
    directory.reopen()
    _executor(spec.executor).submit(spec, directory.path, live)
    return Run(directory, root)


def inspect(
    model: Any,
    data: Any = None,
    *,
    model_options: Mapping[str, Any] | None = None,
    backend: str | None = None,
    head: str | Sequence[str] | None = "auto",
    embedding_layer: str | None = None,
    pooling: str | None = None,
    pooling_options: Mapping[str, Any] | None = None,
    freeze: str | None = None,
    output_dim: int | None = None,
    normalize: bool = True,
) -> AdaptationPlan:
    """The plan by which ``model`` becomes an embedding model. Nothing is changed.

    ``data`` is a small sample (any form that ``fit`` reads, labels not needed),
    for a bare model whose input cannot be known otherwise; a shape such as
    ``model_options={"input_shape": (3, 224, 224)}`` does as well.
    """
    from finetuner.plugins.host import default_host
    from finetuner.runs.prepare import inspect_model

    options = _plan_options(
        head, embedding_layer, pooling, pooling_options, freeze, output_dim, normalize
    )
    return inspect_model(model, data, dict(model_options or {}), backend, options, default_host())


def get_model(
    source: str | os.PathLike[str],
    *,
    providers: Sequence[str] | None = None,
    home: str | os.PathLike[str] | None = None,
) -> OnnxEmbedder:
    """An embedding model for production: needs finetuner-core and onnxruntime alone.

    ``source`` is an artifact id (``STORE/NAME@sha256:…``), ``STORE/NAME[:TAG]``,
    or a bundle's directory. Every byte is verified before it is used.
    """
    from finetuner.artifacts import open_store, pull_cached
    from finetuner.inference import OnnxEmbedder
    from finetuner.plugins.host import default_host

    host = default_host()
    path = Path(source)
    if not (path / "manifest.json").is_file():
        cache = home_directory(home) / "artifacts"
        path = pull_cached(str(source), cache, lambda url: open_store(url, host))
    transforms = {name: p.record for name, p in host.records("transforms").items()}
    return OnnxEmbedder.from_bundle(path, providers=providers, transforms=transforms)


def encode(
    model: OnnxEmbedder | str | os.PathLike[str], data: Any, *, batch_size: int = 32
) -> np.ndarray:
    """Embeddings of ``data`` (texts, images, arrays, or any form that ``fit`` reads).

    Returns float32, one row a content: N×D.
    """
    from finetuner.data import load_dataset
    from finetuner.plugins.host import default_host

    embedder = get_model(model) if isinstance(model, (str, os.PathLike)) else model
    if isinstance(data, (list, tuple)) and not data:
        return embedder.encode([], batch_size=batch_size)
    rows = load_dataset(data, default_host(), require_labels=False)
    return embedder.encode(list(rows.contents), batch_size=batch_size)


def evaluate(
    model: OnnxEmbedder | str | os.PathLike[str],
    data: Any,
    *,
    index: Any = None,
    metrics: Sequence[str] | None = None,
    distance: str = "cosine",
    batch_size: int = 32,
    csv_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Retrieval metrics of a tuned model: leave-one-out, or ``data`` against ``index``."""
    from finetuner.data import load_dataset
    from finetuner.plugins.host import default_host
    from finetuner.runs.measure import measure_model

    host = default_host()
    embedder = get_model(model) if isinstance(model, (str, os.PathLike)) else model
    options = dict(csv_options or {})
    queries = load_dataset(data, host, options=options, trainable=False)
    against = None if index is None else load_dataset(index, host, options=options, trainable=False)
    return measure_model(embedder, queries, against, metrics, distance, batch_size, host)


def push(
    source: str | os.PathLike[str],
    store: str,
    *,
    name: str | None = None,
    tag: str = "latest",
    home: str | os.PathLike[str] | None = None,
) -> str:
    """Push a bundle's directory, or a run's artifact, to ``store``; returns its artifact id."""
    from finetuner.artifacts import open_store, read_manifest
    from finetuner.artifacts import push as push_bundle
    from finetuner.plugins.host import default_host

    host = default_host()
    target = open_store(store, host)
    path = Path(source)
    if not (path / "manifest.json").is_file():
        path = _run_bundle(str(source), home)
    return push_bundle(path, target, name or read_manifest(path).name, tag)


def pull(source: str, directory: str | os.PathLike[str]) -> Path:
    """Fetch an artifact into ``directory``; every digest is verified first."""
    from finetuner.artifacts import open_store
    from finetuner.artifacts import pull as pull_bundle
    from finetuner.plugins.host import default_host

    host = default_host()
    return pull_bundle(source, Path(directory), lambda url: open_store(url, host))


def export(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    form: str = "bundle",
    home: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a run's artifact (or any artifact, or a bundle) to ``directory`` in another form.

    ``form`` is ``"bundle"``, the files as they are, or the name of an exporter plugin.
    """
    from finetuner.artifacts import open_store, pull_cached
    from finetuner.plugins.host import default_host

    host = default_host()
    exporter: ExporterRecord | None = None if form == "bundle" else host.get("exporters", form)
    path = Path(source)
    if not (path / "manifest.json").is_file():
        if "/" in str(source):
            cache = home_directory(home) / "artifacts"
            path = pull_cached(str(source), cache, lambda url: open_store(url, host))
        else:
            path = _run_bundle(str(source), home)
    if exporter is not None:
        return exporter.export(path, Path(directory))
    target = Path(directory)
    if target.exists():
        raise UsageError(f"{target} exists: give a directory that does not")
    shutil.copytree(path, target)
    return target


def login(host: str | None = None, *, executor: str | None = None, **options: Any) -> None:
    """Log in where runs are carried out for you, by the executor plugin that has a login."""
    from finetuner.errors import MissingDependencyError
    from finetuner.plugins.host import default_host

    records = {n: p.record for n, p in default_host().records("executors").items()}
    able = {n: r for n, r in records.items() if r.login is not None}
    if executor is not None and executor not in able:
        raise UsageError(f"executor {executor!r} has no login; these have one: {sorted(able)}")
    if not able:
        raise MissingDependencyError(
            "no installed executor has a login: runs are carried out here (executor='local')"
        )
    chosen = able[executor] if executor else next(iter(able.values()))
    assert chosen.login is not None
    chosen.login(host, **options)


IN_PROCESS = "in-process"


def _reference(key: str, value: Any, live: dict[str, Any]) -> str:
    """A path or name as it is; a live object goes into ``live``."""
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    live[key] = value
    return IN_PROCESS


def _title(model: Any) -> str:
    return os.fspath(model) if isinstance(model, (str, os.PathLike)) else type(model).__name__


def _plan_options(
    head: str | Sequence[str] | None,
    embedding_layer: str | None,
    pooling: str | None,
    pooling_options: Mapping[str, Any] | None,
    freeze: str | None,
    output_dim: int | None,
    normalize: bool,
) -> PlanOptions:
    return PlanOptions(
        head=head if head is None or isinstance(head, str) else tuple(head),
        embedding_layer=embedding_layer,
        pooling=pooling,
        pooling_options=dict(pooling_options or {}),
        freeze=freeze or "none",
        output_dim=output_dim,
        normalize=normalize,
    )


def _executor(name: str) -> Any:
    from finetuner.plugins.host import default_host

    return default_host().get("executors", name).load()


def _run_bundle(name: str, home: str | os.PathLike[str] | None) -> Path:
    from finetuner.artifacts import open_store, pull_cached
    from finetuner.plugins.host import default_host

    host = default_host()
    root = home_directory(home)
    run = Run(RunDirectory.open(root, name), root)
    return pull_cached(run.artifact_id, root / "artifacts", lambda url: open_store(url, host))
