"""Leases: what keeps a garbage collection away from a push under way, and the other way round.

A push first writes a lease that names the digests it is about to rely on, then looks
for a collection's lock. A collection first writes its lock, then reads the leases.
So one of them always sees the other: the collection keeps what a lease names, and a
push that sees a lock waits until it is gone. Both hold for :data:`SECONDS` from their
last renewal, by the store's own clock, so that what a killed process leaves behind
stands in nobody's way for long.
"""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from finetuner.artifacts.keys import LEASES, LOCKS, lease_key
from finetuner.artifacts.retry import reliable
from finetuner.artifacts.streams import read_at_most
from finetuner.artifacts.threads import LISTERS, parallel
from finetuner.contracts import ObjectInfo, Store
from finetuner.errors import FinetunerError, NotFoundError, StoreError

SECONDS = 900.0
"""A lease or lock that was not renewed for so long holds no more."""

_RENEWALS = 3
"""Renewals in that time, so that one may fail."""

_MOST_BYTES = 64 << 20

_LONGEST_WAIT = 4 * 3600.0
_POLL = 1.0


class Content(msgspec.Struct, frozen=True):
    """One part of a lease: the tag that a push will move, and digests that it relies on."""

    name: str
    tag: str
    digests: tuple[str, ...] = ()


class Lease:
    """A push's claim on digests; see :func:`leased`."""

    def __init__(self, store: Store, name: str, tag: str) -> None:
        self._store, self._name, self._tag = reliable(store), name, tag
        self._id, self._parts = secrets.token_hex(12), 0
        self._renewed = 0.0
        """When part 0 was last written, by the store's clock."""
        self._last = (0, 0.0)
        """The part written last, and when, by this process's own clock."""
        self._lapsed = False
        self._lock = threading.Lock()

    def protect(self, digests: Iterable[str]) -> None:
        """Name these digests too. When this returns no collection will delete them."""
        self._parts += 1
        self._write(self._parts, tuple(digests))
        self.wait()

    def renew(self) -> bool:
        """Make the lease hold anew from now on.

        ``True`` if it ever ran out, so that a collection may have passed it over or
        taken parts of it away.
        """
        with self._lock:
            self._write(0, ())
            written = self._store.stat(lease_key(self._id, 0)).modified
            if self._renewed and written - self._renewed > SECONDS:
                self._lapsed = True
            self._renewed = written
            return self._lapsed

    def wait(self) -> None:
        """Return when no collection is under way."""
        begun = time.monotonic()
        while any(map(self._holds, list(self._store.list(LOCKS)))):
            if time.monotonic() - begun > _LONGEST_WAIT:
                raise StoreError(
                    f"{self._store.url}: a garbage collection has been going on for hours; look "
                    f"at {LOCKS} in the store, and push again when it is over"
                )
            time.sleep(_POLL)

    def release(self) -> None:
        """Give the lease up, as far as the store allows; what stays runs out by itself."""
        store = self._store.inner

        def delete(number: int) -> None:
            with suppress(FinetunerError):
                store.delete(lease_key(self._id, number))

        for _ in parallel(delete, range(self._parts, -1, -1), LISTERS):
            pass

    def _holds(self, lock: ObjectInfo) -> bool:
        # The store's time is when it took our last part, plus what has passed here since.
        number, then = self._last
        store_time = self._store.stat(lease_key(self._id, number)).modified
        return lock.modified + SECONDS > store_time + (time.monotonic() - then)

    def _write(self, number: int, digests: tuple[str, ...]) -> None:
        data = msgspec.json.encode(Content(self._name, self._tag, digests))
        self._store.put(lease_key(self._id, number), io.BytesIO(data))
        self._last = (number, time.monotonic())


@contextmanager
def leased(store: Store, name: str, tag: str) -> Iterator[Lease]:
    """A lease for the length of the block, renewed by a thread.

    It is given up at the end and after an error; where the process is killed or
    interrupted it runs out by itself, so that a second try finds what was sent.
    """
    lease = Lease(store, name, tag)
    lease.renew()
    with _renewed(lease.renew):
        try:
            yield lease
        except Exception:
            lease.release()
            raise
    lease.release()


@contextmanager
def locked(store: Store) -> Iterator[Callable[[], float]]:
    """A collection's lock for the length of the block.

    Gives a function that renews it and returns the store's time; it raises
    ``StoreError`` if the lock had run out, since pushes may have passed it by.
    """
    key, last = f"{LOCKS}{secrets.token_hex(12)}", [0.0]
    store = reliable(store)

    def renew() -> float:
        store.put(key, io.BytesIO(b"{}"))
        written = store.stat(key).modified
        if last[0] and written - last[0] > SECONDS:
            raise StoreError(
                f"{store.url}: the collection was paused for {written - last[0]:.0f} s and must "
                "not go on; nothing that is needed was deleted: begin it again"
            )
        last[0] = written
        return written

    renew()
    try:
        yield renew
    finally:
        with suppress(FinetunerError):
            store.inner.delete(key)


def live_leases(store: Store, now: float) -> tuple[list[Content], list[str]]:
    """What the leases that hold at the store's time ``now`` say, and the keys of the others."""
    parts: dict[str, list[ObjectInfo]] = {}
    for info in store.list(LEASES):
        parts.setdefault(info.key.split("/")[1], []).append(info)
    live, expired = [], []
    for infos in parts.values():
        if max(info.modified for info in infos) + SECONDS > now:
            live += [info.key for info in infos]
        else:
            expired += [info.key for info in infos]
    found = parallel(lambda key: _read(store, key), live, LISTERS)
    return [content for content in found if content is not None], expired


def other_locks(store: Store, now: float, age: float) -> list[str]:
    """Keys of locks older than the one just written at ``now``, by more than ``age`` seconds."""
    return [info.key for info in store.list(LOCKS) if info.modified + age < now]


def _read(store: Store, key: str) -> Content | None:
    try:
        with store.get(key) as stream:
            return msgspec.json.decode(read_at_most(stream, _MOST_BYTES), type=Content)
    except NotFoundError:  # given up meanwhile: its ref is made, and refs are read later
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{store.url}/{key} is a lease that this finetuner-core cannot read: upgrade it, or "
            f"wait until that push is over ({error})"
        ) from error


@contextmanager
def _renewed(renew: Callable[[], object]) -> Iterator[None]:
    """Call ``renew`` again and again until the block ends; a failure is left to the next time."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(SECONDS / _RENEWALS):
            with suppress(FinetunerError):
                renew()

    thread = threading.Thread(target=work, name="finetuner-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
