"""Training data in stores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.data import LabeledDataset


def push_data(
    name: str,
    docs: Any,
    *,
    store: str | None = None,
    tag: str = "latest",
    csv_options: Mapping[str, Any] | None = None,
    force: bool = False,
    single_writer: bool = False,
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> str:
    """Push training data in any form that ``fit`` reads; returns its artifact id.

    It becomes Parquet shards with the contents themselves (an image's file, not its
    path) and the labels, written row by row, so that ``fit(train_data=…)`` with that id,
    or with ``STORE/NAME[:TAG]``, reads the same rows anywhere. Without ``store`` it goes
    to the one under ``home``. ``force`` and ``single_writer`` are as in :func:`push`.
    """
    from dataclasses import replace
    from importlib import metadata

    from finetuner.artifacts import open_store, watching, write_manifest
    from finetuner.artifacts import push as push_directory
    from finetuner.artifacts.keys import check_name
    from finetuner.data import read_rows, write_shards
    from finetuner.plugins.host import default_host
    from finetuner.runs.directory import home_directory

    check_name("name", name), check_name("tag", tag)
    host, root = default_host(), home_directory(home)
    target = open_store(store or (root / "store").as_uri(), host)
    rows = read_rows(docs, host, csv_options or {})
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="data-", dir=root) as staging:
        manifest = replace(
            write_shards(rows, name, Path(staging)),
            versions={p: metadata.version(p) for p in ("finetuner-core", "pyarrow")},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_manifest(staging, manifest)
        with watching(f"push {name}", progress) as watcher:
            return push_directory(
                staging,
                target,
                name,
                tag,
                force=force,
                single_writer=single_writer,
                watcher=watcher,
            )


def pull_data(
    address: str,
    *,
    home: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> LabeledDataset:
    """The data set at ``STORE/NAME[:TAG]``, or with that artifact id, ready for ``fit``.

    Every byte is verified, and kept under ``home``; the contents are read when they are
    looked at, so that it may be larger than memory.
    """
    from finetuner.data import load_dataset, read_rows
    from finetuner.plugins.host import default_host
    from finetuner.runs.datasets import fetch
    from finetuner.runs.directory import home_directory

    host = default_host()
    stored = fetch(address, host, home_directory(home), progress)
    labelled = read_rows(stored, host, {}).labels is not None
    return load_dataset(stored, host, require_labels=labelled, trainable=False)
