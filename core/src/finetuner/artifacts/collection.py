"""Garbage collection: deleting what no tag needs, beside pushes that are under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from finetuner.artifacts.keys import (
    BLOBS,
    CHUNKS,
    LEASES,
    MANIFESTS,
    REFS,
    blob_key,
    chunks_key,
    manifest_key,
    parse_ref_key,
)
from finetuner.artifacts.layout import fetch_manifest, kept
from finetuner.artifacts.leases import SECONDS, Content, live_leases, locked, other_locks
from finetuner.artifacts.manifest import decode_listing
from finetuner.artifacts.refs import all_tags, list_refs
from finetuner.artifacts.retry import RetryingStore, reliable
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import ObjectInfo, Store, TidyStore
from finetuner.errors import ArtifactError, NotFoundError

_RENEW = SECONDS / 3


@dataclass(frozen=True)
class Collected:
    """What a collection did: objects and bytes deleted, artifacts and bytes that stay."""

    deleted: int
    freed_bytes: int
    artifacts: int
    kept_bytes: int


def collect_garbage(store: Store, *, now: bool = False, dry_run: bool = False) -> Collected:
    """Delete all that no tag needs. Pushes under way are safe: see :mod:`~.leases`.

    What a push that died had sent stays until its lease has run out. ``now`` says
    that no writer is alive, and leaves exactly what the tags need. ``dry_run``
    deletes nothing and counts what would be. Raises ``ArtifactError`` naming the
    tag if a manifest cannot be read, for nobody knows then what it needs; nothing
    is deleted then.
    """
    store = reliable(store)
    with locked(store) as renew:
        begun = renew()
        leases, spent = ([], _keys(store, LEASES)) if now else live_leases(store, begun)
        spent += other_locks(store, begun, 0.0 if now else SECONDS)
        needed, artifacts = _needed(store)  # after the leases: one given up has made its ref
        needed |= {key for lease in leases for digest in lease.digests for key in _any(digest)}
        followed, tombstones = _spent_refs(store, leases)
        garbage, kept_bytes = _garbage(store, needed, None if now else begun)
        deleted = len(garbage) + len(spent) + len(followed) + len(tombstones)
        freed = sum(info.size for info in garbage)
        if not dry_run:
            freed += _tidied(store, begun if now else begun - SECONDS)
            # A tombstone after the numbers below it, or one of those would count again.
            for keys in ([info.key for info in garbage], followed, tombstones, spent):
                _delete(store, keys, renew)
    return Collected(deleted, freed, artifacts, kept_bytes)


def _any(digest: str) -> tuple[str, str, str]:
    return blob_key(digest), chunks_key(digest), manifest_key(digest)


def _keys(store: Store, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def _needed(store: Store) -> tuple[set[str], int]:
    """Keys of everything that a tag needs, and the number of artifacts."""
    named = {ref.manifest: f"{ref.name}:{ref.tag}" for ref in list_refs(store)}
    keys: set[str] = set()
    for found in parallel(lambda pair: _artifact_keys(store, *pair), named.items(), LISTERS):
        keys |= found
    return keys, len(named)


def _artifact_keys(store: Store, digest: str | None, named: str) -> set[str]:
    assert digest is not None
    try:
        data = fetch_manifest(store, named.partition(":")[0], digest)
        manifest = decode_listing(data, f"{store.url}/{manifest_key(digest)}")
        keys = {manifest_key(digest)}
        for entry in manifest.files:
            keys |= kept(store, entry).keys()
    except (ArtifactError, NotFoundError) as error:
        raise ArtifactError(
            f"{store.url}/{named} cannot be read, so that nobody knows what it needs; nothing was "
            f"deleted. Mend it, or remove that tag (finetuner rm), and collect again: {error}"
        ) from error
    return keys


def _spent_refs(store: Store, leases: Iterable[Content]) -> tuple[list[str], list[str]]:
    """Keys of numbers that were followed by others, and of tombstones.

    The tag of a push under way is left alone, for the push counts on its number.
    """
    busy = {(lease.name, lease.tag) for lease in leases}
    last = {(tag.name, tag.tag): tag for tag in all_tags(store)}
    followed, tombstones = [], []
    for key in _keys(store, REFS):
        parsed = parse_ref_key(key)
        if parsed is None or parsed[:2] in busy or parsed[:2] not in last:
            continue
        tag = last[parsed[:2]]
        if parsed[2] < tag.number:
            followed.append(key)
        elif parsed[2] == tag.number and tag.deleted:
            tombstones.append(key)
    return followed, tombstones


def _garbage(store: Store, needed: set[str], begun: float | None) -> tuple[list[ObjectInfo], int]:
    """Objects that nobody needs, and the bytes of the others.

    What is newer than ``begun`` is nobody's but a push's that does not know of leases.
    """
    garbage, kept_bytes = [], 0
    for prefix in (BLOBS, CHUNKS, MANIFESTS):
        for info in store.list(prefix):
            if info.key in needed or (begun is not None and info.modified >= begun):
                kept_bytes += info.size
            else:
                garbage.append(info)
    return garbage, kept_bytes


def _delete(store: Store, keys: list[str], renew: Callable[[], float]) -> None:
    """Delete the keys, many at a time, and only while the lock holds."""

    def delete(key: str) -> None:
        with suppress(NotFoundError):
            store.delete(key)

    batch, renewed = 100, time.monotonic()
    for start in range(0, len(keys), batch):
        if time.monotonic() - renewed > _RENEW:
            renew()
            renewed = time.monotonic()
        for _ in parallel(delete, keys[start : start + batch], LISTERS):
            pass


def _tidied(store: Store, before: float) -> int:
    inner = store.inner if isinstance(store, RetryingStore) else store
    return inner.tidy(before) if isinstance(inner, TidyStore) else 0
