"""Where things are in a store.

::

    blobs/sha256/ab/abcd…          small files, and the chunks of large ones, by digest
    chunks/sha256/ab/abcd…         which chunks make up the large file with that digest
    manifests/sha256/ab/abcd…      manifests by digest: one is one artifact
    refs/NAME/TAG/00000001         what a tag points to: the highest number counts
    leases/ID/00000001             digests that a push under way relies on
    locks/ID                       a garbage collection under way
    probe                          shows whether the store keeps what is there

A manifest names whole files only, so that how a file is cut can change without any
artifact changing its digest.
"""

from __future__ import annotations

import re

from finetuner.errors import UsageError

BLOBS, CHUNKS, MANIFESTS = "blobs/", "chunks/", "manifests/"
REFS, LEASES, LOCKS = "refs/", "leases/", "locks/"
PROBE = "probe"

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_NAME = re.compile(_SEGMENT)
_KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_REF = re.compile(rf"refs/({_SEGMENT})/({_SEGMENT})/([0-9]{{8,18}})")


def check_key(key: str) -> str:
    """``key`` itself; ``UsageError`` unless it is safe in every store.

    Segments are ASCII letters, digits, ``_``, ``.`` and ``-`` and do not begin
    with a dot or a dash, so that no key leaves its store or hides in it.
    """
    if len(key) > 1024 or not _KEY.fullmatch(key):
        raise UsageError(
            f"{key!r} is not a key: use segments of letters, digits, '_', '.', '-' "
            "that begin with a letter, digit or '_', joined by '/'"
        )
    return key


def is_segment(text: str) -> bool:
    """Whether ``text`` can be one segment of a key."""
    return _NAME.fullmatch(text) is not None


def check_name(kind: str, name: str) -> str:
    """``name`` itself; ``UsageError`` unless it can name an artifact or a tag."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the {kind} of an artifact: use up to 128 letters, digits, "
            "'_', '.', '-', beginning with a letter, digit or '_'"
        )
    return name


def blob_key(sha256: str) -> str:
    """Key of the bytes of a small file or a chunk."""
    return f"{BLOBS}sha256/{sha256[:2]}/{sha256}"


def chunks_key(sha256: str) -> str:
    """Key of the list of chunks that make up the file with that digest."""
    return f"{CHUNKS}sha256/{sha256[:2]}/{sha256}"


def manifest_key(sha256: str) -> str:
    """Key of a manifest."""
    return f"{MANIFESTS}sha256/{sha256[:2]}/{sha256}"


def lease_key(lease: str, number: int) -> str:
    """Key of one part of a lease; number 0 is rewritten to renew it."""
    return f"{LEASES}{lease}/{number:08d}"


def ref_prefix(name: str, tag: str) -> str:
    """Prefix of the numbered objects of one tag."""
    return f"{REFS}{name}/{tag}/"


def ref_key(name: str, tag: str, number: int) -> str:
    """Key of one number of a tag; eight digits keep order until there are more."""
    return f"{ref_prefix(name, tag)}{number:08d}"


def parse_ref_key(key: str) -> tuple[str, str, int] | None:
    """Name, tag and number in a ref's key; ``None`` for any other key."""
    match = _REF.fullmatch(key)
    return (match[1], match[2], int(match[3])) if match else None
