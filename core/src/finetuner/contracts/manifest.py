"""What a bundle says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from finetuner.contracts.plan import AdaptationPlan
from finetuner.contracts.preprocessing import Preprocessing
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
