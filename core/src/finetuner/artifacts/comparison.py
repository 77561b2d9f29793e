"""What two artifacts do not share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetuner.artifacts.chunking import Piece, cut_file, is_cut
from finetuner.artifacts.layout import Kept
from finetuner.contracts import DataManifest, FileEntry, Manifest


@dataclass(frozen=True)
class Side:
    """One of two artifacts: its manifest, and what its files are made of."""

    manifest: Manifest | DataManifest
    files: tuple[Kept, ...]


@dataclass(frozen=True)
class Change:
    """A value that differs; ``None`` where one side has none."""

    what: str
    before: Any
    after: Any


@dataclass(frozen=True)
class FileChange:
    """A file that differs: its bytes on either side, and how many of them are shared."""

    path: str
    before: int
    after: int
    shared: int


@dataclass(frozen=True)
class Difference:
    """What two artifacts do not share; bytes are counted once, wherever they lie."""

    plan: tuple[Change, ...]
    metrics: tuple[Change, ...]
    other: tuple[Change, ...]
    files: tuple[FileChange, ...]
    shared_bytes: int
    only_before: int
    only_after: int


def compare(before: Side, after: Side) -> Difference:
    """The difference between two artifacts of any kind."""
    old, new = (_described(side.manifest) for side in (before, after))
    changes = _changes(old, new)
    pieces = [_pieces(side.files) for side in (before, after)]
    shared = pieces[0].keys() & pieces[1].keys()
    return Difference(
        tuple(change for change in changes if change.what.startswith("plan.")),
        tuple(change for change in changes if change.what.startswith("metrics.")),
        tuple(c for c in changes if not c.what.startswith(("plan.", "metrics."))),
        tuple(_file_changes(before, after)),
        sum(pieces[0][sha256] for sha256 in shared),
        sum(size for sha256, size in pieces[0].items() if sha256 not in shared),
        sum(size for sha256, size in pieces[1].items() if sha256 not in shared),
    )


def cut_bundle(directory: Path, entries: tuple[FileEntry, ...]) -> tuple[Kept, ...]:
    """What a store would keep of the files in a directory."""
    return tuple(
        Kept(entry, tuple(piece for piece, _ in cut_file(directory / entry.path, entry)), cut=True)
        if is_cut(entry.size)
        else Kept(entry, (Piece(0, entry.size, entry.sha256),), cut=False)
        for entry in entries
    )


def _described(manifest: Manifest | DataManifest) -> dict[str, Any]:
    """Everything that a manifest says, but for the files, by dotted path."""
    found = msgspec.to_builtins(manifest)
    found.pop("files")
    return dict(_flat(found))


def _flat(value: Any, at: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [
            pair
            for key, inner in value.items()
            for pair in _flat(inner, f"{at}.{key}" if at else str(key))
        ]
    return [(at, value)]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    names = dict.fromkeys([*before, *after])
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return [Change(name, old, new) for name, old, new in pairs if old != new]


def _pieces(files: tuple[Kept, ...]) -> dict[str, int]:
    return {piece.sha256: piece.size for file in files for piece in file.pieces}


def _file_changes(before: Side, after: Side) -> list[FileChange]:
    old = {file.entry.path: file for file in before.files}
    new = {file.entry.path: file for file in after.files}
    changed = []
    for path in sorted(old.keys() | new.keys()):
        pair = old.get(path), new.get(path)
        if pair[0] and pair[1] and pair[0].entry.sha256 == pair[1].entry.sha256:
            continue
        sizes = [file.entry.size if file else 0 for file in pair]
        known = _pieces((pair[0],) if pair[0] else ())
        shared = sum(p.size for p in (pair[1].pieces if pair[1] else ()) if p.sha256 in known)
        changed.append(FileChange(path, sizes[0], sizes[1], shared))
    return changed
