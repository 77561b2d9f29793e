from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.errors import DataError, UsageError
from finetuner.learning.samplers import class_balanced, split_over_ranks

counts_of_classes = st.lists(st.integers(1, 30), min_size=2, max_size=12).filter(
    lambda counts: sum(count >= 2 for count in counts) >= 2
)
unbalanced = st.one_of(
    counts_of_classes,
    st.tuples(counts_of_classes, st.integers(50, 400)).map(lambda drawn: [*drawn[0], drawn[1]]),
    st.tuples(counts_of_classes, st.integers(20, 200)).map(lambda drawn: drawn[0] + [1] * drawn[1]),
)
shapes = st.tuples(st.integers(2, 6), st.integers(2, 5))


def labels_of(counts: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 7, counts))


def holds_triplet(labels: np.ndarray) -> bool:
    counts = Counter(labels.tolist()).values()
    return len(counts) >= 2 and max(counts) >= 2


@settings(max_examples=200, deadline=None)
@given(unbalanced, shapes, st.integers(0, 3))
def test_an_epoch_keeps_its_promise(counts: list[int], shape: tuple[int, int], number: int) -> None:
    classes, items = shape
    labels = labels_of(counts)
    batches = class_balanced(labels, classes * items, items, 1).epoch(number)
    drawn = Counter(np.concatenate(batches).tolist())
    assert set(drawn) == set(range(len(labels)))
    repeats: Counter[int] = Counter()
    for row, times in drawn.items():
        repeats[labels[row]] += times - 1
    assert max(repeats.values()) <= items - 1
    assert all(holds_triplet(labels[batch]) for batch in batches)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 6), st.integers(2, 5), st.integers(2, 12), st.integers(0, 10), st.data())
def test_batches_are_full_and_their_classes_differ(
    classes: int, items: int, batches: int, more: int, data: st.DataObject
) -> None:
    """As long as no class has more groups than there are full batches."""
    groups = data.draw(
        st.lists(st.integers(1, batches), min_size=classes + more, max_size=classes + more).filter(
            lambda groups: sum(groups) >= classes * (batches + 1)
        )
    )
    labels = labels_of([group * items for group in groups])
    size = classes * items
    found = class_balanced(labels, size, items, 0).epoch(0)
    assert all(len(batch) == size for batch in found[:-2])
    for batch in found:
        if len(batch) == size:
            assert set(Counter(labels[batch].tolist()).values()) == {items}


def test_a_batch_holds_p_classes_of_k_items() -> None:
    labels = labels_of([8] * 12)
    for batch in class_balanced(labels, 24, 4, 0).epoch(0):
        assert sorted(Counter(labels[batch].tolist()).values()) == [4] * 6


def test_few_classes_share_a_batch_evenly() -> None:
    labels = labels_of([100] * 3)
    for batch in class_balanced(labels, 32, 4, 0).epoch(0)[:-1]:
        assert len(batch) == 32
        assert min(Counter(labels[batch].tolist()).values()) >= 8


def test_one_class_of_nine_tenths_leaves_every_batch_full() -> None:
    labels = labels_of([900, 40, 30, 30])
    batches = class_balanced(labels, 32, 4, 0).epoch(0)
    assert [len(batch) for batch in batches[:-2]] == [32] * (len(batches) - 2)
    assert all(holds_triplet(labels[batch]) for batch in batches)
    assert class_balanced(labels, 32, 4, 0).warnings == ()


def test_what_does_not_reach_for_a_triplet_each_makes_larger_batches_and_a_warning() -> None:
    labels = labels_of([990, 5, 5])
    sampler = class_balanced(labels, 32, 4, 0)
    batches = sampler.epoch(0)
    assert len(batches) == 10
    assert {len(batch) for batch in batches} == {100}
    (warning,) = sampler.warnings
    assert "10 of 10 batches hold more than batch_size=32 rows (up to 100)" in warning
    assert "class 0 has 990 of 1000 rows" in warning


def test_classes_with_one_item_are_counted_and_never_doubled() -> None:
    labels = labels_of([8, 8, 8, 1, 1])
    sampler = class_balanced(labels, 8, 4, 0)
    (warning,) = sampler.warnings
    assert warning.startswith("2 classes have one item only (label 21, 28)")
    drawn = Counter(np.concatenate(sampler.epoch(0)).tolist())
    assert all(drawn[row] == 1 for row in np.flatnonzero(labels >= 21))


def test_balanced_classes_need_no_warning() -> None:
    assert class_balanced(labels_of([8] * 8), 16, 4, 0).warnings == ()


def test_the_same_seed_and_epoch_give_the_same_batches() -> None:
    labels = labels_of([20] * 10)
    first, again = (class_balanced(labels, 16, 4, 5) for _ in range(2))
    for one, other in zip(first.epoch(3), again.epoch(3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.steps(3) == len(first.epoch(3))


@pytest.mark.parametrize(("seed", "number"), [(5, 4), (6, 3)])
def test_another_seed_or_epoch_gives_other_batches(seed: int, number: int) -> None:
    labels = labels_of([20] * 10)
    one = np.concatenate(class_balanced(labels, 16, 4, 5).epoch(3))
    other = np.concatenate(class_balanced(labels, 16, 4, seed).epoch(number))
    assert not np.array_equal(one, other)


def test_any_two_classes_meet() -> None:
    """Classes are mixed anew, so that over some epochs each pair shares a batch."""
    labels = labels_of([12] * 12)
    sampler = class_balanced(labels, 16, 4, 0)
    met = {
        (a, b)
        for number in range(12)
        for batch in sampler.epoch(number)
        for a in labels[batch].tolist()
        for b in labels[batch].tolist()
    }
    assert len(met) == 12 * 12


@pytest.mark.parametrize(
    ("batch_size", "items", "message"),
    [
        (30, 4, "batch_size 30 is not a multiple of num_items_per_class 4: use 28, or 32"),
        (6, 4, "use 8, or 12"),
        (4, 4, "batch_size 4 holds one class of 4 items and fits no triplet: use 8"),
        (8, 1, "num_items_per_class is 1"),
        (0, 4, "batch_size 0"),
    ],
)
def test_a_batch_that_fits_no_triplet_is_refused(batch_size: int, items: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        class_balanced(labels_of([8] * 8), batch_size, items, 0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5], "1 of 1 classes in 5 rows have two items or more"),
        ([5, 1, 1], "1 of 3 classes in 7 rows"),
        ([1, 1], "0 of 2 classes"),
        ([], "no rows"),
    ],
)
def test_labels_without_two_pairs_are_refused(counts: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_balanced(labels_of(counts), 8, 4, 0)


def test_ranks_split_a_batch_in_order() -> None:
    rows = np.arange(10)
    parts = [split_over_ranks(rows, rank, 3) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert [len(part) for part in parts] == [4, 3, 3]


@pytest.mark.parametrize(("rank", "world"), [(3, 3), (-1, 2), (0, 11)])
def test_a_split_that_cannot_be_is_refused(rank: int, world: int) -> None:
    with pytest.raises(UsageError):
        split_over_ranks(np.arange(10), rank, world)


def test_a_hundred_thousand_rows_take_less_than_half_a_second() -> None:
    labels = np.random.default_rng(0).integers(0, 5000, 100_000)
    sampler = class_balanced(labels, 128, 4, 0)
    begin = time.process_time()
    sampler.epoch(0)
    assert time.process_time() - begin < 0.5
