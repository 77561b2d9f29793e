"""Fetching an artifact: many pieces at a time, verified, and visible when all is there.

What has arrived lies in a directory named by the artifact's digest. A pull that was
killed is taken up there: every piece that is found is digested again, so that no
record of what arrived is needed, and none can be wrong.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from finetuner.artifacts.address import Address, OpenStore, parse_address
from finetuner.artifacts.bundle import check_listing, read_manifest_bytes, verify_files
from finetuner.artifacts.chunking import Piece
from finetuner.artifacts.digests import (
    BLOCK,
    VerifyingReader,
    digest_bytes,
    digest_range,
    update_digest,
)
from finetuner.artifacts.filelock import waited
from finetuner.artifacts.keys import blob_key, manifest_key
from finetuner.artifacts.layout import Kept, fetch_manifest, kept
from finetuner.artifacts.manifest import MANIFEST, Limits, decode_listing
from finetuner.artifacts.progress import Count, Watcher
from finetuner.artifacts.refs import resolve_ref
from finetuner.artifacts.retry import reliable
from finetuner.artifacts.streams import RangeReader
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import DataManifest, Manifest, Store
from finetuner.errors import (
    ArtifactError,
    IntegrityError,
    NotFoundError,
    TransientStoreError,
    UsageError,
)

_ADVICE = "delete it from the store and push the bundle again"
"""A push sends nothing that the store has in the right size."""


@dataclass(frozen=True)
class _Place:
    """Where a piece belongs: the file, and its first byte there."""

    path: Path
    offset: int


@dataclass(frozen=True)
class _Task:
    """One object to fetch, with all the places that it belongs to."""

    piece: Piece
    what: str
    places: tuple[_Place, ...]
    begun: bool
    """Whether a try before may have written it."""
    alone: bool
    """Whether it is a file by itself; a chunk is verified with all of its file."""


def pull(
    address: str,
    target_dir: Path | str,
    open_store: OpenStore,
    limits: Limits | None = None,
    watcher: Watcher | None = None,
) -> Path:
    """Download the artifact at ``address`` to ``target_dir`` and return that.

    The directory appears under its name when all of it is verified, or not at
    all; one that is there must be empty or hold this very artifact. What a pull
    that was killed has fetched is not fetched again. Raises ``NotFoundError`` with
    near names, ``IntegrityError`` for wrong bytes, ``ArtifactError`` for a bundle
    that is unsafe or beyond ``limits``.
    """
    parsed, target = parse_address(address), Path(target_dir).absolute()
    store = reliable(open_store(parsed.store))
    digest = _resolve(parsed, store)
    if not _is_free(target, digest):
        return target
    return _download(store, parsed.name, digest, target, limits or Limits(), watcher)


def pull_cached(
    address: str, cache_dir: Path | str, open_store: OpenStore, watcher: Watcher | None = None
) -> Path:
    """The artifact at ``address`` in ``cache_dir/DIGEST``, downloaded where it is not there.

    An address with a digest that is cached needs no store. A cached copy is
    verified; a damaged one is downloaded again.
    """
    parsed = parse_address(address)
    digest = parsed.digest or _resolve(parsed, reliable(open_store(parsed.store)))
    target = Path(cache_dir).absolute() / digest
    if target.exists():
        with suppress(ArtifactError):
            if digest_bytes(read_manifest_bytes(target)) == digest:
                verify_files(target)
                return target
        _discard(target)
    store = reliable(open_store(parsed.store))
    return _download(store, parsed.name, digest, target, Limits(), watcher)


def _resolve(address: Address, store: Store) -> str:
    if address.digest is not None:
        return address.digest
    return resolve_ref(store, address.name, address.tag)


def _is_free(target: Path, digest: str) -> bool:
    """Whether to download to ``target``; ``False`` if the artifact is there already."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return True
    if (target / MANIFEST).is_file() and digest_bytes(read_manifest_bytes(target)) == digest:
        verify_files(target)
        return False
    raise UsageError(f"{target} is there and is not this artifact: name another directory")


def _download(
    store: Store, name: str, digest: str, target: Path, limits: Limits, watcher: Watcher | None
) -> Path:
    data = fetch_manifest(store, name, digest, limits)
    manifest = decode_listing(data, f"{store.url}/{manifest_key(digest)}", limits)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _partial(target.parent, digest) as partial:
            if not _is_free(target, digest):  # somebody else, while we waited for the lock
                return target
            _fetch(store, manifest, partial, watcher or Count())
            (partial / MANIFEST).write_bytes(data)
            check_listing(partial, manifest)
            os.rename(partial, target)  # takes the place of an empty directory, never of a full one
    except OSError as error:
        raise ArtifactError(
            f"{target} could not be written, nothing is left of it: {error.strerror or error}"
        ) from error
    return target


@contextmanager
def _partial(parent: Path, digest: str) -> Iterator[Path]:
    """The directory where the artifact grows, for this process alone.

    It is left for another try where the line broke or the process was stopped, and
    removed after any other error.
    """
    with waited(parent / f".{digest}.lock") as alone:
        name = digest if alone else f"{digest}.{secrets.token_hex(8)}"
        directory = parent / f".{name}.partial"
        _prepare(directory)
        try:
            yield directory
        except TransientStoreError:
            raise
        except Exception:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _prepare(directory: Path) -> None:
    """Make the directory; one that is there must hold plain files only, or it is emptied."""
    for found in directory.rglob("*"):
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            shutil.rmtree(directory)
            break
    directory.mkdir(exist_ok=True)


