"""A bucket through obstore: S3 and Azure."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError

from finetuner_objectstore.bucket import PART, SLOWEST, Entry, Piece
from finetuner_objectstore.failures import CloudError, Kind, Words
from finetuner_objectstore.obstore_errors import cloud_error
from finetuner_objectstore.place import Place

_PARTS_AT_ONCE = 4
_MAX_PARTS = 9_000
"""S3 takes 10,000."""

MakeStore = Callable[..., Any]
"""``make(client_options=…, retry_config=…)`` gives obstore's store."""


def connect(
    store_class: MakeStore,
    place: Place,
    config: Mapping[str, Any],
    *,
    client_options: Mapping[str, Any],
    **options: Any,
) -> Any:
    """obstore's store of that class at ``place``; plain http only where ``config`` asks for it."""
    plain = str(config.get("endpoint", "")).startswith("http://")
    client = {**client_options, "allow_http": True} if plain else client_options
    return store_class(
        place.bucket, prefix=place.prefix or None, client_options=client, **config, **options
    )


class ObstoreBucket:
    """The requests of ``Bucket`` by obstore's functions.

    Requests are not tried again, but the parts of an upload are: the stream they come
    from cannot be read twice.
    """

    def __init__(
        self, make: MakeStore, words: Words, timeout: float, aborts: Callable[[float], int]
    ) -> None:
        self.words, self._make, self._timeout, self._aborts = words, make, timeout, aborts
        self._store = self._with(timeout, retries=0)
        self._patient = self._with(timeout, retries=3)

    def write(self, name: str, data: bytes, create: bool) -> None:
        with _told(creating=create):
            obstore.put(
                self._store,
                name,
                data,
                mode="create" if create else "overwrite",
                use_multipart=False,
            )

    def write_parts(self, name: str, parts: Iterator[bytes], size: int | None) -> None:
        part = max(PART, -(-(size or 0) // _MAX_PARTS))
        with _told():
            obstore.put(
                self._patient,
                name,
                parts,
                use_multipart=True,
                chunk_size=part,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def create_from(self, name: str, file: BinaryIO, size: int) -> None:
        # Uploads in parts are not created conditionally by every server, one request is.
        store = self._with(self._timeout + size / SLOWEST, retries=0)
        with _told(creating=True), mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as data:
            obstore.put(store, name, data, mode="create", use_multipart=False)

    def read(self, name: str, start: int, end: int, version: str = "") -> Piece:
        options: dict[str, Any] = {"range": (start, end)}
        if version:
            options["if_match"] = version
        with _told():
            result = obstore.get(self._store, name, options=options)  # type: ignore[arg-type]
            meta, data = result.meta, result.bytes()
        return Piece(memoryview(data), meta["size"], meta["e_tag"] or "")

    def head(self, name: str) -> Entry:
        with _told():
            return _entry(obstore.head(self._store, name))

    def list(self, prefix: str, after: str) -> Iterator[Entry]:
        folder = prefix.rpartition("/")[0]  # obstore lists folders
        offset = max(after, prefix[:-1])
        with _told():
            pages = obstore.list(self._store, folder or None, offset=offset or None)
            for page in pages:
                yield from map(_entry, page)

    def delete(self, name: str) -> None:
        with _told():
            obstore.delete(self._store, name)

    def check(self) -> None:
        for _ in self.list("", ""):
            return

    def tidy(self, before: float) -> int:
        return self._aborts(before)

    def _with(self, seconds: float, retries: int) -> Any:
        return self._make(
            client_options={
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=min(10.0, seconds)),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=4 * seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=200),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
        )


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())


@contextmanager
def _told(creating: bool = False) -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise cloud_error(error, creating) from None
    except FileNotFoundError as error:  # obstore's error for what is not there is Python's
        raise cloud_error(error, creating) from None
    except (TimeoutError, ConnectionError) as error:
        raise CloudError(Kind.UNREACHABLE, type(error).__name__) from None
