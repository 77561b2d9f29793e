"""A trained state becomes a bundle that production can use, or nothing at all."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.artifacts import MemoryStore, pull, push, read_manifest, verify_bundle
from finetuner.contracts import RunSpec
from finetuner.errors import ArtifactError, DataError, ExportError, UsageError
from finetuner.export import export_bundle
from finetuner.inference import OnnxEmbedder

METRICS = {"before": {"map@r": 0.25}, "after": {"map@r": 0.5}}


def test_the_bundle_gives_the_backends_vectors_after_a_push_and_a_pull(
    fake: Callable[..., Any],
    arguments: dict[str, Any],
    expected_text_vectors: Callable[..., np.ndarray],
    tmp_path: Path,
) -> None:
    export_bundle(fake(), **arguments)
    store = MemoryStore("memory://export")
    artifact = push(arguments["directory"], store, "words")
    pulled = pull(artifact, tmp_path / "pulled", lambda url: store)
    texts = ["blue shoe", "hat", "red green blue"]
    vectors = OnnxEmbedder.from_bundle(pulled).encode(texts)
    np.testing.assert_allclose(vectors, expected_text_vectors(texts), atol=1e-5)


def test_the_files_and_the_manifest(fake: Callable[..., Any], arguments: dict[str, Any]) -> None:
    run = RunSpec("words", "model", "data.csv")
    manifest = export_bundle(
        fake(), **arguments, run=run, metrics=METRICS, versions={"fake": "1.0"}
    )
    directory = arguments["directory"]
    assert [entry.path for entry in manifest.files] == [
        "README.md",
        "model.onnx",
        "tokenizer.json",
        "weights.safetensors",
    ]
    assert verify_bundle(directory) == manifest
    assert manifest.name == "words"
    assert manifest.width == 4
    assert manifest.normalized
    assert manifest.plan == arguments["plan"]
    assert manifest.run == run
    assert manifest.metrics == METRICS
    assert manifest.versions == {"fake": "1.0"}
    assert manifest.parity["largest_difference"] < 1e-5
    assert manifest.created.endswith("+00:00")
    assert "| map@r | 0.2500 | 0.5000 |" in (directory / "README.md").read_text()
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_the_exporter_sees_two_rows_and_the_canonical_inputs(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    backend = fake()
    export_bundle(backend, **arguments)
    # the longest of the first four texts has four words, [CLS] and [SEP]
    assert backend.exported == [(("input_ids", "attention_mask"), (2, 6))]


def test_weights_only(fake: Callable[..., Any], arguments: dict[str, Any]) -> None:
    backend = fake()
    manifest = export_bundle(backend, **arguments, onnx=False)
    assert backend.exported == []
    assert manifest.parity == {}
    assert "model.onnx" not in {entry.path for entry in manifest.files}
    verify_bundle(arguments["directory"])
    with pytest.raises(ArtifactError, match="weights only"):
        OnnxEmbedder.from_bundle(arguments["directory"])


FLAWS = ["batch seen", "length seen", "no mask", "wrong output name", "wrong width", "not finite"]


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_wrong_export_leaves_nothing(
    fake: Callable[..., Any], arguments: dict[str, Any], flaw: str
) -> None:
    with pytest.raises(ExportError):
        export_bundle(fake(flaw), **arguments)
    assert list(arguments["directory"].parent.iterdir()) == []


def test_an_exporter_that_raises_is_named(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    backend = fake()

    def fail(*arguments: Any) -> None:
        raise KeyError("no symbolic for aten::magic")

    backend.write = fail
    with pytest.raises(ExportError, match=r"fake could not export.*aten::magic.*to_onnx=False"):
        export_bundle(backend, **arguments)
    assert list(arguments["directory"].parent.iterdir()) == []


def test_an_interruption_leaves_nothing(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    backend = fake()

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    backend.write = interrupt
    with pytest.raises(KeyboardInterrupt):
        export_bundle(backend, **arguments)
    assert list(arguments["directory"].parent.iterdir()) == []


def test_a_full_disk_leaves_nothing(fake: Callable[..., Any], arguments: dict[str, Any]) -> None:
    backend = fake()

    def full(state: Any, directory: Path) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    backend.save_weights = full
    with pytest.raises(ExportError, match="No space left on device"):
        export_bundle(backend, **arguments)
    assert list(arguments["directory"].parent.iterdir()) == []


def test_weights_that_are_a_pickle_are_refused(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    backend = fake()
    backend.save_weights = lambda state, directory: (directory / "weights.pt").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"weights\.pt"):
        export_bundle(backend, **arguments)
    assert list(arguments["directory"].parent.iterdir()) == []


def test_a_directory_in_use_is_not_touched(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    directory = arguments["directory"]
    directory.mkdir(parents=True)
    (directory / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export_bundle(fake(), **arguments)
    assert [path.name for path in directory.iterdir()] == ["mine.txt"]
    (directory / "mine.txt").unlink()
    export_bundle(fake(), **arguments)
    assert read_manifest(directory).name == "words"


def test_too_few_samples_to_check_with(fake: Callable[..., Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="4 samples, got 3"):
        export_bundle(fake(), **arguments | {"samples": ["a", "b", "c"]})


def test_samples_of_another_kind(fake: Callable[..., Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="row 0"):
        export_bundle(fake(), **arguments | {"samples": [1, 2, 3, 4]})


def test_a_tokenizer_that_was_not_given_is_named(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ExportError, match=r"tokenizer\.json"):
        export_bundle(fake(), **arguments | {"files": {}})


@pytest.mark.parametrize("name", ["../escaped.json", "/tmp/escaped.json", "code.py"])
def test_files_cannot_leave_the_bundle(
    fake: Callable[..., Any], arguments: dict[str, Any], tokenizer_file: Path, name: str
) -> None:
    files = arguments["files"] | {name: tokenizer_file}
    with pytest.raises(ArtifactError):
        export_bundle(fake(), **arguments | {"files": files})
    assert list(arguments["directory"].parent.iterdir()) == []


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "README.md"])
def test_files_cannot_take_the_bundles_own_names(
    fake: Callable[..., Any], arguments: dict[str, Any], tokenizer_file: Path, name: str
) -> None:
    files = arguments["files"] | {name: tokenizer_file}
    with pytest.raises(ExportError, match=name.replace(".", r"\.")):
        export_bundle(fake(), **arguments | {"files": files})


def test_a_plan_of_another_width_is_refused(
    fake: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    plan = dataclasses.replace(arguments["plan"], output_dim=2)
    with pytest.raises(ExportError, match=r"the shape \(1, 4\), not \(1, 2\)"):
        export_bundle(fake(), **arguments | {"plan": plan})


def test_linked_files_are_copied(
    fake: Callable[..., Any], arguments: dict[str, Any], tmp_path: Path, tokenizer_file: Path
) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tokenizer_file)
    export_bundle(fake(), **arguments | {"files": {"tokenizer.json": link}})
    verify_bundle(arguments["directory"])
