"""Where large files are cut, and the list of the chunks that one is made of.

Cuts depend on the bytes around them alone (FastCDC, Xia et al. 2020), so that two
files with a stretch in common share the chunks inside it, wherever it lies. The
chunk size grows with the file: a change in one place costs a chunk or two, which is
to be little of the file, while a store is asked for each chunk by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from finetuner.artifacts.digests import VerifyingReader, digest_bytes
from finetuner.contracts import FileEntry
from finetuner.errors import ArtifactError

WHOLE = 1 << 20
"""Files of fewer bytes are kept whole."""

MAX_CHUNK = 8 << 20
"""No chunk is larger: a transfer holds a few of them in memory."""

MAX_LIST_BYTES = 64 << 20

_SIZES = ((16 << 20, 64 << 10), (256 << 20, 512 << 10))
"""Up to this many bytes in the file, this mean chunk size. Few steps, so that two
fine-tunings of one backbone, which are nearly of one size, fall on the same one."""

_LARGEST = 4 << 20
_VERSION = 1


@dataclass(frozen=True)
class Piece:
    """A stretch of a file: its first byte, its length, and its hex sha256."""

    offset: int
    size: int
    sha256: str


class _ChunkList(msgspec.Struct, frozen=True):
    version: int
    chunks: tuple[tuple[int, str], ...]


def is_cut(size: int) -> bool:
    """Whether a file of so many bytes is kept in chunks."""
    return size >= WHOLE


def cut_file(path: Path, entry: FileEntry) -> Iterator[tuple[Piece, memoryview]]:
    """The chunks of the file at ``path``, in order, read once in bounded memory.

    The bytes beside each are there until the next one is asked for.

    ``IntegrityError`` before the last of them if the file is not what ``entry``
    says, ``ArtifactError`` if it cannot be read.
    """
    try:
        source = path.open("rb", buffering=0)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    with VerifyingReader(source, entry.size, entry.sha256, str(path)) as stream:
        yield from cut_stream(stream, entry.size)  # type: ignore[arg-type]


def cut_stream(stream: BinaryIO, size: int) -> Iterator[tuple[Piece, memoryview]]:
    """As :func:`cut_file`, of a stream. ``size`` alone decides how large the chunks are."""
    from pyfastcdc import FastCDC

    mean = next((mean for most, mean in _SIZES if size <= most), _LARGEST)
    cutter = FastCDC(mean, min_size=mean // 4, max_size=min(4 * mean, MAX_CHUNK))
    for chunk in cutter.cut_stream(stream):
        yield Piece(chunk.offset, chunk.length, digest_bytes(chunk.data)), chunk.data


def encode_chunks(pieces: tuple[Piece, ...]) -> bytes:
    """The chunk list of a file as it is kept."""
    chunks = tuple((piece.size, piece.sha256) for piece in pieces)
    return msgspec.json.encode(_ChunkList(_VERSION, chunks))


def decode_chunks(data: bytes, entry: FileEntry, where: str) -> tuple[Piece, ...]:
    """The chunks of ``entry`` in a list that anybody may have written.

    ``ArtifactError`` for one that is malformed, of a newer version, has chunks that
    are too large, or does not add up to the file's size.
    """
    try:
        found = msgspec.json.decode(data, type=_ChunkList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{where} is no list of chunks: {error}") from error
    if found.version > _VERSION:
        raise ArtifactError(
            f"{where} is a list of chunks of version {found.version}, this finetuner-core reads "
            f"up to {_VERSION}: upgrade it (pip install --upgrade finetuner-core)"
        )
    pieces, offset = [], 0
    for size, sha256 in found.chunks:
        if not 0 < size <= MAX_CHUNK or not is_sha256(sha256):
            raise ArtifactError(f"{where} has a chunk of {size} bytes or a malformed digest")
        pieces.append(Piece(offset, size, sha256))
        offset += size
    if offset != entry.size:
        raise ArtifactError(
            f"{where} lists {offset} bytes, but {entry.path} has {entry.size}: do not use it"
        )
    return tuple(pieces)


def is_sha256(text: str) -> bool:
    """Whether ``text`` is the hex sha256 of something."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
