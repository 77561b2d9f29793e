"""A store as its conformance suite sees it, and what the parts of the suite share."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest

from finetuner.contracts import Store
from finetuner.testing.suite import ConformanceSuite

Result = TypeVar("Result")

CREATE_IF_ABSENT = "create-if-absent"
"""Of any number of writers with ``if_absent``, in any number of processes, one wins."""

SERVER_CLOCK = "server-clock"
"""``modified`` is told by the store's clock, whatever this machine's says."""

STREAMING = "streaming"
"""A put holds a bounded part of the stream in memory, however long that is."""

CAPABILITIES = frozenset({CREATE_IF_ABSENT, SERVER_CLOCK, STREAMING})


@dataclass(frozen=True)
class StoreCase:
    """A fresh, empty store and the ways around it.

    ``read_raw(key)`` gives an object's bytes (``None``: there is none) and
    ``keys_raw()`` everything that is kept, uploads that were never finished and
    temporary files included; both go past the store, with another client.
    ``reopen()`` opens the same place as another process would.

    A store behind HTTP names its server in ``endpoint`` (``http://127.0.0.1:9000``)
    and opens itself through another in ``open_at(endpoint)``, with time-outs of a
    second or two: that is how faults get in its way. After ``patience`` seconds a
    call counts as one that never ends. ``missing()`` opens a store whose bucket is
    not there. ``large`` is the size in bytes of an object that takes several parts.
    """

    store: Store
    read_raw: Callable[[str], bytes | None]
    keys_raw: Callable[[], set[str]]
    reopen: Callable[[], Store]
    endpoint: str = ""
    open_at: Callable[[str], Store] | None = None
    missing: Callable[[], Store] | None = None
    large: int = 24 << 20
    patience: float = 30.0
    capabilities: frozenset[str] = CAPABILITIES


class StoreSuite(ConformanceSuite):
    """Where the parts of the suite get their case from."""

    @pytest.fixture
    def case(self) -> StoreCase:
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture case that gives a StoreCase"
        )


def needs(case: StoreCase, capability: str) -> None:
    """Skip the test where the store does not claim ``capability``."""
    if capability not in case.capabilities:
        pytest.skip(f"{case.store.url} does not claim {capability!r}")


def put(store: Store, key: str, data: bytes = b"0123456789", *, if_absent: bool = False) -> None:
    """Write ``data`` from a stream."""
    store.put(key, io.BytesIO(data), if_absent=if_absent)


def read(store: Store, key: str, start: int = 0, end: int | None = None) -> bytes:
    """The bytes at ``key``, read to the end of the stream."""
    with store.get(key, start, end) as stream:
        return stream.read()


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    """Keys as the store lists them."""
    return [info.key for info in store.list(prefix, after)]


def pattern(size: int, seed: int = 1) -> bytes:
    """``size`` bytes in which no part of a few kilobytes repeats at once."""
    block = bytes((seed + number * number // 7) % 251 for number in range(65_521))
    return (block * (size // len(block) + 1))[:size]


def together(calls: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
    """What the calls gave or raised, each in a thread of its own, all let go at once."""
    barrier = threading.Barrier(len(calls))
    results: list[Result | Exception] = [RuntimeError("did not end")] * len(calls)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
