"""``manifest.json``: read strictly, because it may come from anybody."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import msgspec

from finetuner.contracts import SCHEMA_VERSION, DataManifest, FileEntry, Manifest
from finetuner.errors import ArtifactError

MANIFEST = "manifest.json"
MODEL = "model.onnx"
CARD = "README.md"

SUFFIXES = frozenset({".data", ".json", ".keras", ".md", ".model", ".onnx", ".safetensors", ".txt"})
"""What a bundle may hold. Formats that can run code when loaded (pickles) are not among them."""

DATA_SUFFIXES = frozenset({".parquet"})
"""What a data set may hold."""

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_PROVENANCE = ("plan", "run")
"""Fields that tell where a model came from and do not change what it computes."""


@dataclass(frozen=True)
class Limits:
    """The most that a bundle may hold: files, bytes in all, bytes of the manifest."""

    files: int = 1000
    total_bytes: int = 64 << 30
    manifest_bytes: int = 16 << 20


def encode_manifest(manifest: Manifest | DataManifest) -> bytes:
    """The bytes of ``manifest.json``: indented UTF-8 JSON.

    Raises ``ArtifactError`` for a metric that is not finite, since JSON has no word for it.
    """
    for moment, values in getattr(manifest, "metrics", {}).items():
        for name, value in values.items():
            if not math.isfinite(value):
                raise ArtifactError(
                    f"metric {name!r} ({moment}) is {value}: a manifest holds finite numbers only"
                )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(data: bytes, where: str = MANIFEST, limits: Limits | None = None) -> Manifest:
    """The manifest of a model in ``data``; ``where`` names its origin in errors.

    Raises ``ArtifactError`` for a schema that this version does not know, for
    unknown fields where they could change what the model computes, for paths that
    leave the bundle, for file types that a bundle may not hold, and beyond ``limits``.
    """
    found = decode_listing(data, where, limits)
    if isinstance(found, DataManifest):
        raise ArtifactError(
            f"{where} is of a data set, not of a model: train on it with "
            "fit(…, train_data=ADDRESS), or read it with finetuner.pull_data"
        )
    return found


def decode_data_manifest(
    data: bytes, where: str = MANIFEST, limits: Limits | None = None
) -> DataManifest:
    """The manifest of a data set, as strictly; ``ArtifactError`` for one of a model."""
    found = decode_listing(data, where, limits)
    if isinstance(found, Manifest):
        raise ArtifactError(
            f"{where} is of a model, not of a data set: load it with finetuner.get_model"
        )
    return found


def decode_listing(
    data: bytes, where: str = MANIFEST, limits: Limits | None = None
) -> Manifest | DataManifest:
    """The manifest of whatever it is of: what moves an artifact needs its files alone."""
    limits = limits or Limits()
    if len(data) > limits.manifest_bytes:
        raise ArtifactError(
            f"{where} has more than {limits.manifest_bytes} bytes: not a manifest to trust"
        )
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{where} is not JSON: {error}") from error
    _check_schema(raw, where)
    manifest: Manifest | DataManifest
    try:
        if "kind" in raw:
            manifest = msgspec.convert(raw, DataManifest)
        else:
            manifest = msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{where} is malformed: {error}") from error
    _check_fields(raw, manifest, where)
    suffixes = DATA_SUFFIXES if isinstance(manifest, DataManifest) else SUFFIXES
    check_files(manifest.files, where, limits, suffixes)
    return manifest


def check_path(path: str, where: str, suffixes: frozenset[str] = SUFFIXES) -> None:
    """Raise ``ArtifactError`` unless ``path`` is one that a bundle may hold."""
    if not _PATH.fullmatch(path) or len(path) > 255:
        raise ArtifactError(
            f"{where}: {path!r} is not a plain relative path inside the bundle; "
            "do not use this bundle unless you know where it comes from"
        )
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in suffixes:
        raise ArtifactError(
            f"{where}: {path!r} is not of a kind that a bundle may hold "
            f"({', '.join(sorted(suffixes))}); pickles and code are never loaded"
        )


def check_files(
    files: tuple[FileEntry, ...],
    where: str,
    limits: Limits,
    suffixes: frozenset[str] = SUFFIXES,
) -> None:
    """Raise ``ArtifactError`` for unsafe, repeated or malformed entries and beyond ``limits``."""
    if len(files) > limits.files:
        raise ArtifactError(f"{where} lists {len(files)} files, the limit is {limits.files}")
    total = sum(entry.size for entry in files)
    if total > limits.total_bytes:
        raise ArtifactError(f"{where} lists {total} bytes, the limit is {limits.total_bytes}")
    seen = {MANIFEST}
    for entry in files:
        check_path(entry.path, where, suffixes)
        folded = entry.path.lower()  # one file on a file system that ignores case
        if folded in seen:
            raise ArtifactError(f"{where} lists {entry.path!r} twice, or itself")
        seen.add(folded)
        if entry.size < 0 or not _SHA256.fullmatch(entry.sha256):
            raise ArtifactError(f"{where}: size or sha256 of {entry.path!r} is malformed")


def _check_schema(raw: Any, where: str) -> None:
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{where} is not a finetuner manifest: it has no schema version")
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{where} has schema version {version}, this finetuner-core reads up to "
            f"{SCHEMA_VERSION}: upgrade it (pip install --upgrade finetuner-core)"
        )


def _check_fields(raw: dict[str, Any], manifest: Manifest | DataManifest, where: str) -> None:
    if isinstance(manifest, Manifest):
        manifest = dataclasses.replace(manifest, plan=None, run=None)
    known = msgspec.to_builtins(manifest)
    given = {key: value for key, value in raw.items() if key not in _PROVENANCE}
    unknown = _unknown(given, known)
    if unknown:
        raise ArtifactError(
            f"{where} has a field that this finetuner-core does not know, {unknown!r}: "
            "upgrade it (pip install --upgrade finetuner-core)"
        )


def _unknown(given: Any, known: Any, at: str = "") -> str:
    """Dotted path of the first key of ``given`` that decoding dropped, or nothing."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in known:
                return f"{at}{key}"
            if found := _unknown(value, known[key], f"{at}{key}."):
                return found
    elif isinstance(given, list):
        for value, other in zip(given, known, strict=True):
            if found := _unknown(value, other, at):
                return found
    return ""
