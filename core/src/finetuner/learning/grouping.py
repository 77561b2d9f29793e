"""The rows of an epoch in groups of one class each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class Layout(Enum):
    """How the groups of an epoch become batches."""

    EVEN = "every batch gets the same number of groups"
    ONE_CLASS_FILLS = "one class outnumbers the rest: its rows fill up batches of the others"
    SINGLES_FILL = "classes with one item outnumber the rest: they fill up batches of the others"


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of classes with two items or more, and the ``singles`` of all others.

    ``rows`` are sorted by class, in random order within one; ``classes`` gives
    each its class as an index from 0, ``counts`` the rows of each class. ``items``
    (G×K) are the same rows cut into groups of K, each class's last group filled
    up with repeats; ``owners`` (G) is each group's class.
    """

    rows: np.ndarray
    classes: np.ndarray
    counts: np.ndarray
    items: np.ndarray
    owners: np.ndarray
    singles: np.ndarray

    @property
    def single_groups(self) -> int:
        """Groups that the singles make, the last one perhaps not full."""
        return -(-len(self.singles) // int(self.items.shape[1]))

    def layout(self, per_batch: int) -> Layout:
        """What leaves no batch of ``per_batch`` groups without a triplet."""
        total = len(self.items) + self.single_groups
        batches = -(-total // per_batch)
        if total - np.bincount(self.owners).max() < batches:
            return Layout.ONE_CLASS_FILLS
        return Layout.SINGLES_FILL if len(self.items) < batches else Layout.EVEN

    def around_largest(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows of all classes but the largest, one by one, and the rows of that."""
        largest = self.classes == self.counts.argmax()
        rest = np.concatenate([self.rows[~largest], self.singles])
        return list(rest[:, None]), self.rows[largest]

    def pairs(self) -> list[np.ndarray]:
        """Rows two by two of one class; of an odd number the last three together."""
        ends = np.cumsum(self.counts)
        place = np.arange(len(self.rows)) - np.repeat(ends - self.counts, self.counts)
        last = place == np.repeat(self.counts, self.counts) - 1
        starts = np.flatnonzero((place % 2 == 0) & ~last)
        return np.split(self.rows, starts[1:])


def group(labels: np.ndarray, size: int, rng: np.random.Generator) -> Groups:
    """Cut the rows of ``labels``, in random order, into groups of ``size`` of one class.

    A class of fewer rows than ``size`` repeats its own; a last group that is not
    full is filled with rows of the class's other groups.
    """
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = rng.permutation(len(labels))
    order = order[np.argsort(codes[order], kind="stable")]
    paired = counts >= 2
    in_pair = paired[codes[order]]
    rows, kept = order[in_pair], counts[paired]
    padded = -(-kept // size) * size
    owners = np.repeat(np.arange(len(kept)), padded)
    place = np.arange(padded.sum()) - np.repeat(np.cumsum(padded) - padded, padded)
    starts = np.cumsum(kept) - kept
    items = rows[starts[owners] + place % kept[owners]]
    return Groups(
        rows=rows,
        classes=np.repeat(np.arange(len(kept)), kept),
        counts=kept,
        items=items.reshape(-1, size),
        owners=owners[::size],
        singles=rng.permutation(order[~in_pair]),
    )
