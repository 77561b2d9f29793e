"""Digests, and a stream that hands on only bytes that have the right one."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

from finetuner.artifacts.streams import read_into
from finetuner.errors import ArtifactError, IntegrityError

BLOCK = 1 << 20
"""Bytes read at a time."""


def digest_bytes(data: bytes | memoryview) -> str:
    """Hex sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> tuple[str, int]:
    """Hex sha256 and size in bytes of the file at ``path``."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def digest_range(path: Path, start: int, size: int) -> str:
    """Hex sha256 of ``size`` bytes of the file from ``start``, or of fewer if it ends there."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        update_digest(digest, file, size)
    return digest.hexdigest()


def update_digest(digest: hashlib._Hash, source: BinaryIO | io.FileIO, size: int) -> None:
    """Digest the next ``size`` bytes of ``source`` too, or fewer if it ends before."""
    buffer = memoryview(bytearray(min(BLOCK, size)))
    while size and (count := read_into(source, buffer[:size])):
        digest.update(buffer[:count])
        size -= count


class VerifyingReader(io.RawIOBase):
    """Reads ``source`` and raises :class:`IntegrityError` unless size and sha256 are right.

    The digest is compared before the last block is handed on, so that no reader,
    even one that stops at the expected size, ever holds all of a wrong file. Without
    ``sha256`` the size alone is looked at: the digest is somebody else's to check.
    ``what`` names the file in the error, ``advice`` ends it. Closing it closes
    ``source``.
    """

    def __init__(
        self,
        source: BinaryIO,
        size: int,
        sha256: str | None,
        what: str,
        advice: str = "get or make it anew",
    ) -> None:
        super().__init__()
        self._advice = advice
        self._source, self._size, self._expected, self._what = source, size, sha256, what
        self._digest, self._count = hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        block = memoryview(buffer)[:BLOCK]
        try:
            count = read_into(self._source, block)
        except OSError as error:
            raise ArtifactError(f"{self._what} cannot be read: {error}") from error
        if self._expected is not None:
            self._digest.update(block[:count])
        self._count += count
        if (self._count >= self._size or not count) and (problems := self._problems()):
            block[:count] = bytes(count)
            raise IntegrityError(
                f"{self._what} is not what its manifest says: {problems}; {self._advice}"
            )
        return count

    def _problems(self) -> str:
        problems = []
        if self._count != self._size:
            more = "at least " if self._count > self._size else ""
            problems.append(f"{more}{self._count} bytes where {self._size} were expected")
        if self._expected not in (None, found := self._digest.hexdigest()):
            problems.append(f"sha256 {found} where {self._expected} was expected")
        return ", ".join(problems)

    def close(self) -> None:
        self._source.close()
        super().close()


def verify_file(path: Path, size: int, sha256: str, what: str) -> None:
    """Read the file once; raises :class:`IntegrityError` naming ``what`` if it differs."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise ArtifactError(f"{what} cannot be read: {error}") from error
    with VerifyingReader(source, size, sha256, what) as stream:
        while stream.read(BLOCK):
            pass
