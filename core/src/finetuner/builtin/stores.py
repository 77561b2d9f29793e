"""Core's own stores: a directory, and this process's memory."""

from __future__ import annotations

from functools import cache

from finetuner.contracts import Store, StoreRecord


def _open_local(url: str) -> Store:
    from finetuner.artifacts.local_store import LocalStore

    return LocalStore.from_url(url)


def _open_memory(url: str) -> Store:
    return _memory_at(url.rstrip("/") if len(url) > len("memory://") else url)


@cache
def _memory_at(url: str) -> Store:
    """The same URL is the same store for as long as the process lives."""
    from finetuner.artifacts.memory_store import MemoryStore

    return MemoryStore(url)


STORES = (
    StoreRecord(schemes=("file",), open=_open_local),
    StoreRecord(schemes=("memory",), open=_open_memory),
)
