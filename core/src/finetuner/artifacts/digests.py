"""Digests, and a stream that hands on only bytes that have the right one."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

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


class VerifyingReader(io.RawIOBase):
    """Reads ``source`` and raises :class:`IntegrityError` unless size and sha256 are right.

    The digest is compared before the last block is handed on, so that no reader,
    even one that stops at the expected size, ever holds all of a wrong file.
    ``what`` names the file in the error, ``advice`` ends it. Closing it closes
    ``source``.
    """

    def __init__(
        self,
        source: BinaryIO,
        size: int,
        sha256: str,
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
        try:
            block = self._source.read(min(len(buffer), BLOCK))
        except OSError as error:
            raise ArtifactError(f"{self._what} cannot be read: {error}") from error
        self._digest.update(block)
        self._count += len(block)
        if self._count >= self._size or not block:
            self._check()
        buffer[: len(block)] = block
        return len(block)

    def _check(self) -> None:
        found = self._digest.hexdigest()
        if self._count == self._size and found == self._expected:
            return
        size = "" if self._count == self._size else self._size_words()
        raise IntegrityError(
            f"{self._what} is not what its manifest says: {size}"
            f"sha256 {found} where {self._expected} was expected; {self._advice}"
        )

    def _size_words(self) -> str:
        more = "at least " if self._count > self._size else ""
        return f"{more}{self._count} bytes where {self._size} were expected, "

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
