"""What is in a store, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from finetuner.artifacts.address import Address
from finetuner.artifacts.digests import BLOCK, VerifyingReader
from finetuner.artifacts.keys import blob_key, manifest_key
from finetuner.artifacts.layout import Kept, fetch_manifest, kept
from finetuner.artifacts.manifest import decode_listing
from finetuner.artifacts.progress import Count, Watcher
from finetuner.artifacts.refs import Ref, find_ref, list_refs, list_tags
from finetuner.artifacts.retry import reliable
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import DataManifest, Manifest, Store
from finetuner.errors import ArtifactError, NotFoundError


@dataclass(frozen=True)
class Artifact:
    """A tag, what it points to, and what that says of itself (``None``: not asked)."""

    name: str
    tag: str
    number: int
    modified: str
    artifact_id: str | None = None
    kind: str | None = None
    bytes: int | None = None
    metrics: dict[str, dict[str, float]] | None = None


def list_artifacts(
    store: Store, name: str | None = None, *, details: bool = False
) -> list[Artifact]:
    """The tags in a store, by name and tag.

    One listing tells names, tags, numbers and times; ``details`` also reads what each
    points to, two small requests a tag.
    """
    store = reliable(store)
    if not details:
        return [
            Artifact(tag.name, tag.tag, tag.number, _iso(tag.modified))
            for tag in list_tags(store, name)
        ]
    return list(parallel(lambda ref: _detailed(store, ref), list_refs(store, name), LISTERS))


def verify_artifacts(
    store: Store, address: Address | None = None, watcher: Watcher | None = None
) -> int:
    """Read all that an artifact (``None``: that every tag) needs, and check every digest.

    Returns how many bytes were read; what artifacts share is read once. Raises
    ``IntegrityError`` or ``ArtifactError`` naming the file and the tag.
    """
    store, watcher = reliable(store), watcher or Count()
    digests = [address] if address else [_address(store, ref) for ref in list_refs(store)]
    manifests = list(parallel(lambda found: read_listing(store, found), digests, LISTERS))
    entries = {entry.sha256: entry for manifest in manifests for entry in manifest.files}
    files = list(parallel(lambda entry: kept(store, entry), entries.values(), LISTERS))
    pieces = {piece.sha256: (piece, file) for file in files for piece in file.pieces}
    watcher.total(sum(piece.size for piece, _ in pieces.values()))

    def check(sha256: str) -> int:
        piece, file = pieces[sha256]
        what = f"{file.entry.path} ({store.url}/{blob_key(sha256)})"
        try:
            source = store.get(blob_key(sha256))
        except NotFoundError as error:
            raise ArtifactError(f"{what} is missing: push the bundle again") from error
        advice = "delete it from the store and push the bundle again"
        with VerifyingReader(source, piece.size, sha256, what, advice) as stream:
            while stream.read(BLOCK):
                pass
        watcher.done(piece.size, moved=True)
        return piece.size

    return sum(parallel(check, pieces))


def read_listing(store: Store, address: Address) -> Manifest | DataManifest:
    """The manifest of an artifact."""
    digest = address.digest
    if digest is None:
        digest = find_ref(store, address.name, address.tag).manifest
        assert digest is not None
    data = fetch_manifest(store, address.name, digest)
    return decode_listing(data, f"{store.url}/{manifest_key(digest)}")


def read_layout(store: Store, manifest: Manifest | DataManifest) -> Iterator[Kept]:
    """How the store keeps each file of an artifact."""
    return parallel(lambda entry: kept(store, entry), manifest.files, LISTERS)


def _detailed(store: Store, ref: Ref) -> Artifact:
    address = _address(store, ref)
    manifest = read_listing(store, address)
    return Artifact(
        ref.name,
        ref.tag,
        ref.number,
        ref.created,
        str(address),
        manifest.kind if isinstance(manifest, DataManifest) else "model",
        sum(entry.size for entry in manifest.files),
        {} if isinstance(manifest, DataManifest) else manifest.metrics,
    )


def _address(store: Store, ref: Ref) -> Address:
    return Address(store.url, ref.name, ref.tag, ref.manifest)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
