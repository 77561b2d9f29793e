"""Refs: what the tags of an artifact point to.

A tag is the highest-numbered object under ``refs/NAME/TAG/``. Numbers are only
ever added, each by create-if-absent, so that a reader sees the old target or the
new one, and a push that dies leaves the old one. A number that points to nothing
is a tombstone: the tag was deleted.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from finetuner.artifacts.keys import REFS, check_name, parse_ref_key, ref_key, ref_prefix
from finetuner.contracts import Store
from finetuner.errors import ArtifactError, ConflictError, NotFoundError, StoreError, suggest

_ATTEMPTS = 100
"""Tries to get a number while other writers take them."""

_MAX_BYTES = 4096


@dataclass(frozen=True)
class Ref:
    """One number of a tag; ``manifest`` is a hex sha256, ``None`` in a tombstone."""

    name: str
    tag: str
    number: int
    manifest: str | None
    created: str


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a ref's object. The nonce tells a writer its own object from another's."""

    manifest: str | None
    nonce: str
    created: str


def write_ref(store: Store, name: str, tag: str, manifest: str | None) -> Ref:
    """Point ``name:tag`` to the manifest with that hex sha256 (``None``: a tombstone).

    Where another writer took the number first, the next one is tried, so the last
    writer wins. Raises ``StoreError`` if the store fails or numbers keep being taken.
    """
    check_name("name", name), check_name("tag", tag)
    content = _Content(manifest, secrets.token_hex(16), datetime.now(UTC).isoformat())
    data = msgspec.json.encode(content)
    number = _last_number(store, name, tag) + 1
    for _ in range(_ATTEMPTS):
        if _create(store, ref_key(name, tag, number), data):
            return Ref(name, tag, number, manifest, content.created)
        number += 1
    raise StoreError(
        f"{store.url}: other writers took {_ATTEMPTS} numbers of {name}:{tag}; try again later"
    )


def delete_ref(store: Store, name: str, tag: str) -> Ref:
    """Delete a tag by writing its tombstone. ``NotFoundError`` if it is not there."""
    resolve_ref(store, name, tag)
    return write_ref(store, name, tag, None)


def resolve_ref(store: Store, name: str, tag: str) -> str:
    """Hex sha256 of the manifest that ``name:tag`` points to.

    Raises ``NotFoundError`` with near names where there is no such tag.
    """
    check_name("name", name), check_name("tag", tag)
    number = _last_number(store, name, tag)
    manifest = _read(store, name, tag, number).manifest if number else None
    if manifest is None:
        raise NotFoundError(_not_found(store, name, tag))
    return manifest


def list_refs(store: Store) -> Iterator[Ref]:
    """Every tag that is not deleted, with what it points to, sorted by name and tag."""
    for name, tag, number in _highest(store):
        ref = _read(store, name, tag, number)
        if ref.manifest is not None:
            yield ref


def _create(store: Store, key: str, data: bytes) -> bool:
    """Whether the object at ``key`` is ours now; ``False`` if another's is there."""
    try:
        store.put(key, io.BytesIO(data), if_absent=True)
        return True
    except StoreError as error:
        # A request that was answered too late may have been carried out all the same.
        try:
            found = _read_bytes(store, key)
        except NotFoundError:
            found = None
        if found == data:
            return True
        if found is None and not isinstance(error, ConflictError):
            raise
        return False


def _highest(store: Store) -> Iterator[tuple[str, str, int]]:
    highest: dict[tuple[str, str], int] = {}
    for info in store.list(REFS):
        if parsed := parse_ref_key(info.key):
            name, tag, number = parsed
            highest[name, tag] = max(number, highest.get((name, tag), 0))
    for (name, tag), number in sorted(highest.items()):
        yield name, tag, number


def _last_number(store: Store, name: str, tag: str) -> int:
    numbers = (parse_ref_key(info.key) for info in store.list(ref_prefix(name, tag)))
    return max((parsed[2] for parsed in numbers if parsed), default=0)


def _read(store: Store, name: str, tag: str, number: int) -> Ref:
    key = ref_key(name, tag, number)
    try:
        content = msgspec.json.decode(_read_bytes(store, key), type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{store.url}/{key} is no ref that this finetuner-core can read: {error}"
        ) from error
    return Ref(name, tag, number, content.manifest, content.created)


def _read_bytes(store: Store, key: str) -> bytes:
    with store.get(key) as stream:
        return stream.read(_MAX_BYTES)


def _not_found(store: Store, name: str, tag: str) -> str:
    live = [(ref.name, ref.tag) for ref in list_refs(store)]
    tags = [known_tag for known_name, known_tag in live if known_name == name]
    if tags:
        return f"{store.url} has no tag {tag!r} of {name!r}: {suggest(tag, tags)}"
    return f"{store.url} has no artifact {name!r}: {suggest(name, {known for known, _ in live})}"
