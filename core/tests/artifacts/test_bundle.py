"""A bundle is accepted whole and untouched, or not at all."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from finetuner.artifacts import read_manifest, verify_bundle, write_manifest
from finetuner.contracts import FileEntry, Manifest
from finetuner.errors import ArtifactError, IntegrityError


def test_write_lists_every_file_with_size_and_digest(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "model.onnx").write_bytes(b"abc")
    (tmp_path / "vocabulary").mkdir()
    (tmp_path / "vocabulary" / "words.txt").write_bytes(b"")
    written = write_manifest(tmp_path, manifest)
    assert written.files == (
        FileEntry("model.onnx", 3, sha256(b"abc").hexdigest()),
        FileEntry("vocabulary/words.txt", 0, sha256(b"").hexdigest()),
    )
    assert read_manifest(tmp_path) == written
    assert read_manifest((tmp_path / "manifest.json").read_bytes()) == written
    assert verify_bundle(tmp_path) == written


def test_writing_again_replaces_the_manifest(bundle: Path, manifest: Manifest) -> None:
    (bundle / "README.md").write_text("changed")
    with pytest.raises(IntegrityError):
        verify_bundle(bundle)
    write_manifest(bundle, manifest)
    verify_bundle(bundle)
    assert sorted(path.name for path in bundle.iterdir()) == [
        "README.md",
        "manifest.json",
        "model.onnx",
        "weights.safetensors",
    ]


def test_a_changed_byte_is_named_with_both_digests(bundle: Path) -> None:
    (bundle / "weights.safetensors").write_bytes(b"weightz")
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(bundle)
    message = str(caught.value)
    assert str(bundle / "weights.safetensors") in message
    assert sha256(b"weights").hexdigest() in message
    assert sha256(b"weightz").hexdigest() in message


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"lacks 'model\.onnx'"):
        verify_bundle(bundle)


def test_an_unlisted_file_is_named(bundle: Path) -> None:
    (bundle / "extra.data").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"holds 'extra\.data'"):
        verify_bundle(bundle)


@pytest.mark.parametrize("replaced", ["weights.safetensors", "more.txt"])
def test_a_symbolic_link_is_refused(bundle: Path, tmp_path: Path, replaced: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"weights")
    (bundle / replaced).unlink(missing_ok=True)
    (bundle / replaced).symlink_to(outside)
    with pytest.raises(ArtifactError, match="plain files only"):
        verify_bundle(bundle)


def test_a_linked_directory_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (bundle / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ArtifactError, match="plain files only"):
        verify_bundle(bundle)


def test_a_pipe_is_refused(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe.txt")
    with pytest.raises(ArtifactError, match="no regular file"):
        verify_bundle(bundle)


def test_a_manifest_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ArtifactError, match=r"manifest\.json is no regular file"):
        read_manifest(tmp_path)


def test_a_pickle_is_not_written(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactError, match=r"weights\.pkl"):
        write_manifest(tmp_path, manifest)
    assert not (tmp_path / "manifest.json").exists()


def test_a_directory_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="it is not a bundle"):
        read_manifest(tmp_path)
    with pytest.raises(ArtifactError, match="is not a directory"):
        read_manifest(tmp_path / "missing")
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(ArtifactError, match="is no regular file"):
        read_manifest(tmp_path)
