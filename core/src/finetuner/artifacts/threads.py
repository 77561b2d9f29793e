"""Doing many small things at once, in order, and never far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 8
"""Requests under way at a time: each holds a chunk in memory."""

LISTERS = 32
"""Small requests (a ref, a manifest) under way at a time."""


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """``items``, the next of which is made by a thread while one is used.

    What making it raises is raised here in its place; the thread has ended by then.
    """
    pool, iterator, end = ThreadPoolExecutor(1, "finetuner-ahead"), iter(items), object()
    try:
        found = pool.submit(next, iterator, end)
        while (item := found.result()) is not end:
            found = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def parallel(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int = WORKERS,
    waiting: int | None = None,
) -> Iterator[R]:
    """``map(function, items)`` on ``workers`` threads, results in order.

    ``waiting`` more items wait to be begun, by default as many as there are workers.
    What the function raises is raised here in its place; what was not begun by then
    never is, and every thread has ended.
    """
    pool = ThreadPoolExecutor(workers, "finetuner-transfer")
    pending: deque[Future[R]] = deque()
    most = workers + (workers if waiting is None else waiting)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
