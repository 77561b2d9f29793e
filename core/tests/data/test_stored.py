"""Rows become Parquet and come back the same."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from finetuner.contracts import DataManifest, FileEntry, Rows
from finetuner.data import StoredData, parquet, write_shards
from finetuner.data.lazy import LazySequence
from finetuner.data.stored import is_stored, read_stored
from finetuner.errors import DataError, MissingDependencyError

pytest.importorskip("pyarrow")


def kept(data: Rows, directory: Path, **changes: Any) -> DataManifest:
    """Write ``data`` as a pushed data set has it, the manifest changed as asked."""
    directory.mkdir(exist_ok=True)
    manifest = write_shards(data, "shop", directory)
    shards = sorted(path.name for path in directory.glob("*.parquet"))
    files = tuple(FileEntry(name, 0, "") for name in shards)
    manifest = replace(manifest, files=files, **changes)
    (directory / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return manifest


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "b"], [3, -1, 3], [True, False, True], None],
    ids=["text", "number", "truth value", "none"],
)
def test_texts_and_labels_keep_their_kind(tmp_path: Path, labels: list[Any] | None) -> None:
    texts = ["red shoe", "Grüße, 鞋", "x" * 10_000]
    manifest = kept(Rows(texts, labels, "text"), tmp_path / "data")
    assert (manifest.rows, manifest.modality, manifest.dtype) == (3, "text", None)
    rows = read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    assert list(rows.contents) == texts
    assert rows.labels == labels
    if labels is not None and rows.labels is not None:
        assert [type(label) for label in rows.labels] == [type(label) for label in labels]


def test_labels_of_numpy_become_plain(tmp_path: Path) -> None:
    kept(Rows(["a", "b"], np.array([1.0, 2.0]), "text"), tmp_path / "data")
    assert read_stored(StoredData(tmp_path / "data")).labels == [1, 2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">i4", "bool"])
def test_arrays_keep_dtype_and_shape(tmp_path: Path, dtype: str) -> None:
    arrays = (np.random.default_rng(0).random((7, 2, 3)) * 9).astype(dtype)
    kept(Rows(arrays, list("abcabca"), "array"), tmp_path / "data")
    rows = read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    assert isinstance(rows.contents, np.memmap)
    np.testing.assert_array_equal(rows.contents, arrays)


def test_image_files_travel_as_they_are_and_pictures_as_png(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (4, 3), (250, 10, 20))
    picture.save(tmp_path / "a.jpg")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    contents = [tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes(), picture, pixels]
    kept(Rows(contents, list("aabb"), "image"), tmp_path / "data")
    rows = read_stored(StoredData(tmp_path / "data"))
    assert rows.contents[0] == rows.contents[1] == (tmp_path / "a.jpg").read_bytes()
    for found, expected in ((rows.contents[2], picture), (rows.contents[3], pixels)):
        decoded = Image.open(io.BytesIO(found))
        assert decoded.format == "PNG"
        np.testing.assert_array_equal(np.asarray(decoded), np.asarray(expected))


def test_much_becomes_several_groups_and_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1000)
    monkeypatch.setattr(parquet, "SHARD_BYTES", 5000)
    texts = [f"text {number} " * 10 for number in range(200)]
    manifest = kept(Rows(texts, list(range(200)), "text"), tmp_path / "data")
    assert len(manifest.files) > 3
    rows = read_stored(StoredData(tmp_path / "data"))
    assert list(rows.contents) == texts
    assert rows.labels == list(range(200))


def test_nothing_is_read_before_it_is_looked_at(tmp_path: Path) -> None:
    kept(Rows(["a", "b"], ["x", "y"], "text"), tmp_path / "data")
    rows = read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    assert isinstance(rows.contents, LazySequence)
    (tmp_path / "rows" / "contents.bin").write_bytes(b"cd")
    assert rows.contents[1] == "d"


def test_the_layout_is_made_once(tmp_path: Path) -> None:
    kept(Rows(["a", "b"], ["x", "y"], "text"), tmp_path / "data")
    read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    (tmp_path / "data" / "rows-00000.parquet").unlink()
    again = read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    assert list(again.contents) == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (Rows([], [], "text"), "the data is empty"),
        (Rows(["a", " "], None, "text"), "row 1 holds an empty text"),
        (Rows(["a", "b"], ["x", None], "text"), "row 1 has no label"),
        (Rows(["a", "b"], ["x", 1], "text"), "use one kind throughout"),
        (Rows([np.zeros(2), np.zeros(3)], None, "array"), "row 1 is float64 of shape"),
        (Rows([np.array(["a"])], None, "array"), "not numbers"),
        (Rows(["missing.png"], None, "image"), "row 0 cannot be kept.*missing.png"),
    ],
)
def test_a_row_that_cannot_be_kept_is_named(tmp_path: Path, rows: Rows, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        write_shards(rows, "shop", tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": 5}, "2 rows, its manifest says 5"),
        ({"labels": "number"}, "no column 'label' of int64"),
        ({"modality": "image"}, "no column 'content' of binary"),
    ],
)
def test_shards_that_are_not_what_they_say(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    kept(Rows(["a", "b"], ["x", "y"], "text"), tmp_path / "data", **changes)
    with pytest.raises(DataError, match=problem):
        read_stored(StoredData(tmp_path / "data", tmp_path / "rows"))
    assert not (tmp_path / "rows").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("dtype", ["O", "<f8", "|S3", None])
def test_arrays_of_a_dtype_that_does_not_fit_are_refused(tmp_path: Path, dtype: str | None) -> None:
    kept(Rows(np.ones((2, 2), np.float32), None, "array"), tmp_path / "data", dtype=dtype)
    with pytest.raises(DataError, match="does not hold arrays"):
        read_stored(StoredData(tmp_path / "data"))


def test_a_directory_of_shards_is_known(tmp_path: Path) -> None:
    assert not is_stored(tmp_path)
    kept(Rows(["a"], None, "text"), tmp_path)
    assert is_stored(tmp_path)


def test_without_pyarrow_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"finetuner-core\[data\]"):
        write_shards(Rows(["a"], None, "text"), "shop", tmp_path)
