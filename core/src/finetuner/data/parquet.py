"""Rows as Parquet shards, and back: the form in which training data travels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contracts import DataManifest, Rows
from finetuner.contracts.preprocessing import Modality
from finetuner.data.checks import check_texts
from finetuner.data.contents import local_path
from finetuner.data.images import open_image
from finetuner.data.labels import label_kind, normal_labels
from finetuner.errors import DataError, MissingDependencyError

GROUP_BYTES = 8 << 20
GROUP_ROWS = 4096
"""A row group ends at either: it is what is held in memory."""

MOST_GROUP_BYTES = 1 << 30
"""A group of one row may be larger than others, but not beyond reason."""

SHARD_BYTES = 256 << 20

_COMPRESSION: Mapping[Modality, str] = {"text": "zstd", "array": "zstd", "image": "none"}
"""Image files are compressed as they are."""


def write_shards(rows: Rows, name: str, directory: Path) -> DataManifest:
    """Write ``rows`` to ``directory`` and describe them; the files are not listed yet.

    Reads one row at a time. Images become the bytes of an image file: files as they
    are, pictures and pixels as PNG. Raises ``DataError`` naming the row that cannot
    be kept, ``MissingDependencyError`` without pyarrow.
    """
    if len(rows.contents) == 0:
        raise DataError("the data is empty: there is no row in it")
    namer = rows.origins.__getitem__ if rows.origins else "row {}".format
    labels = None if rows.labels is None else normal_labels(rows.labels, namer)
    encode, dtype, shape = _encoder(rows, namer)
    schema = _schema(rows.modality, None if labels is None else labels[0])
    with closing(_Shards(directory, schema, _COMPRESSION[rows.modality])) as shards:
        for row, content in enumerate(rows.contents):
            shards.add(encode(row, content), None if labels is None else labels[row])
    kind = None if labels is None else label_kind(labels[0])
    return DataManifest(name, rows.modality, len(rows.contents), (), kind, dtype, shape)


def read_shards(
    directory: Path, manifest: DataManifest
) -> Iterator[tuple[list[Any], list[str | int | bool] | None]]:
    """Contents (text, or bytes) and labels, one row group at a time.

    ``DataError`` for shards that are not what the manifest says.
    """
    _, parquet = _pyarrow()
    wanted = ["content"] if manifest.labels is None else ["content", "label"]
    rows = 0
    for entry in manifest.files:
        try:
            with parquet.ParquetFile(directory / entry.path, pre_buffer=False) as file:
                _check_schema(file.schema_arrow, manifest, entry.path)
                for group in range(file.num_row_groups):
                    _check_group(file.metadata.row_group(group).total_byte_size, entry.path)
                    table = file.read_row_group(group, wanted, use_threads=False)
                    columns = [column.to_pylist() for column in table.columns]
                    _check_full(columns, rows, entry.path)
                    rows += len(columns[0])
                    yield columns[0], columns[1] if len(columns) > 1 else None
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{directory / entry.path} cannot be read: {error}") from error
    if rows != manifest.rows:
        raise DataError(f"{directory} holds {rows} rows, its manifest says {manifest.rows}")


class _Shards:
    """Row groups of bounded size in files of bounded size."""

    def __init__(self, directory: Path, schema: Any, compression: str) -> None:
        self._directory, self._schema, self._compression = directory, schema, compression
        self._contents: list[Any] = []
        self._labels: list[Any] = []
        self._group = self._shard = self._number = 0
        self._writer: Any = None

    def add(self, content: str | bytes, label: str | int | bool | None) -> None:
        self._contents.append(content)
        self._labels.append(label)
        self._group += len(content)
        if self._group >= GROUP_BYTES or len(self._contents) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self._contents:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        arrow, parquet = _pyarrow()
        if self._writer is None:
            path = self._directory / f"rows-{self._number:05d}.parquet"
            self._writer = parquet.ParquetWriter(path, self._schema, compression=self._compression)
        columns = [self._contents, self._labels][: len(self._schema)]
        arrays = [
            arrow.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(arrow.Table.from_arrays(arrays, schema=self._schema))
        self._shard += self._group
        self._contents, self._labels, self._group = [], [], 0
        if self._shard >= SHARD_BYTES:
            self._writer.close()
            self._writer, self._shard, self._number = None, 0, self._number + 1


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "training data in a store needs pyarrow: pip install 'finetuner-core[data]'"
        ) from error
    return pyarrow, pyarrow.parquet


def _schema(modality: Modality, label: str | int | bool | None) -> Any:
    arrow, _ = _pyarrow()
    fields = [("content", arrow.string() if modality == "text" else arrow.binary())]
    if label is not None:
        kind = label_kind(label)
        types = {"text": arrow.string(), "number": arrow.int64(), "truth value": arrow.bool_()}
        fields.append(("label", types[kind]))
    return arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in fields])


def _check_schema(found: Any, manifest: DataManifest, path: str) -> None:
    samples: dict[str, str | int | bool] = {"text": "", "number": 0, "truth value": False}
    sample = None if manifest.labels is None else samples[manifest.labels]
    for field in _schema(manifest.modality, sample):
        index = found.get_field_index(field.name)
        if index < 0 or found.field(index).type != field.type:
            raise DataError(f"{path} has no column {field.name!r} of {field.type}: do not use it")


def _check_group(size: int, path: str) -> None:
    if size > MOST_GROUP_BYTES:
        raise DataError(f"{path} has {size} bytes in one row group: too many to read safely")


def _check_full(columns: list[list[Any]], rows: int, path: str) -> None:
    for column in columns:
        if None in column:
            raise DataError(f"{path} holds nothing in row {rows + column.index(None)}")


def _encoder(rows: Rows, namer: Any) -> tuple[Any, str | None, tuple[int, ...] | None]:
    """A function of (row, content) to what is kept, and for arrays their dtype and shape."""
    if rows.modality == "text":
        check_texts(rows.contents, namer)
        return (lambda row, content: content), None, None
    if rows.modality == "image":
        return _Blamed(_image_bytes, namer), None, None
    first = np.asarray(rows.contents[0])
    if first.dtype.kind not in "biuf":
        raise DataError(f"{namer(0)} holds {first.dtype}, not numbers")
    dtype = first.dtype.newbyteorder("<")

    def encode(row: int, content: Any) -> bytes:
        array = np.asarray(content)
        if array.shape != first.shape or array.dtype != first.dtype:
            raise DataError(
                f"{namer(row)} is {array.dtype} of shape {array.shape}, but {namer(0)} is "
                f"{first.dtype} of shape {first.shape}: all rows must be alike"
            )
        return array.astype(dtype, copy=False).tobytes()

    return encode, dtype.str, first.shape


class _Blamed:
    """A function of a content, its error naming the row."""

    def __init__(self, function: Any, namer: Any) -> None:
        self._function, self._namer = function, namer

    def __call__(self, row: int, content: Any) -> bytes:
        try:
            data: bytes = self._function(content)
        except (DataError, OSError) as error:
            raise DataError(f"{self._namer(row)} cannot be kept: {error}") from error
        return data


def _image_bytes(content: Any) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if isinstance(content, str | os.PathLike):
        path = local_path(content)
        if not path.is_file():  # reading a pipe would never end
            raise DataError(f"there is no image at {path}")
        return path.read_bytes()
    buffer = io.BytesIO()
    open_image(content).save(buffer, format="PNG")
    return buffer.getvalue()
