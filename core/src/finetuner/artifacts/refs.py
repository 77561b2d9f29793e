"""Refs: what the tags of an artifact point to.

A tag is the highest-numbered object under ``refs/NAME/TAG/``. Numbers are only
ever added, each by create-if-absent, so that a reader sees the old target or the
new one, and a push that dies leaves the old one. A number that points to nothing
is a tombstone: the tag was deleted. A tombstone is a shorter object than any other,
so that a listing alone tells which tags there are.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from finetuner.artifacts.keys import REFS, check_name, parse_ref_key, ref_key, ref_prefix
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import ObjectInfo, Store
from finetuner.errors import ArtifactError, ConflictError, NotFoundError, StoreError, suggest

_ATTEMPTS = 100
"""Tries to get a number while other writers take them."""

_MAX_BYTES = 4096

_TOMBSTONE = 128
"""A tombstone has fewer bytes; any other ref has more, by its digest alone."""


@dataclass(frozen=True)
class Ref:
    """One number of a tag; ``manifest`` is a hex sha256, ``None`` in a tombstone."""

    name: str
    tag: str
    number: int
    manifest: str | None
    created: str


@dataclass(frozen=True)
class Tag:
    """A tag as a listing shows it: its last number, and when that was written (POSIX seconds)."""

    name: str
    tag: str
    number: int
    modified: float
    deleted: bool


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is in a ref's object. The nonce tells a writer its own object from another's."""

    manifest: str | None
    nonce: str
    created: str = ""


def write_ref(
    store: Store, name: str, tag: str, manifest: str | None, *, after: int | None = None
) -> Ref:
    """Point ``name:tag`` to the manifest with that hex sha256 (``None``: a tombstone).

    ``after`` is the number that the tag had when the writer looked (0: none). If it
    has another by now, ``ConflictError`` names what is there, unless it is the very
    same manifest. Without it the next free number is taken, so that the last writer
    wins. Raises ``StoreError`` if the store fails or numbers keep being taken.
    """
    check_name("name", name), check_name("tag", tag)
    now = datetime.now(UTC).isoformat()
    content = _Content(manifest, secrets.token_hex(16), "" if manifest is None else now)
    data = msgspec.json.encode(content)
    number = last_number(store, name, tag)
    for _ in range(1 if after is not None else _ATTEMPTS):
        # A number that was free and is below the last one must not be taken either.
        if after is not None and number != after:
            break
        number += 1
        if _create(store, ref_key(name, tag, number), data):
            return Ref(name, tag, number, manifest, content.created)
    if after is None:
        raise StoreError(
            f"{store.url}: other writers took {_ATTEMPTS} numbers of {name}:{tag}; try again later"
        )
    return _beaten(store, name, tag, manifest)


def delete_ref(store: Store, name: str, tag: str) -> Ref:
    """Delete a tag by writing its tombstone.

    ``NotFoundError`` if it is not there, ``ConflictError`` if it was moved meanwhile.
    """
    found = find_ref(store, name, tag)
    return write_ref(store, name, tag, None, after=found.number)


def resolve_ref(store: Store, name: str, tag: str) -> str:
    """Hex sha256 of the manifest that ``name:tag`` points to.

    Raises ``NotFoundError`` with near names where there is no such tag.
    """
    manifest = find_ref(store, name, tag).manifest
    assert manifest is not None
    return manifest


def find_ref(store: Store, name: str, tag: str) -> Ref:
    """What ``name:tag`` points to. ``NotFoundError`` with near names where there is no such tag."""
    check_name("name", name), check_name("tag", tag)
    ref = current_ref(store, name, tag)
    if ref is None or ref.manifest is None:
        raise NotFoundError(_not_found(store, name, tag))
    return ref


def current_ref(store: Store, name: str, tag: str) -> Ref | None:
    """The last number of a tag, be it a tombstone; ``None`` where the tag never was."""
    for _ in range(_ATTEMPTS):
        number = last_number(store, name, tag)
        try:
            return _read(store, name, tag, number) if number else None
        except NotFoundError:  # superseded and collected since it was listed
            continue
    raise StoreError(f"{store.url}: {name}:{tag} keeps being moved; try again later")


def list_tags(store: Store, name: str | None = None) -> list[Tag]:
    """Every tag (of one ``name``) that is not deleted, by name and tag, from one listing."""
    return [tag for tag in all_tags(store, name) if not tag.deleted]


def all_tags(store: Store, name: str | None = None) -> list[Tag]:
    """As :func:`list_tags`, with the deleted ones."""
    if name is not None:
        check_name("name", name)
    last: dict[tuple[str, str], tuple[int, ObjectInfo]] = {}
    for info in store.list(REFS if name is None else f"{REFS}{name}/"):
        if parsed := parse_ref_key(info.key):
            of, tag, number = parsed
            if number >= last.get((of, tag), (0, info))[0]:
                last[of, tag] = (number, info)
    return [
        Tag(of, tag, number, info.modified, info.size < _TOMBSTONE)
        for (of, tag), (number, info) in sorted(last.items())
    ]


def list_refs(store: Store, name: str | None = None) -> Iterator[Ref]:
    """Every tag that is not deleted, with what it points to, by name and tag.

    Costs one small request a tag, many at a time.
    """
    found = parallel(
        lambda tag: (
            current_ref(store, tag.name, tag.tag)
            if (ref := _read_if_there(store, tag)) is None
            else ref
        ),
        list_tags(store, name),
        LISTERS,
    )
    for ref in found:
        if ref is not None and ref.manifest is not None:
            yield ref


def last_number(store: Store, name: str, tag: str) -> int:
    """The last number of a tag, 0 where it never was."""
    numbers = (parse_ref_key(info.key) for info in store.list(ref_prefix(name, tag)))
    return max((parsed[2] for parsed in numbers if parsed), default=0)


def _beaten(store: Store, name: str, tag: str, manifest: str | None) -> Ref:
    """What was there first, if it is what we wanted; else the error that says so."""
    ref = current_ref(store, name, tag)
    if ref is not None and ref.manifest == manifest:
        return ref
    now = "is deleted"
    if ref is not None and ref.manifest is not None:
        now = f"points to sha256:{ref.manifest} (number {ref.number}, of {ref.created})"
    ours = "" if manifest is None else f" Yours is in the store: @sha256:{manifest}."
    raise ConflictError(
        f"{store.url}/{name}:{tag} was moved by somebody else meanwhile: it now {now}.{ours} "
        "Look at theirs, then do it again to replace it, or with force to replace whatever is there"
    )


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


def _read_if_there(store: Store, tag: Tag) -> Ref | None:
    try:
        return _read(store, tag.name, tag.tag, tag.number)
    except NotFoundError:
        return None


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
    live = list_tags(store)
    tags = [known.tag for known in live if known.name == name]
    if tags:
        return f"{store.url} has no tag {tag!r} of {name!r}: {suggest(tag, tags)}"
    return f"{store.url} has no artifact {name!r}: {suggest(name, {known.name for known in live})}"
