"""A data set that was pulled: its rows laid out so that each can be read by itself."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from finetuner.contracts import DataManifest, Rows
from finetuner.data.lazy import LazySequence, RowFile
from finetuner.data.parquet import read_shards
from finetuner.errors import DataError

_CONTENTS, _OFFSETS, _LABELS, _NAMES = "contents.bin", "offsets.npy", "labels.npy", "names.json"

MOST_BYTES = 64 << 30
"""The most that the rows of one data set may hold, whatever their compressed size."""


@dataclass(frozen=True)
class StoredData:
    """A data set's directory of verified shards, and where its rows are laid out.

    ``layout`` is made where it is not there; ``None`` means for as long as the rows
    are used.
    """

    directory: Path
    layout: Path | None = None


def is_stored(directory: str | os.PathLike[str]) -> bool:
    """Whether a directory looks like a data set's: a manifest beside Parquet shards."""
    path = Path(directory)
    return (path / "manifest.json").is_file() and any(path.glob("rows-*.parquet"))


def read_stored(data: StoredData) -> Rows:
    """The rows of a data set, none of them in memory."""
    manifest = _manifest(data.directory)
    layout = data.layout or Path(tempfile.mkdtemp(prefix="finetuner-rows-")) / "rows"
    if not layout.is_dir():
        _lay_out(data.directory, manifest, layout)
    contents = _contents(layout, manifest)
    if data.layout is None:
        weakref.finalize(contents, shutil.rmtree, layout.parent, ignore_errors=True)
    return Rows(contents, _labels(layout, manifest), manifest.modality)


def _manifest(directory: Path) -> DataManifest:
    path = directory / "manifest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=DataManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} does not describe a data set: {error}") from error


def _lay_out(directory: Path, manifest: DataManifest, layout: Path) -> None:
    """Write the rows one after another into ``layout``, which appears when it is whole."""
    partial = layout.with_name(f".{layout.name}.{secrets.token_hex(8)}.partial")
    partial.mkdir(parents=True)
    try:
        offsets, numbers, names = [0], [], dict[str | int | bool, int]()
        with (partial / _CONTENTS).open("wb") as file:
            for contents, labels in read_shards(directory, manifest):
                for content in contents:
                    data = content.encode() if isinstance(content, str) else content
                    offsets.append(offsets[-1] + file.write(data))
                numbers += [names.setdefault(label, len(names)) for label in labels or ()]
                if offsets[-1] > MOST_BYTES:
                    raise DataError(f"{directory} holds more than {MOST_BYTES} bytes of contents")
        np.save(partial / _OFFSETS, np.asarray(offsets, np.int64))
        np.save(partial / _LABELS, np.asarray(numbers, np.int64))
        (partial / _NAMES).write_bytes(msgspec.json.encode(list(names)))
        try:
            os.rename(partial, layout)
        except OSError:
            if not layout.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _contents(layout: Path, manifest: DataManifest) -> Sequence[Any] | np.ndarray:
    path, offsets = layout / _CONTENTS, np.load(layout / _OFFSETS)
    if manifest.modality == "array":
        return _mapped(path, manifest)
    rows = RowFile(path, offsets)
    if manifest.modality == "text":
        return LazySequence(len(rows), lambda row: rows.read(row).decode())
    return LazySequence(len(rows), rows.read)


def _mapped(path: Path, manifest: DataManifest) -> np.ndarray:
    shape = (manifest.rows, *(manifest.shape or ()))
    dtype = np.dtype(manifest.dtype or "V")
    size = int(np.prod([float(extent) for extent in shape])) * dtype.itemsize
    if dtype.kind not in "biuf" or path.stat().st_size != size or min(shape) < 1:
        raise DataError(f"{path.parent} does not hold arrays of {manifest.dtype} of shape {shape}")
    return np.memmap(path, dtype, "r", shape=shape)


def _labels(layout: Path, manifest: DataManifest) -> list[Any] | None:
    if manifest.labels is None:
        return None
    names = msgspec.json.decode((layout / _NAMES).read_bytes())
    return [names[number] for number in np.load(layout / _LABELS).tolist()]
