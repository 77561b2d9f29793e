"""Push a bundle into a store, pull it back, verified on the way."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from finetuner.artifacts.address import Address, OpenStore, parse_address
from finetuner.artifacts.bundle import check_listing, read_manifest_bytes, verify_bundle
from finetuner.artifacts.digests import BLOCK, VerifyingReader, digest_bytes
from finetuner.artifacts.keys import blob_key, check_name, manifest_key
from finetuner.artifacts.manifest import MANIFEST, Limits, decode_manifest
from finetuner.artifacts.refs import resolve_ref, write_ref
from finetuner.contracts import FileEntry, Manifest, Store
from finetuner.errors import ArtifactError, IntegrityError, NotFoundError, UsageError


def push(bundle_dir: Path | str, store: Store, name: str, tag: str = "latest") -> str:
    """Upload a bundle and point ``name:tag`` to it; returns its ``artifact_id``.

    Files that the store has are not sent again; the others are verified while
    they are read. The ref is made last: whatever goes wrong before leaves it as it
    was. Raises ``ArtifactError`` for a bundle that is not sound, ``StoreError``
    where the store fails.
    """
    check_name("name", name), check_name("tag", tag)
    bundle = Path(bundle_dir)
    data = read_manifest_bytes(bundle)
    manifest = decode_manifest(data, str(bundle / MANIFEST))
    check_listing(bundle, manifest)
    for entry in manifest.files:
        _push_file(bundle / entry.path, entry, store)
    digest = digest_bytes(data)
    if not _holds(store, manifest_key(digest), len(data)):
        store.put(manifest_key(digest), io.BytesIO(data))
    write_ref(store, name, tag, digest)
    return str(Address(store.url, name, digest=digest))


def pull(
    address: str, target_dir: Path | str, open_store: OpenStore, limits: Limits | None = None
) -> Path:
    """Download the artifact at ``address`` to ``target_dir`` and return that.

    The directory appears under its name when all of it is verified, or not at
    all; one that is there must be empty or hold this very artifact. Raises
    ``NotFoundError`` with near names, ``IntegrityError`` for wrong bytes,
    ``ArtifactError`` for a bundle that is unsafe or beyond ``limits``.
    """
    parsed, target = parse_address(address), Path(target_dir).absolute()
    store = open_store(parsed.store)
    digest = _resolve(parsed, store)
    if not _is_free(target, digest):
        return target
    return _download(store, parsed.name, digest, target, limits or Limits())


def pull_cached(address: str, cache_dir: Path | str, open_store: OpenStore) -> Path:
    """The artifact at ``address`` in ``cache_dir/DIGEST``, downloaded where it is not there.

    An address with a digest that is cached needs no store. A cached copy is
    verified; a damaged one is downloaded again.
    """
    parsed = parse_address(address)
    digest = parsed.digest or _resolve(parsed, open_store(parsed.store))
    target = Path(cache_dir).absolute() / digest
    if target.exists():
        with suppress(ArtifactError):
            if digest_bytes(read_manifest_bytes(target)) == digest:
                verify_bundle(target)
                return target
        _discard(target)
    return _download(open_store(parsed.store), parsed.name, digest, target, Limits())


def _push_file(path: Path, entry: FileEntry, store: Store) -> None:
    key = blob_key(entry.sha256)
    if _holds(store, key, entry.size):
        return
    try:
        source = path.open("rb")
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    with VerifyingReader(source, entry.size, entry.sha256, str(path)) as stream:
        store.put(key, stream)  # type: ignore[arg-type]


def _holds(store: Store, key: str, size: int) -> bool:
    try:
        return store.stat(key).size == size
    except NotFoundError:
        return False


def _resolve(address: Address, store: Store) -> str:
    if address.digest is not None:
        return address.digest
    return resolve_ref(store, address.name, address.tag)


def _is_free(target: Path, digest: str) -> bool:
    """Whether to download to ``target``; ``False`` if the artifact is there already."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return True
    if (target / MANIFEST).is_file() and digest_bytes(read_manifest_bytes(target)) == digest:
        verify_bundle(target)
        return False
    raise UsageError(f"{target} is there and is not this artifact: name another directory")


def _download(store: Store, name: str, digest: str, target: Path, limits: Limits) -> Path:
    data = _fetch_manifest(store, name, digest, limits)
    manifest = decode_manifest(data, f"{store.url}/{manifest_key(digest)}", limits)
    partial = target.parent / f".{target.name}.{secrets.token_hex(8)}.partial"
    try:
        partial.mkdir(parents=True)
        (partial / MANIFEST).write_bytes(data)
        _fetch_files(store, manifest, partial)
        _appear(partial, target)
    except OSError as error:
        raise ArtifactError(
            f"{target} could not be written, nothing is left of it: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _fetch_manifest(store: Store, name: str, digest: str, limits: Limits) -> bytes:
    key = manifest_key(digest)
    try:
        with store.get(key) as stream:
            data = stream.read(limits.manifest_bytes + 1)
    except NotFoundError:
        raise NotFoundError(
            f"{store.url} has no artifact {name}@sha256:{digest}: it was never there or is deleted"
        ) from None
    if len(data) <= limits.manifest_bytes and digest_bytes(data) != digest:
        raise IntegrityError(
            f"{store.url}/{key} has the sha256 {digest_bytes(data)}: it was changed, do not use it"
        )
    return data


def _fetch_files(store: Store, manifest: Manifest, directory: Path) -> None:
    for entry in manifest.files:
        path = directory / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        key = blob_key(entry.sha256)
        what = f"{entry.path} ({store.url}/{key})"
        try:
            source = store.get(key)
        except NotFoundError as error:
            raise ArtifactError(f"{what} is missing: push the bundle again") from error
        # A push sends nothing that the store has in the right size.
        advice = "delete it from the store and push the bundle again"
        stream = VerifyingReader(source, entry.size, entry.sha256, what, advice)
        with stream, path.open("xb") as file:
            shutil.copyfileobj(stream, file, BLOCK)
            file.flush()
            os.fsync(file.fileno())


def _appear(partial: Path, target: Path) -> None:
    try:
        os.rename(partial, target)  # takes the place of an empty directory, never of a full one
    except OSError:
        # Another process may have put the same artifact there meanwhile.
        if not (target / MANIFEST).is_file():
            raise
        if read_manifest_bytes(target) != read_manifest_bytes(partial):
            raise
        verify_bundle(target)


def _discard(directory: Path) -> None:
    aside = directory.with_name(f".{directory.name}.{secrets.token_hex(8)}.damaged")
    with suppress(FileNotFoundError):
        os.rename(directory, aside)  # at once, for whoever looks meanwhile
    shutil.rmtree(aside, ignore_errors=True)
