"""How a store keeps a file: whole, or as chunks that a list names."""

from __future__ import annotations

from dataclasses import dataclass

from finetuner.artifacts.chunking import (
    MAX_LIST_BYTES,
    Piece,
    decode_chunks,
    is_cut,
)
from finetuner.artifacts.digests import digest_bytes
from finetuner.artifacts.keys import blob_key, chunks_key, manifest_key
from finetuner.artifacts.manifest import Limits
from finetuner.artifacts.streams import read_at_most
from finetuner.contracts import FileEntry, Store
from finetuner.errors import ArtifactError, IntegrityError, NotFoundError


@dataclass(frozen=True)
class Kept:
    """What a file is made of in a store. A whole file is its one piece."""

    entry: FileEntry
    pieces: tuple[Piece, ...]
    cut: bool

    def keys(self) -> set[str]:
        """Every key that the file needs."""
        keys = {blob_key(piece.sha256) for piece in self.pieces}
        return keys | {chunks_key(self.entry.sha256)} if self.cut else keys


def kept(store: Store, entry: FileEntry) -> Kept:
    """How ``store`` keeps the file. A small one, and a large one without a list, is whole."""
    if is_cut(entry.size):
        pieces = read_chunks(store, entry)
        if pieces is not None:
            return Kept(entry, pieces, cut=True)
    return Kept(entry, (Piece(0, entry.size, entry.sha256),), cut=False)


def read_chunks(store: Store, entry: FileEntry) -> tuple[Piece, ...] | None:
    """The chunks of a file, ``None`` where the store has no list of them.

    Raises ``ArtifactError`` for a list that cannot be used.
    """
    key = chunks_key(entry.sha256)
    where = f"{store.url}/{key}"
    try:
        with store.get(key) as stream:
            data = read_at_most(stream, MAX_LIST_BYTES)
    except NotFoundError:
        return None
    if len(data) > MAX_LIST_BYTES:
        raise ArtifactError(f"{where} has more than {MAX_LIST_BYTES} bytes: not a list to trust")
    return decode_chunks(data, entry, where)


def fetch_manifest(store: Store, name: str, digest: str, limits: Limits | None = None) -> bytes:
    """The bytes of the manifest with that digest, verified.

    Raises ``NotFoundError`` naming the artifact, ``IntegrityError`` for other bytes.
    """
    key, most = manifest_key(digest), (limits or Limits()).manifest_bytes
    try:
        with store.get(key) as stream:
            data = read_at_most(stream, most)
    except NotFoundError:
        raise NotFoundError(
            f"{store.url} has no artifact {name}@sha256:{digest}: it was never there or is deleted"
        ) from None
    if len(data) <= most and digest_bytes(data) != digest:
        raise IntegrityError(
            f"{store.url}/{key} has the sha256 {digest_bytes(data)}: it was changed, do not use it"
        )
    return data
