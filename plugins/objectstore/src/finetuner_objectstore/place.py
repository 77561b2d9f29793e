"""Where a store is: scheme, bucket and a prefix in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetuner.errors import UsageError

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Place:
    """``SCHEME://BUCKET`` or ``SCHEME://BUCKET/PREFIX``; Azure calls a bucket a container."""

    scheme: str
    bucket: str
    prefix: str = ""

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"{self.scheme}://{self.bucket}" + f"/{self.prefix}" * bool(self.prefix)


def parse_place(url: str, scheme: str) -> Place:
    """The parts of ``url``; the prefix is taken as it is, nothing in it is decoded.

    Raises ``UsageError`` for what is no address of a store. One that holds credentials
    is refused and not repeated, since errors are printed and logged.
    """
    found, separator, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        raise UsageError(
            f"a {scheme}:// URL holds no credentials: give them as the cloud's own tools take "
            f"them, and only {scheme}://BUCKET/PREFIX here"
        )
    if not separator or found.lower() != scheme or not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{url.partition('?')[0]!r} is no store: use {scheme}://BUCKET or "
            f"{scheme}://BUCKET/PREFIX"
        )
    prefix = prefix.rstrip("/")
    if "?" in prefix or "#" in prefix:
        raise UsageError(f"{scheme}://{bucket}: a store's URL has no '?' or '#'")
    segments = prefix.split("/") if prefix else []
    if any(part in ("", ".", "..") for part in segments) or _CONTROL.search(prefix):
        raise UsageError(
            f"{url!r}: a prefix is made of names joined by '/', without '.', '..' and backslashes"
        )
    return Place(scheme, bucket, prefix)
