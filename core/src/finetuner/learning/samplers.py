"""Which examples share a batch: P classes × K items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetuner.errors import DataError, UsageError
from finetuner.learning.batching import barren, deal, fill, merge
from finetuner.learning.grouping import Groups, Layout, group

_NAMED = 3
"""How many classes a warning names."""

_ODD = 2
"""How many batches of an epoch may be of another size without a warning."""


def class_balanced(
    labels: np.ndarray, batch_size: int, num_items_per_class: int, seed: int = 0
) -> ClassBalancedSampler:
    """A sampler of batches of ``batch_size / num_items_per_class`` classes.

    Raises ``UsageError`` where the batch size cannot be cut that way or fits no
    triplet, ``DataError`` where fewer than two classes have two items.
    """
    _check_batch(batch_size, num_items_per_class)
    labels = np.asarray(labels)
    _check_labels(labels)
    return ClassBalancedSampler(labels, batch_size, num_items_per_class, seed)


def split_over_ranks(rows: np.ndarray, rank: int, world: int) -> np.ndarray:
    """The part of a batch that process ``rank`` of ``world`` embeds: consecutive, nearly equal.

    Embeddings gathered in the order of ranks follow ``rows`` again. Raises
    ``UsageError`` where a rank would have no row.
    """
    if not 0 <= rank < world:
        raise UsageError(f"rank {rank} is not one of {world} processes: ranks count from 0")
    if len(rows) < world:
        raise UsageError(f"a batch of {len(rows)} rows cannot be split over {world} processes")
    return np.array_split(rows, world)[rank]


@dataclass(frozen=True, eq=False)
class ClassBalancedSampler:
    """Batches of P classes × K items.

    An epoch holds every example once, and at most K - 1 repeats a class, which
    fill its last group. Classes with one item are dealt out singly: they are
    negatives only. The classes of a batch differ as long as no class has more
    groups than there are batches. All batches hold ``batch_size`` rows but the
    last two at most, and every batch holds a triplet.

    Where one class, or the classes with one item, are so many that batches would
    be left without a triplet, what is scarce is spread evenly and the many fill
    the batches up. Only where it does not reach for one triplet a batch are
    batches made larger, and a warning says so.
    """

    labels: np.ndarray
    batch_size: int
    num_items_per_class: int
    seed: int = 0

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of epoch ``number`` as row indices, whenever it is asked for the same.

        A run that is resumed after n batches goes on with ``epoch(number)[n:]``.
        """
        rng = np.random.default_rng((self.seed, number))
        batches = self._lay_out(group(self.labels, self.num_items_per_class, rng), rng)
        shuffled = [batches[i] for i in rng.permutation(len(batches))]
        full = [batch for batch in shuffled if len(batch) == self.batch_size]
        odd = [batch for batch in shuffled if len(batch) != self.batch_size]
        return merge(full + odd, barren(full + odd, self.labels))

    def steps(self, number: int) -> int:
        """How many batches epoch ``number`` has."""
        return len(self.epoch(number))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about these labels, in words."""
        values, counts = np.unique(self.labels, return_counts=True)
        return (*_single_warning(values[counts == 1]), *self._size_warning(values, counts))

    def _lay_out(self, groups: Groups, rng: np.random.Generator) -> list[np.ndarray]:
        match groups.layout(self.batch_size // self.num_items_per_class):
            case Layout.ONE_CLASS_FILLS:
                scarce, filler = groups.around_largest()
                return fill(scarce, filler, self.batch_size)
            case Layout.SINGLES_FILL:
                return fill(groups.pairs(), groups.singles, self.batch_size)
            case Layout.EVEN:
                return deal(groups, self.batch_size // self.num_items_per_class, rng)

    def _size_warning(self, values: np.ndarray, counts: np.ndarray) -> tuple[str, ...]:
        sizes = [len(batch) for batch in self.epoch(0)]
        larger = sum(size > self.batch_size for size in sizes)
        if larger <= _ODD:
            return ()
        most = counts.argmax()
        return (
            f"{larger} of {len(sizes)} batches hold more than batch_size={self.batch_size} rows "
            f"(up to {max(sizes)}), so that each still holds a triplet: "
            f"{(counts == 1).sum()} of {len(values)} classes have one item and class "
            f"{values[most]} has {counts[most]} of {len(self.labels)} rows; leave some out",
        )


def _single_warning(single: np.ndarray) -> tuple[str, ...]:
    if not len(single):
        return ()
    named = ", ".join(str(value) for value in single[:_NAMED])
    more = ", …" if len(single) > _NAMED else ""
    which = "1 class has" if len(single) == 1 else f"{len(single)} classes have"
    return (f"{which} one item only (label {named}{more}): negatives only, never a positive",)


def _check_batch(batch_size: int, num_items_per_class: int) -> None:
    if num_items_per_class < 2:
        raise UsageError(
            f"num_items_per_class is {num_items_per_class}: a positive pair takes 2 or more"
        )
    if batch_size % num_items_per_class:
        below = batch_size - batch_size % num_items_per_class
        near = max(below, 2 * num_items_per_class)
        raise UsageError(
            f"batch_size {batch_size} is not a multiple of num_items_per_class "
            f"{num_items_per_class}: use {near}, or {near + num_items_per_class}"
        )
    if batch_size < 2 * num_items_per_class:
        raise UsageError(
            f"batch_size {batch_size} holds one class of {num_items_per_class} items and fits no "
            f"triplet: use {2 * num_items_per_class} or more, or fewer num_items_per_class"
        )


def _check_labels(labels: np.ndarray) -> None:
    if not len(labels):
        raise DataError("there are no rows to sample batches from")
    counts = np.unique(labels, return_counts=True)[1]
    pairable = int((counts >= 2).sum())
    if pairable < 2:
        raise DataError(
            f"{pairable} of {len(counts)} classes in {len(labels)} rows have two items or more: "
            "a triplet takes at least two such classes; give more items a class, or more classes"
        )