def _fetch(
    store: Store, manifest: Manifest | DataManifest, directory: Path, watcher: Watcher
) -> None:
    """Fetch every file of the manifest into ``directory``, and verify it."""
    watcher.total(sum(entry.size for entry in manifest.files))
    listed = {directory / entry.path for entry in manifest.files}
    for found in directory.rglob("*"):
        if found.is_file() and found not in listed:
            found.unlink()
    files = list(parallel(lambda entry: kept(store, entry), manifest.files, LISTERS))
    begun = {
        directory / file.entry.path
        for file in files
        if _allocate(directory / file.entry.path, file.entry.size)
    }
    tasks = _tasks(store, files, directory, begun)
    fetched = parallel(lambda task: _fetch_piece(store, task, watcher), tasks.values())
    done: set[str] = set()
    try:
        for file in files:
            whole = hashlib.sha256()
            with (directory / file.entry.path).open("rb", buffering=0) as written:
                for piece in file.pieces:
                    if piece.sha256 not in done:  # its turn in the order of the tasks
                        next(fetched)
                        done.add(piece.sha256)
                    if file.cut:
                        update_digest(whole, written, piece.size)
                os.fsync(written.fileno())
            if file.cut and whole.hexdigest() != file.entry.sha256:
                raise _blamed(store, file, directory, whole.hexdigest())
    finally:
        fetched.close()  # type: ignore[attr-defined]
    watcher.settled()


def _blamed(store: Store, file: Kept, directory: Path, found: str) -> IntegrityError:
    """The error for a file of the wrong digest: a chunk's, or else its list's."""
    for piece in file.pieces:
        sha256 = digest_range(directory / file.entry.path, piece.offset, piece.size)
        if sha256 != piece.sha256:
            return IntegrityError(
                f"{_words(store, file, piece)} is not what its manifest says: sha256 {sha256} "
                f"where {piece.sha256} was expected; {_ADVICE}"
            )
    return IntegrityError(
        f"{file.entry.path} ({store.url}) has the sha256 {found} where {file.entry.sha256} was "
        "expected, though every chunk is as its list says: delete the list from the store and "
        "push the bundle again"
    )


def _words(store: Store, file: Kept, piece: Piece) -> str:
    return f"{file.entry.path} ({store.url}/{blob_key(piece.sha256)})"


def _tasks(store: Store, files: list[Kept], directory: Path, begun: set[Path]) -> dict[str, _Task]:
    """What to fetch, by digest, in the order in which the files need it."""
    places: dict[str, list[_Place]] = {}
    pieces: dict[str, tuple[Piece, str]] = {}
    alone = {file.entry.sha256 for file in files if not file.cut}
    for file in files:
        for piece in file.pieces:
            what = _words(store, file, piece)
            pieces.setdefault(piece.sha256, (piece, what))
            if pieces[piece.sha256][0].size != piece.size:
                raise ArtifactError(f"{what} is said to have two sizes: do not use it")
            place = _Place(directory / file.entry.path, piece.offset)
            places.setdefault(piece.sha256, []).append(place)
    return {
        sha256: _Task(
            piece,
            what,
            tuple(places[sha256]),
            begun=places[sha256][0].path in begun,
            alone=sha256 in alone,
        )
        for sha256, (piece, what) in pieces.items()
    }


def _fetch_piece(store: Store, task: _Task, watcher: Watcher) -> None:
    """Bring one piece to all its places, from the store unless it is at the first."""
    first, *others = task.places
    moved = not _is_there(task)
    if moved:
        with _opened(store, task) as stream:
            _write(first, stream)
    watcher.done(task.piece.size, moved)
    for place in others:
        with first.path.open("rb", buffering=0) as source:
            source.seek(first.offset)
            _write(place, RangeReader(source, task.piece.size, str(first.path)))
        watcher.done(task.piece.size, moved=False)


def _is_there(task: _Task) -> bool:
    """Whether the bytes at the piece's first place are the piece."""
    place, size = task.places[0], task.piece.size
    return task.begun and digest_range(place.path, place.offset, size) == task.piece.sha256


def _opened(store: Store, task: _Task) -> VerifyingReader:
    try:
        source = store.get(blob_key(task.piece.sha256))
    except NotFoundError as error:
        raise ArtifactError(f"{task.what} is missing: push the bundle again") from error
    sha256 = task.piece.sha256 if task.alone else None
    return VerifyingReader(source, task.piece.size, sha256, task.what, _ADVICE)


def _allocate(path: Path, size: int) -> bool:
    """Make a file of that size, not executable; whether it was there, and holds what it held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    try:
        there = os.fstat(descriptor).st_size > 0
        os.ftruncate(descriptor, size)
        return there
    finally:
        os.close(descriptor)


def _write(place: _Place, stream: io.RawIOBase) -> None:
    buffer = memoryview(bytearray(BLOCK))
    with place.path.open("r+b", buffering=0) as file:
        file.seek(place.offset)
        while count := stream.readinto(buffer):
            block = buffer[:count]
            while block:
                block = block[file.write(block) or 0 :]


def _discard(directory: Path) -> None:
    aside = directory.with_name(f".{directory.name}.{secrets.token_hex(8)}.damaged")
    with suppress(FileNotFoundError):
        os.rename(directory, aside)  # at once, for whoever looks meanwhile
    shutil.rmtree(aside, ignore_errors=True)
