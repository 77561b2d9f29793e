"""Doing many small things at once, in order, and never far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 8
"""Requests under way at a time: each holds a chunk in memory."""

LISTERS = 32
"""Small requests (a ref, a manifest) under way at a time."""


def parallel(function: Callable[[T], R], items: Iterable[T], workers: int = WORKERS) -> Iterator[R]:
    """``map(function, items)`` on ``workers`` threads, results in order.

    At most twice as many items are begun as there are workers. What the function
    raises is raised here in its place; what was not begun by then never is, and
    every thread has ended.
    """
    pool = ThreadPoolExecutor(workers, "finetuner-transfer")
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
