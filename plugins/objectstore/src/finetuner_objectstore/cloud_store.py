"""A store in a bucket: keys, ranges, parts and words, whatever the cloud."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from finetuner.artifacts.keys import check_key
from finetuner.artifacts.streams import range_length
from finetuner.contracts import ObjectInfo
from finetuner.errors import StoreError
from finetuner_objectstore.bucket import PART, Bucket, Piece
from finetuner_objectstore.failures import CloudError, Kind, explain
from finetuner_objectstore.parts import Parts, Source, spooled
from finetuner_objectstore.place import Place
from finetuner_objectstore.reading import ObjectReader, Readers

_UPLOADS = 2
"""Uploads in parts at a time, each of which holds several parts in memory."""


class CloudStore:
    """The protocol ``Store`` over a ``Bucket``; safe to use from several threads.

    It tries nothing again but the parts of an upload, which cannot be begun anew from
    a stream. Memory is bounded: 8 MiB a reader and a small put, 64 MiB more for what
    readers fetch ahead, and 96 MiB for uploads in parts.
    """

    def __init__(self, place: Place, bucket: Bucket) -> None:
        self.url = place.url
        self._place, self._bucket = place, bucket
        self._readers, self._parts = Readers(), Parts(_UPLOADS)
        self._bucket_seen = False

    def __repr__(self) -> str:
        return f"CloudStore({self.url!r})"

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        check_key(key)
        source = Source(stream)
        head = source.take(PART + 1)
        with self._told(key), source.blamed():
            if len(head) <= PART:
                self._bucket.write(key, head, if_absent)
            elif if_absent:
                with spooled(head, source) as (file, size):
                    self._bucket.create_from(key, file, size)
            else:
                with self._parts.one() as parts:
                    self._bucket.write_parts(key, parts(head, source), source.size)

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        length = range_length(start, end)
        check_key(key)
        if length == 0:
            self.stat(key)
            return io.BytesIO()
        stop = start + PART if end is None else min(end, start + PART)
        try:
            first = self._piece(key, start, stop)
        except _PastTheEndError:
            return io.BytesIO()
        end = first.size if end is None else min(end, first.size)

        def read(begin: int, finish: int) -> memoryview:
            return self._piece(key, begin, finish, first.version).data

        reader = ObjectReader(read, first.data, min(stop, end), end, self._readers)
        return io.BufferedReader(reader)

    def stat(self, key: str) -> ObjectInfo:
        check_key(key)
        with self._told(key):
            entry = self._bucket.head(key)
        return ObjectInfo(key, entry.size, entry.modified)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        last = ""
        with self._told(""):
            for entry in self._bucket.list(prefix, after):
                if entry.name < last:
                    raise StoreError(
                        f"{self.url}: it lists {entry.name} after {last}, so that no listing can "
                        "be gone on with: use one that sorts names (no hierarchical namespace)"
                    )
                last = entry.name
                if entry.name > after and entry.name.startswith(prefix):
                    yield ObjectInfo(entry.name, entry.size, entry.modified)
                elif entry.name > prefix and not entry.name.startswith(prefix):
                    return

    def delete(self, key: str) -> None:
        self.stat(key)  # of what is not there, S3 says that it deleted it
        with self._told(key):
            self._bucket.delete(key)

    def tidy(self, before: float) -> int:
        """Abort uploads in parts that were begun before that POSIX time; bytes freed."""
        with self._told(""):
            return self._bucket.tidy(before)

    def _piece(self, key: str, start: int, end: int, version: str = "") -> Piece:
        with self._told(key):
            piece = self._bucket.read(key, start, end, version)
            if len(piece.data) != min(end, piece.size) - start:
                raise CloudError(Kind.UNREACHABLE, "short answer")
            return piece

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except CloudError as error:
            if error.kind is Kind.RANGE:
                raise _PastTheEndError(str(error.kind.value)) from None
            if error.kind is Kind.ABSENT:
                error = self._missing_bucket() or error
            raise explain(error, self._place, key, self._bucket.words) from None

    def _missing_bucket(self) -> CloudError | None:
        """Why nothing was found, if it is the bucket: many an answer leaves that open."""
        if not self._bucket_seen:
            try:
                self._bucket.check()
            except CloudError as error:
                # Who may read may not be permitted to list.
                return error if error.kind is Kind.NO_BUCKET else None
            self._bucket_seen = True
        return None


class _PastTheEndError(StoreError):
    """A range that begins behind the end of its object."""
