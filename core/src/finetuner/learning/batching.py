"""Groups into batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from finetuner.learning.grouping import Groups

_ABSENT = -1


def deal(groups: Groups, per_batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of ``per_batch`` groups; what is left over makes one or two odd ones.

    The classes of a batch differ as long as no class has more groups than there
    are batches; groups of singles count as classes of their own.
    """
    size = groups.items.shape[1]
    missing = -len(groups.singles) % size
    singles = np.append(groups.singles, np.full(missing, _ABSENT)).reshape(-1, size)
    items = np.concatenate([groups.items, singles])
    top = groups.owners.max() + 1
    owners = np.concatenate([groups.owners, top + np.arange(len(singles))])
    full = _full_batches(len(items), per_batch, missing > 0)
    left = _left_over(owners, top, len(items) - full * per_batch, full, missing > 0, rng)
    batches = [items[odd].ravel() for odd in _halves(left, per_batch)]
    batches = [odd[odd != _ABSENT] for odd in batches]
    if full:
        rest = np.delete(np.arange(len(items)), left)
        places = _laps(rest[_by_class(owners[rest], top, full, rng)], owners, full, rng)
        batches += list(items[places].reshape(full, -1))
    return batches


def fill(scarce: list[np.ndarray], filler: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches that share ``scarce`` pieces evenly, filled up with rows of ``filler``.

    Each has one piece at least: where there are fewer pieces than batches, there
    are fewer and larger batches. Two last batches share what is left for them.
    """
    total = sum(map(len, scarce)) + len(filler)
    count = min(-(-total // batch_size), len(scarce))
    cuts = [len(scarce) * number // count for number in range(count + 1)]
    heads = [np.concatenate(scarce[start:end]) for start, end in pairwise(cuts)]
    lacking = np.maximum(_sizes(total, count, batch_size) - [len(head) for head in heads], 0)
    tails = np.split(filler, np.cumsum(lacking)[:-1])
    return [np.concatenate(both) for both in zip(heads, tails, strict=True)]


def barren(batches: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Which batches hold no triplet: one class only, or no class twice."""
    lengths = np.array([len(batch) for batch in batches])
    result = np.zeros(len(batches), dtype=bool)
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        same = (
            np.diff(np.sort(labels[np.stack([batches[i] for i in chosen.tolist()])], axis=1)) == 0
        )
        result[chosen] = same.all(axis=1) | ~same.any(axis=1)
    return result


def merge(batches: Sequence[np.ndarray], without_triplet: np.ndarray) -> list[np.ndarray]:
    """The batches with a triplet; each of the others is added to one of those, last ones first."""
    good = [batch for batch, bad in zip(batches, without_triplet, strict=True) if not bad]
    poor = [batch for batch, bad in zip(batches, without_triplet, strict=True) if bad]
    if not good:
        return [np.concatenate(poor)]
    for number, batch in enumerate(poor):
        place = -1 - number % len(good)
        good[place] = np.concatenate([good[place], batch])
    return good


def _full_batches(total: int, per_batch: int, ragged: bool) -> int:
    """How many batches can be full: no batch of one group, none with a group that is not full."""
    full, left = divmod(total, per_batch)
    return max(full - 1, 0) if left == 1 or (left == 0 and ragged) else full


def _halves(left: np.ndarray, per_batch: int) -> list[np.ndarray]:
    if not len(left):
        return []
    return [left] if len(left) <= per_batch else [left[0::2], left[1::2]]


def _left_over(
    owners: np.ndarray,
    top: int,
    number: int,
    full: int,
    ragged: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """Indices of ``number`` groups for the odd batches, of as many classes as can be.

    What remains must give each of ``full`` batches two classes and a pair, so the
    largest class and the singles step in where others would be missed. The last
    group, where it is not full, is among them.
    """
    if number == 0:
        return np.empty(0, dtype=np.int64)
    counts = np.bincount(owners[owners < top], minlength=top)
    largest = int(counts.argmax())
    spare_others = len(owners) - counts[largest] - full
    spare_pairs = int(counts.sum()) - full
    singles = np.flatnonzero(owners >= top)[::-1]
    first = singles[: int(ragged)]
    wanted = min(number - 1, spare_others) - len(first)
    of_pairs = _round_robin(owners, counts, largest, full, min(wanted, spare_pairs - 1), rng)
    more = singles[len(first) :][: max(wanted - len(of_pairs), 0)]
    others = np.concatenate([of_pairs, first, more])
    own = np.flatnonzero(owners == largest)[: number - len(others)]
    return np.concatenate([own[:1], others, own[1:]])


def _round_robin(
    owners: np.ndarray,
    counts: np.ndarray,
    largest: int,
    full: int,
    number: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """``number`` groups of classes other than ``largest``, one of each class before a second.

    Classes with more groups than batches come first, the others by chance.
    """
    indices = np.flatnonzero((owners < len(counts)) & (owners != largest))
    turn = np.arange(len(indices)) - np.searchsorted(owners[indices], owners[indices])
    excess = np.maximum(counts - full, 0)[owners[indices]]
    chance = rng.random(len(counts))[owners[indices]]
    return indices[np.lexsort((chance, -excess, turn))][: max(number, 0)]


def _by_class(owners: np.ndarray, top: int, full: int, rng: np.random.Generator) -> np.ndarray:
    """An order of groups: classes that reach every batch first, largest first; singles last."""
    kinds, inverse, counts = np.unique(owners, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(kinds)), -np.where(counts >= full, counts, 0), kinds >= top))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.argsort(rank[inverse], kind="stable")


def _laps(
    sequence: np.ndarray, owners: np.ndarray, full: int, rng: np.random.Generator
) -> np.ndarray:
    """Deal groups, classes one after the other, over ``full`` batches: batch × lap.

    Every lap visits each batch once in a random order. A class that goes on from
    one lap into the next visits the batches first that it has not been to.
    """
    laps = sequence.reshape(-1, full)
    dealt = np.empty((full, len(laps)), dtype=np.int64)
    visited = np.empty(0, dtype=np.int64)
    for number, lap in enumerate(laps):
        classes = owners[lap]
        going_on = 0
        if number and classes[0] == owners[laps[number - 1][-1]]:
            going_on = _leading(classes)
        order = rng.permutation(full)
        if going_on:
            order = order[np.argsort(np.isin(order, visited), kind="stable")]
            order[going_on:] = rng.permutation(order[going_on:])
        dealt[order, number] = lap
        visited = order[full - _leading(classes[::-1]) :]
    return dealt


def _leading(classes: np.ndarray) -> int:
    """How many entries at the start equal the first."""
    different = classes != classes[0]
    return int(different.argmax()) if different.any() else len(classes)


def _sizes(total: int, count: int, batch_size: int) -> np.ndarray:
    """Rows a batch: ``batch_size``, the last two sharing what is left; more where they must."""
    if total > count * batch_size:
        return total // count + (np.arange(count) < total % count)
    sizes = np.full(count, batch_size)
    sizes[-1] = total - (count - 1) * batch_size
    if count > 1 and 2 * sizes[-1] < batch_size:
        both = batch_size + sizes[-1]
        sizes[-2:] = both - both // 2, both // 2
    return sizes
