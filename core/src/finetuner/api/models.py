"""Tuned models: loaded, applied, measured, and written in other forms."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuner.api.locations import located
from finetuner.contracts import ExporterRecord
from finetuner.errors import UsageError
from finetuner.runs.directory import home_directory

if TYPE_CHECKING:
    import numpy as np

    from finetuner.inference import OnnxEmbedder


def get_model(
    source: str | os.PathLike[str],
    *,
    providers: Sequence[str] | None = None,
    home: str | os.PathLike[str] | None = None,
) -> OnnxEmbedder:
    """An embedding model for production: needs finetuner-core and onnxruntime alone.

    ``source`` is an artifact id (``STORE/NAME@sha256:…``), ``STORE/NAME[:TAG]``,
    the name of a run, or a bundle's directory. Every byte is verified before it
    is used. ``providers`` are onnxruntime's, first choice first.
    """
    from finetuner.inference import OnnxEmbedder
    from finetuner.plugins.host import default_host

    host = default_host()
    path = located(source, home, host)
    transforms = host.by_name("transforms")
    return OnnxEmbedder.from_bundle(path, providers=providers, transforms=transforms)


def encode(
    model: OnnxEmbedder | str | os.PathLike[str],
    data: Any,
    *,
    batch_size: int = 32,
    csv_options: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Embeddings of ``data`` (texts, images, arrays, or any form that ``fit`` reads).

    Returns float32, one row a content: N×D.
    """
    from finetuner.data import load_dataset
    from finetuner.plugins.host import default_host
    from finetuner.runs.datasets import fetched

    embedder = _embedder(model)
    if isinstance(data, (list, tuple)) and not data:
        return embedder.encode([], batch_size=batch_size)
    host = default_host()
    data = fetched(data, host, home_directory())
    rows = load_dataset(data, host, options=csv_options, require_labels=False)
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
    skip_unreadable: bool = False,
) -> dict[str, float]:
    """Retrieval metrics of a tuned model: leave-one-out, or ``data`` against ``index``.

    ``skip_unreadable`` leaves out images that cannot be read.
    """
    from finetuner.data import load_dataset
    from finetuner.plugins.host import default_host
    from finetuner.runs.datasets import fetched
    from finetuner.runs.measure import measure_model

    host = default_host()
    embedder = _embedder(model)
    read = partial(
        load_dataset,
        host=host,
        options=dict(csv_options or {}),
        trainable=False,
        skip_unreadable=skip_unreadable,
    )
    queries = read(fetched(data, host, home_directory()))
    against = None if index is None else read(fetched(index, host, home_directory()))
    return measure_model(embedder, queries, against, metrics, distance, batch_size, host)


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
    from finetuner.plugins.host import default_host

    host = default_host()
    exporter: ExporterRecord | None = None if form == "bundle" else host.get("exporters", form)
    path = located(source, home, host)
    if exporter is not None:
        return exporter.export(path, Path(directory))
    target = Path(directory)
    if target.exists():
        raise UsageError(f"{target} exists: give a directory that does not")
    shutil.copytree(path, target)
    return target


def _embedder(model: OnnxEmbedder | str | os.PathLike[str]) -> OnnxEmbedder:
    from finetuner.inference import OnnxEmbedder

    if isinstance(model, (str, os.PathLike)):
        return get_model(model)
    if not isinstance(model, OnnxEmbedder):
        raise UsageError(
            f"model is a {type(model).__name__}: give what get_model returned, an artifact id, "
            "the name of a run, or a bundle's directory"
        )
    return model
