"""What a bundle says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from finetuner.contracts.plan import AdaptationPlan
from finetuner.contracts.preprocessing import Modality, Preprocessing
from finetuner.contracts.runs import RunSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle: relative POSIX path, size in bytes, hex sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``manifest.json``: everything needed to use the model and to know where it came from.

    ``metrics`` is ``{"before": {...}, "after": {...}}``; ``parity`` records the
    export check (largest difference, shapes tried).
    """

    name: str
    preprocessing: Preprocessing
    width: int
    files: tuple[FileEntry, ...]
    schema_version: int = SCHEMA_VERSION
    output: str = "embedding"
    normalized: bool = True
    plan: AdaptationPlan | None = None
    run: RunSpec | None = None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class DataManifest:
    """``manifest.json`` of a data set: how its rows are kept.

    ``files`` are Parquet shards in the order of their rows, with the columns
    ``content`` and, if ``labels`` is not ``None``, ``label`` of that kind. ``content``
    holds text, the bytes of an image file, or the bytes of one array of ``dtype``
    (little-endian) and ``shape``.
    """

    name: str
    modality: Modality
    rows: int
    files: tuple[FileEntry, ...]
    labels: Literal["text", "number", "truth value"] | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    kind: Literal["data"] = "data"
    schema_version: int = SCHEMA_VERSION
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
