"""Sending a bundle: what the store lacks, many pieces at a time, under a lease."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from finetuner.artifacts.address import Address
from finetuner.artifacts.bundle import check_listing, read_manifest_bytes
from finetuner.artifacts.chunking import MAX_CHUNK, Piece, cut_file, encode_chunks, is_cut
from finetuner.artifacts.digests import VerifyingReader, digest_bytes
from finetuner.artifacts.keys import BLOBS, blob_key, check_name, chunks_key, manifest_key
from finetuner.artifacts.layout import read_chunks
from finetuner.artifacts.leases import Lease, leased
from finetuner.artifacts.manifest import MANIFEST, decode_listing
from finetuner.artifacts.probe import require_create_if_absent
from finetuner.artifacts.progress import Count, Watcher
from finetuner.artifacts.refs import last_number, write_ref
from finetuner.artifacts.retry import reliable
from finetuner.artifacts.threads import ahead, parallel
from finetuner.contracts import FileEntry, Store
from finetuner.errors import ArtifactError, IntegrityError, NotFoundError, StoreError

_BATCH_BYTES = 20 << 20
_BATCH_PIECES = 512
"""Pieces that one part of the lease names; chunks stay in memory until it does."""

_MANY = 32
_LISTED_AT_ONCE = 100
"""Stores tell of so many objects, and more, in the time in which they tell of one."""

_WAITING = 2
"""Pieces that wait in memory for their turn."""

_CHECKS = 3


@dataclass(frozen=True)
class _Item:
    """One object to be in the store: its key, size, digest, and where its bytes come from."""

    key: str
    size: int
    sha256: str
    path: Path
    offset: int | None = None
    """Where in the file the bytes are; ``None``: they are all of it."""
    data: bytes | None = None
    """The bytes themselves, where they are no part of a file of the bundle."""
    anew: bool = False
    """Whether what the store has is known to be damaged."""

    def read(self) -> bytes:
        """The bytes; ``IntegrityError`` unless they have the digest."""
        if self.data is not None:
            return self.data
        try:
            source = self.path.open("rb", buffering=0)
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read: {error}") from error
        if self.offset is None:
            with VerifyingReader(source, self.size, self.sha256, str(self.path)) as stream:
                return stream.read()
        with source:
            source.seek(self.offset)
            data = source.read(self.size)
        if digest_bytes(data) != self.sha256:
            raise IntegrityError(
                f"{self.path} was changed while it was pushed: wait until nothing writes to it, "
                "then push again"
            )
        return data


@dataclass(frozen=True)
class _Ready:
    """An item to be sent, with the bytes that its digest was taken of if they are at hand.

    Apart from the item, which is kept to the end of the push.
    """

    item: _Item
    chunk: bytes | None = None


def push(
    bundle_dir: Path | str,
    store: Store,
    name: str,
    tag: str = "latest",
    *,
    force: bool = False,
    single_writer: bool = False,
    watcher: Watcher | None = None,
) -> str:
    """Upload a bundle and point ``name:tag`` to it; returns its ``artifact_id``.

    Whatever the store has is not sent again, be it of another artifact or of a push
    that was broken off; everything is verified while it is read. The ref is made
    last: whatever goes wrong before leaves it as it was. If somebody else moved the
    tag meanwhile, ``ConflictError`` names what is there now; ``force`` moves it all
    the same. A store that does not enforce create-if-absent is refused unless
    ``single_writer`` says that nobody else writes to it. Raises ``ArtifactError``
    for a bundle that is not sound, ``StoreError`` where the store fails.
    """
    check_name("name", name), check_name("tag", tag)
    bundle = Path(bundle_dir)
    data = read_manifest_bytes(bundle)
    manifest = decode_listing(data, str(bundle / MANIFEST))
    check_listing(bundle, manifest)
    store, digest = reliable(store), digest_bytes(data)
    if not single_writer:
        require_create_if_absent(store)
    with leased(store, name, tag) as lease:
        number = None if force else last_number(store, name, tag)
        named = {digest, *(entry.sha256 for entry in manifest.files)}
        upload = _Upload(store, lease, named, watcher or Count())
        upload.files(bundle, manifest.files)
        upload.manifest(bundle / MANIFEST, digest, data)
        upload.settle()
        write_ref(store, name, tag, digest, after=number)
    return str(Address(store.url, name, digest=digest))


class _Upload:
    """One push. ``named`` are digests that it is known to need before any file is cut."""

    def __init__(self, store: Store, lease: Lease, named: set[str], watcher: Watcher) -> None:
        self._store, self._lease, self._watcher = store, lease, watcher
        self._named, self._leased = named, set[str]()
        self._items: dict[str, _Item] = {}
        self._sent: set[str] = set()
        self._listed: frozenset[str] | None = None
        """Keys of all blobs in the store before the first was sent, where that is known."""

    def files(self, bundle: Path, entries: tuple[FileEntry, ...]) -> None:
        """Send the files, then the lists of the chunks of those that were cut anew."""
        self._watcher.total(sum(entry.size for entry in entries))
        self._listed = _listed(self._store, entries)
        lists: list[_Item] = []
        with (
            closing(ahead(_batches(self._pieces(bundle, entries, lists)))) as cut,
            closing(ahead(map(self._protected, cut))) as protected,
        ):
            self._send(ready for batch in protected for ready in _taken(batch))
        self._send(self._protected([_Ready(item) for item in lists]))

    def manifest(self, path: Path, digest: str, data: bytes) -> None:
        """Send the manifest."""
        item = _Item(manifest_key(digest), len(data), digest, path, data=data)
        self._send(self._protected([_Ready(item)]))

    def settle(self) -> None:
        """Renew the lease and look again at all that was not sent, for it may be gone by now.

        After a lease that had run out, at all that was sent, too.
        """
        self._watcher.settled()
        for _ in range(_CHECKS):
            lapsed = self._lease.renew()
            if lapsed:  # a collection may have taken it away
                self._lease.protect(sorted(self._leased))
            else:
                self._lease.wait()
            doubtful = [i for i in self._items.values() if lapsed or i.key not in self._sent]
            if all(parallel(self._put, doubtful)):
                return
        raise StoreError(
            f"{self._store.url}: what this push relies on keeps being deleted: push again when "
            "nobody deletes from the store"
        )

    def _pieces(
        self, bundle: Path, entries: tuple[FileEntry, ...], lists: list[_Item]
    ) -> Iterator[_Ready]:
        """Every piece of every file; ``lists`` is filled as the files are cut."""
        for entry in entries:
            path = bundle / entry.path
            if not is_cut(entry.size):
                yield _Ready(_Item(blob_key(entry.sha256), entry.size, entry.sha256, path))
                continue
            pieces: list[Piece] = []
            known, damaged = self._known(entry)
            cut = ((piece, None) for piece in known) if known else cut_file(path, entry)
            for piece, chunk in cut:
                pieces.append(piece)
                key = blob_key(piece.sha256)
                item = _Item(key, piece.size, piece.sha256, path, piece.offset)
                yield _Ready(item, None if chunk is None else bytes(chunk))
            data, key = encode_chunks(tuple(pieces)), chunks_key(entry.sha256)
            lists.append(_Item(key, len(data), entry.sha256, path, data=data, anew=damaged))

    def _known(self, entry: FileEntry) -> tuple[tuple[Piece, ...] | None, bool]:
        """The file's chunks by the store's own list, and whether that is damaged."""
        try:
            return read_chunks(self._store, entry), False
        except ArtifactError:
            return None, True

    def _protected(self, batch: list[_Ready]) -> list[_Ready]:
        """Those of the batch that were not named before, now under the lease."""
        fresh = {ready.item.key: ready for ready in batch if ready.item.key not in self._items}
        for ready in batch:
            if fresh.get(ready.item.key) is not ready:
                self._watcher.done(0 if ready.item.data else ready.item.size, moved=False)
        wanted = self._named | {ready.item.sha256 for ready in fresh.values()}
        if unprotected := wanted - self._leased:
            self._lease.protect(sorted(unprotected))
            self._leased |= unprotected
        self._items |= {key: ready.item for key, ready in fresh.items()}
        return list(fresh.values())

    def _send(self, batch: Iterable[_Ready]) -> None:
        for _ in parallel(self._watched, batch, waiting=_WAITING):
            pass

    def _watched(self, ready: _Ready) -> None:
        item = ready.item
        absent = self._listed is not None and item.data is None and item.key not in self._listed
        found = self._put(item, ready.chunk, absent)
        if item.data is None:
            self._watcher.done(item.size, moved=not found)

    def _put(self, item: _Item, chunk: bytes | None = None, absent: bool = False) -> bool:
        """Whether the store has the item already; it is sent where not, unasked if ``absent``."""
        with suppress(NotFoundError):
            if (
                not absent
                and self._store.stat(item.key).size == item.size
                and not (item.anew and item.key not in self._sent)
            ):
                return True
        self._store.put(item.key, io.BytesIO(item.read() if chunk is None else chunk))
        self._sent.add(item.key)
        return False


def _listed(store: Store, entries: tuple[FileEntry, ...]) -> frozenset[str] | None:
    """The keys of all blobs, where listing them costs less than asking for each to be sent."""
    pieces = sum(entry.size for entry in entries) // MAX_CHUNK
    if pieces < _MANY:
        return None
    most = pieces * _LISTED_AT_ONCE
    found = frozenset(info.key for info in islice(store.list(BLOBS), most))
    return found if len(found) < most else None


def _taken(batch: list[_Ready]) -> Iterator[_Ready]:
    """The pieces of a batch, which holds them no longer than they are needed."""
    batch.reverse()
    while batch:
        yield batch.pop()


def _batches(pieces: Iterator[_Ready]) -> Iterator[list[_Ready]]:
    """The pieces in groups: as many as one part of a lease names."""
    batch: list[_Ready] = []
    size = 0
    for ready in pieces:
        batch.append(ready)
        size += ready.item.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
