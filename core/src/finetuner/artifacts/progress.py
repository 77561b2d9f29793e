"""What a watcher of a transfer sees: a bar with bytes, rate and what was not sent again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Told of a transfer as it goes; called from several threads."""

    def total(self, size: int) -> None:
        """So many bytes are to be there in the end."""

    def done(self, size: int, moved: bool) -> None:
        """So many more are: ``moved`` now, or found where they belong."""

    def settled(self) -> None:
        """The data is all there; what remains is small."""


class Count:
    """Counts bytes, and watches nothing else."""

    def __init__(self) -> None:
        self.size = self.moved = self.found = 0
        self._lock = threading.Lock()

    def total(self, size: int) -> None:
        self.size = size

    def done(self, size: int, moved: bool) -> None:
        with self._lock:
            if moved:
                self.moved += size
            else:
                self.found += size

    def settled(self) -> None:
        pass


class Bar(Count):
    """A rich bar on standard error."""

    def __init__(self, title: str) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self.bar.add_task(title, total=None, note="")

    def total(self, size: int) -> None:
        super().total(size)
        self.bar.update(self._task, total=size)

    def done(self, size: int, moved: bool) -> None:
        super().done(size, moved)
        note = f"{self.found / 2**20:.1f} MiB there already" if self.found else ""
        self.bar.update(self._task, advance=size, note=note)

    def settled(self) -> None:
        self.bar.update(self._task, completed=self.size)


@contextmanager
def watching(title: str, shown: bool | None) -> Iterator[Watcher]:
    """A bar for the length of the block; ``shown=None`` means: on a terminal."""
    if shown is None:
        import sys

        shown = sys.stderr.isatty()
    if not shown:
        yield Count()
        return
    bar = Bar(title)
    with bar.bar:
        yield bar
