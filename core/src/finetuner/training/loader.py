"""Batches of one epoch, made ahead of the step by a thread, always in the same order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import numpy as np

from finetuner.contracts import Batch, Inputs

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2
"""Batches that lie ready: one being used up, one made."""

_POLL = 0.1


class Rows(Protocol):
    """Encoded rows that can be cut into batches, as ``finetuner.data.Encoded``."""

    @property
    def lengths(self) -> np.ndarray | None:
        """Length of each row, or ``None`` where all are of one shape."""

    def __len__(self) -> int: ...

    def chunks(
        self, rows: np.ndarray, count: int, *, epoch: int | None = None
    ) -> tuple[tuple[Inputs, ...], np.ndarray]:
        """The batch in ``count`` chunks of like length, and ``rows`` in the chunks' order."""


def batch_key(seed: int, epoch: int, step: int) -> int:
    """The random key of one batch: the same for the same three numbers, on any machine.

    The first 32-bit word that numpy's ``SeedSequence([seed, epoch, step])``
    yields; ``step`` counts from 0 within the epoch.
    """
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])


def batches(
    encoded: Rows,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    *,
    chunks: int,
    seed: int,
    epoch: int,
    start: int = 0,
) -> Generator[Batch, None, None]:
    """The batches of ``epoch`` from its step ``start`` on; ``rows`` are all of its batches'."""

    def make(step: int) -> Batch:
        parts, order = encoded.chunks(rows[step], chunks, epoch=epoch)
        return Batch(tuple(parts), labels[order], batch_key(seed, epoch, step))

    return prefetch(make, range(start, len(rows)))


def prefetch(
    make: Callable[[T], R], items: Iterable[T], depth: int = DEPTH
) -> Generator[R, None, None]:
    """``map(make, items)`` with a thread that works up to ``depth`` results ahead.

    What ``make`` raises is raised here, in its place in the order. The thread has
    ended when the iterator is closed or used up.
    """
    ready: queue.Queue[tuple[R | None, BaseException | None] | None] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(entry: tuple[R | None, BaseException | None] | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer((make(item), None)):
                    return
            offer(None)
        except BaseException as error:
            offer((None, error))

    thread = threading.Thread(target=work, name="finetuner-loader", daemon=True)
    thread.start()
    try:
        while (entry := ready.get()) is not None:
            result, error = entry
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        stopped.set()
        with suppress(queue.Empty):
            while True:
                ready.get_nowait()
        thread.join()
