"""Fine-tuning: from a model and labelled data to a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from finetuner.artifacts import refuse_secrets
from finetuner.contracts import (
    IN_PROCESS,
    AdaptationPlan,
    Executor,
    ExecutorRecord,
)
from finetuner.errors import MissingDependencyError, UsageError
from finetuner.runs import defaults
from finetuner.runs.arguments import mapping, part_callbacks, plan_options, run_spec
from finetuner.runs.directory import RunDirectory, home_directory
from finetuner.runs.run import Run


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
            ``(contents, labels)``, Hugging Face data set, or the URL of a data set in
            a store (``"s3://bucket/name:tag"``, see :func:`push_data`), which is
            never held in memory. Labels come from ``finetuner_label``, as a field, a
            column or in ``tags``.
        eval_data: labelled data for the before/after report, measured
            leave-one-out; or ``{"query": …, "index": …}``. Never used to choose a
            checkpoint. Without it, and without ``val_split``, a tenth of
            ``train_data`` is held out.
        val_split: share of each class to hold out of ``train_data``; the best
            checkpoint is the one with the best MAP@R there.
        run_name: unique name of the run; made up where not given.
        description, experiment_name: for finding the run again.
        model_options: for the backbone and its preprocessing (``tokenizer``,
            ``max_length``, ``image_size``, ``augmentation``, …). ``dropout`` is the
            rate of every active dropout while training, outside frozen layers: 0
            by default, which also turns stochastic depth off; ``"own"`` keeps the
            model's own rates.
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
            ``encoding``; ``content`` and ``label`` name fields of documents.
        skip_unreadable: leave out images that cannot be read, and count them,
            instead of stopping.
        home: directory of runs; else ``$FINETUNER_HOME``, else ``~/.finetuner``.
        progress: show a progress bar; by default where there is a terminal.

    Returns:
        The run; with the ``local`` executor it is over.

    Raises:
        FinetunerError: with what was found and what to do.
    """
    live: dict[str, Any] = {"progress": progress}
    named, live["callbacks"] = part_callbacks(callbacks)
    spec = run_spec(
        plan_options(
            head=head,
            embedding_layer=embedding_layer,
            pooling=pooling,
            pooling_options=pooling_options,
            freeze=freeze,
            output_dim=output_dim,
            normalize=normalize,
        ),
        name=defaults.run_name(_title(model)) if run_name is None else run_name,
        model=_reference("model", model, live),
        train_data=_reference("train_data", train_data, live),
        eval_data=None if eval_data is None else _reference("eval_data", eval_data, live),
        val_split=val_split,
        description=description,
        experiment_name=experiment_name,
        model_options=model_options,
        backend=backend,
        loss=loss,
        loss_options=loss_options,
        miner=miner,
        miner_options=miner_options,
        distance=distance,
        sampler=sampler,
        num_items_per_class=(
            defaults.NUM_ITEMS_PER_CLASS if num_items_per_class is None else num_items_per_class
        ),
        optimizer=optimizer,
        optimizer_options=optimizer_options,
        learning_rate=learning_rate,
        scheduler=scheduler,
        scheduler_options=scheduler_options,
        epochs=defaults.EPOCHS if epochs is None else epochs,
        batch_size=batch_size,
        precision=precision,
        device=device,
        num_workers=num_workers,
        callbacks=named,
        seed=seed,
        to_onnx=to_onnx,
        store=None if store is None else refuse_secrets(store),
        executor=executor,
        csv_options=csv_options,
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
    to_onnx: bool | None = None,
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Run:
    """Continue a run that was broken off, from its last checkpoint.

    The final weights are those that the undisturbed run would have had. What was
    given as live objects at first must be given again. ``to_onnx=False`` keeps
    the weights of a run whose model was trained and could not be exported.
    """
    named, observers = part_callbacks(callbacks)
    if named:
        raise UsageError(
            f"callback {named[0]!r}: a resumed run has those it was begun with by name, "
            "give only the objects"
        )
    root = home_directory(home)
    directory = RunDirectory.open(root, name)
    spec = directory.spec()
    given = {"model": model, "train_data": train_data, "eval_data": eval_data}
    live = {key: value for key, value in given.items() if value is not None}
    live |= {"callbacks": observers, "progress": progress}
    for key in ("model", "train_data", "eval_data"):
        if getattr(spec, key) == IN_PROCESS and key not in live:
            raise UsageError(
                f"run {name!r} was begun with a live {key}: resume_run({name!r}, {key}=…)"
            )
    directory.reopen()
    if to_onnx is not None:
        spec = replace(spec, to_onnx=to_onnx)
        directory.write("spec.json", spec)
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

    options = plan_options(
        head=head,
        embedding_layer=embedding_layer,
        pooling=pooling,
        pooling_options=pooling_options,
        freeze=freeze,
        output_dim=output_dim,
        normalize=normalize,
    )
    chosen = {} if model_options is None else mapping("model_options", model_options)
    return inspect_model(model, data, chosen, backend, options, default_host())


def login(host: str | None = None, *, executor: str | None = None, **options: Any) -> None:
    """Log in where runs are carried out for you, by the executor plugin that has a login."""
    from finetuner.plugins.host import default_host

    records: dict[str, ExecutorRecord] = default_host().by_name("executors")
    able = {name: record.login for name, record in records.items() if record.login is not None}
    if executor is not None and executor not in able:
        raise UsageError(f"executor {executor!r} has no login; these have one: {sorted(able)}")
    if not able:
        raise MissingDependencyError(
            "no installed executor has a login: runs are carried out here (executor='local')"
        )
    chosen = able[executor] if executor else next(iter(able.values()))
    chosen(host, **options)


def _reference(key: str, value: Any, live: dict[str, Any]) -> str:
    """A path or name as it is; a live object goes into ``live``."""
    if isinstance(value, (str, os.PathLike)):
        return refuse_secrets(os.fspath(value))
    live[key] = value
    return IN_PROCESS


def _title(model: Any) -> str:
    return os.fspath(model) if isinstance(model, (str, os.PathLike)) else type(model).__name__


def _executor(name: str) -> Executor:
    from finetuner.plugins.host import default_host

    record: ExecutorRecord = default_host().get("executors", name)
    return record.load()
