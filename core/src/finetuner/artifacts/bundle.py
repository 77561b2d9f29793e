"""A bundle: the directory that holds a model and all that is needed to use it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from finetuner.artifacts.digests import digest_file, verify_file
from finetuner.artifacts.manifest import (
    DATA_SUFFIXES,
    MANIFEST,
    SUFFIXES,
    Limits,
    check_files,
    check_path,
    decode_data_manifest,
    decode_listing,
    decode_manifest,
    encode_manifest,
)
from finetuner.contracts import DataManifest, FileEntry, Manifest
from finetuner.errors import ArtifactError

Described = TypeVar("Described", Manifest, DataManifest)


def read_manifest_bytes(directory: Path, limits: Limits | None = None) -> bytes:
    """The bytes of a bundle's ``manifest.json``, which its digest is taken of."""
    limits = limits or Limits()
    path = directory / MANIFEST
    if not directory.is_dir():
        raise ArtifactError(f"{directory} is not a directory: a bundle was expected")
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise ArtifactError(f"{path} is no regular file: it is not a bundle")
        with path.open("rb") as file:
            return file.read(limits.manifest_bytes + 1)
    except FileNotFoundError:
        raise ArtifactError(f"{directory} has no {MANIFEST}: it is not a bundle") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error


def read_manifest(source: Path | str | bytes) -> Manifest:
    """The manifest of a bundle directory, or in the bytes of a ``manifest.json``.

    Raises ``ArtifactError`` if it is malformed, unsafe or of a newer schema. The
    files themselves are not looked at: see :func:`verify_bundle`.
    """
    if isinstance(source, bytes):
        return decode_manifest(source)
    directory = Path(source)
    return decode_manifest(read_manifest_bytes(directory), str(directory / MANIFEST))


def read_any_manifest(directory: Path) -> Manifest | DataManifest:
    """As :func:`read_manifest`, of a bundle or a data set."""
    return decode_listing(read_manifest_bytes(directory), str(directory / MANIFEST))


def read_data_manifest(directory: Path | str) -> DataManifest:
    """As :func:`read_manifest`, of a data set's directory."""
    directory = Path(directory)
    return decode_data_manifest(read_manifest_bytes(directory), str(directory / MANIFEST))


def verify_files(directory: Path | str) -> None:
    """Check every file of a bundle or data set against its manifest.

    Raises ``ArtifactError`` for a missing or unlisted file and for a symbolic
    link, ``IntegrityError`` for a file whose bytes are not the manifest's.
    """
    directory = Path(directory)
    manifest = read_any_manifest(directory)
    check_listing(directory, manifest)
    for entry in manifest.files:
        path = directory / entry.path
        verify_file(path, entry.size, entry.sha256, str(path))


def verify_bundle(directory: Path | str) -> Manifest:
    """As :func:`verify_files`, for a bundle, whose manifest it returns."""
    manifest = read_manifest(directory)
    verify_files(directory)
    return manifest


def check_listing(directory: Path, manifest: Manifest | DataManifest) -> None:
    """Raise ``ArtifactError`` unless the directory holds the listed files, and no others."""
    present = set(_walk(directory))
    listed = {entry.path for entry in manifest.files}
    if missing := sorted(listed - present):
        raise ArtifactError(f"{directory} lacks {missing[0]!r}, which its manifest lists")
    if extra := sorted(present - listed - {MANIFEST}):
        raise ArtifactError(
            f"{directory} holds {extra[0]!r}, which its manifest does not list: "
            "move it out, or write the bundle anew"
        )


def write_manifest(directory: Path | str, manifest: Described) -> Described:
    """List and digest the files in ``directory`` and write ``manifest.json`` last.

    Returns ``manifest`` with its ``files`` as found, sorted by path. Raises
    ``ArtifactError`` for files that a bundle (or a data set) may not hold.
    """
    directory = Path(directory)
    suffixes = DATA_SUFFIXES if isinstance(manifest, DataManifest) else SUFFIXES
    files = []
    for path in sorted(set(_walk(directory)) - {MANIFEST}):
        check_path(path, str(directory), suffixes)
        sha256, size = digest_file(directory / path)
        files.append(FileEntry(path, size, sha256))
    check_files(tuple(files), str(directory), Limits(), suffixes)
    manifest = dataclasses.replace(manifest, files=tuple(files))
    data = encode_manifest(manifest)
    decode_listing(data, str(directory / MANIFEST))  # what is written can be read
    partial = directory / f".{MANIFEST}.partial"
    partial.write_bytes(data)
    os.replace(partial, directory / MANIFEST)
    return manifest


def _walk(directory: Path, base: str = "") -> Iterator[str]:
    """Relative POSIX paths of the regular files below ``directory``; nothing else may be there."""
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{base}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield f"{base}{entry.name}"
        else:
            raise ArtifactError(
                f"{entry.path} is a link or no regular file: a bundle holds plain files only"
            )
