from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from finetuner.builtin import numpy_xp
from finetuner.learning.miners import batch_all, easy_hard, hard, semi_hard

LABELS = np.array([0, 0, 0, 1, 1, 2])
DISTANCES = np.array(
    [
        [0.0, 0.3, 0.9, 0.5, 0.7, 1.0],
        [0.3, 0.0, 0.4, 0.2, 0.8, 0.6],
        [0.9, 0.4, 0.0, 0.1, 0.2, 0.3],
        [0.5, 0.2, 0.1, 0.0, 0.6, 0.9],
        [0.7, 0.8, 0.2, 0.6, 0.0, 0.1],
        [1.0, 0.6, 0.3, 0.9, 0.1, 0.0],
    ],
    np.float32,
)
"""Symmetric; classes of three, two and one item."""


def mine(miner: Any, distances: Any = DISTANCES, labels: Any = LABELS, **options: Any) -> Any:
    is_self = np.eye(len(labels), dtype=bool)
    return miner(numpy_xp, distances, labels, labels, is_self, 0, **options)


def listed(mined: Any) -> list[tuple[int, int, int]]:
    return [(int(a), int(p), int(mined.negative[a, p])) for a, p in np.argwhere(mined.valid)]


def brute_force_weights(distances: Any, triplets: Any, margin: float) -> np.ndarray:
    weights = np.zeros(distances.shape)
    for a, p, n in triplets:
        if distances[a, p] + np.float32(margin) - distances[a, n] > 1e-6:
            weights[a, p] += 1
            weights[a, n] -= 1
    return weights


@st.composite
def batches(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and distances on a grid of 1/16 on which ties abound."""
    size = draw(st.integers(2, 9))
    labels = draw(npst.arrays(np.int64, size, elements=st.integers(0, 3)))
    grid = draw(npst.arrays(np.int64, (size, size), elements=st.integers(0, 32)))
    return labels, (grid / 16).astype(np.float32)


def test_hard_by_hand() -> None:
    expected = [(0, 2, 3), (1, 2, 3), (2, 0, 3), (3, 4, 2), (4, 3, 5)]
    assert listed(mine(hard)) == expected


def test_easy_hard_by_hand() -> None:
    expected = [(0, 1, 3), (1, 0, 3), (2, 1, 3), (3, 4, 2), (4, 3, 5)]
    assert listed(mine(easy_hard)) == expected


def test_semi_hard_by_hand() -> None:
    expected = [
        (0, 1, 3),  # 0.3: next greater negative 0.5
        (0, 2, 5),  # 0.9: 1.0
        (1, 0, 5),  # 0.3: 0.6
        (1, 2, 5),  # 0.4: 0.6
        (2, 0, 5),  # 0.9: none is further, so the furthest, 0.3
        (2, 1, 5),  # 0.4: the same
        (3, 4, 5),  # 0.6: 0.9
        (4, 3, 0),  # 0.6: 0.7
    ]
    assert listed(mine(semi_hard)) == expected


def test_a_negative_as_far_as_the_positive_is_not_further() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    distances = np.zeros((5, 5), np.float32)
    distances[0] = [0.0, 0.5, 0.5, 0.75, 0.5]
    assert listed(mine(semi_hard, distances, labels))[0] == (0, 1, 3)


def test_batch_all_by_hand() -> None:
    # Anchor 3 of class 1: its positive at 0.6 with margin 0.2 is behind the negatives
    # at 0.5, 0.2 and 0.1, and before 0.9.
    np.testing.assert_array_equal(mine(batch_all, margin=0.2).weights[3], [-1, -1, -1, 0, 3, 0])


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2, 5.0])
def test_batch_all_counts_the_active_triplets(margin: float, triplets: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 24)
    distances = rng.random((24, 24)).astype(np.float32)
    expected = brute_force_weights(distances, triplets(labels), margin)
    np.testing.assert_array_equal(
        mine(batch_all, distances, labels, margin=margin).weights, expected
    )


@given(batches(), st.sampled_from([0.0, 0.125, 0.5]))
def test_a_triplet_whose_loss_is_exactly_zero_is_not_active(batch: Any, margin: float) -> None:
    labels, distances = batch
    expected = np.zeros(distances.shape)
    for a, p, n in np.ndindex(*(len(labels),) * 3):
        if (
            a != p
            and labels[a] == labels[p] != labels[n]
            and distances[a, p] + margin > distances[a, n]
        ):
            expected[a, p] += 1
            expected[a, n] -= 1
    np.testing.assert_array_equal(
        mine(batch_all, distances, labels, margin=margin).weights, expected
    )


@given(batches())
def test_triplet_miners_agree_with_brute_force(batch: Any) -> None:
    labels, distances = batch
    rows = range(len(labels))
    semi, hardest, easiest = [], [], []
    for a in rows:
        positives = [p for p in rows if p != a and labels[p] == labels[a]]
        negatives = [n for n in rows if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        d = distances[a]
        nearest = min(negatives, key=lambda n: d[n])
        hardest.append((a, max(positives, key=lambda p: d[p]), nearest))
        easiest.append((a, min(positives, key=lambda p: d[p]), nearest))
        for p in positives:
            further = [n for n in negatives if d[n] > d[p]]
            chosen = min(further, key=lambda n: d[n]) if further else None
            semi.append((a, p, max(d[n] for n in negatives) if chosen is None else d[chosen]))
    assert listed(mine(hard, distances, labels)) == hardest
    assert listed(mine(easy_hard, distances, labels)) == easiest
    found = [(a, p, distances[a, n]) for a, p, n in listed(mine(semi_hard, distances, labels))]
    assert found == semi


@pytest.mark.parametrize("miner", [hard, easy_hard, semi_hard])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_triplets_yields_none(miner: Any, labels: list[int]) -> None:
    distances = np.ones((3, 3), np.float32)
    assert not mine(miner, distances, np.array(labels)).valid.any()
    assert not mine(batch_all, distances, np.array(labels)).weights.any()


def test_references_may_be_more_than_the_batch(triplets: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    labels, references = np.array([0, 1, 2]), np.array([0, 1, 1, 0, 3, 2, 0])
    distances = rng.random((3, 7)).astype(np.float32)
    is_self = np.zeros((3, 7), dtype=bool)
    arguments = (numpy_xp, distances, labels, references, is_self, 0)
    expected = brute_force_weights(distances, triplets(labels, references), 0.3)
    np.testing.assert_array_equal(batch_all(*arguments, margin=0.3).weights, expected)
    for a, p, n in listed(hard(*arguments)):
        assert distances[a, p] == distances[a, references == labels[a]].max()
        assert distances[a, n] == distances[a, references != labels[a]].min()


@pytest.mark.parametrize("miner", [batch_all, semi_hard])
def test_blocks_of_rows_give_the_same(miner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels, distances = rng.integers(0, 4, 17), rng.random((17, 17)).astype(np.float32)
    whole = mine(miner, distances, labels)
    monkeypatch.setattr("finetuner.learning.rows.BLOCK_ELEMENTS", 3 * 17)
    blocked = mine(miner, distances, labels)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(blocked, name), value)
