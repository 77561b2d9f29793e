from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetuner.data.buckets import bucket_of, choose_buckets


def cost(lengths: np.ndarray, buckets: np.ndarray) -> int:
    return sum(min(int(b) for b in buckets if b >= length) for length in lengths)


def test_multiples_of_eight_where_few_are_enough() -> None:
    assert choose_buckets(np.array([3, 8, 9, 30])).tolist() == [8, 16, 30]
    assert choose_buckets(np.array([3, 8, 9, 30]), limit=128).tolist() == [8, 16, 32]


def test_the_limit_is_never_passed() -> None:
    assert choose_buckets(np.array([70, 77]), limit=77).tolist() == [72, 77]


def test_one_bucket_and_none() -> None:
    assert choose_buckets(np.array([3, 40]), most=1, limit=64).tolist() == [40]
    assert choose_buckets(np.array([], dtype=np.int64)).tolist() == []
    assert choose_buckets(np.array([0])).tolist() == [1]


def test_the_bucket_of_a_length_is_the_least_that_holds_it() -> None:
    buckets = np.array([8, 24])
    assert [bucket_of(length, buckets) for length in (1, 8, 9, 24)] == [8, 8, 24, 24]


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=25),
    most=st.integers(1, 4),
)
def test_no_other_choice_of_multiples_pads_less(lengths: list[int], most: int) -> None:
    given_lengths = np.array(lengths)
    buckets = choose_buckets(given_lengths, limit=96, most=most)
    assert len(buckets) <= most
    assert buckets[-1] >= max(lengths)
    candidates = range(8, 97, 8)
    best = min(
        cost(given_lengths, np.array(choice))
        for count in range(1, most + 1)
        for choice in combinations(candidates, count)
        if choice[-1] >= max(lengths)
    )
    assert cost(given_lengths, buckets) == best


@given(lengths=st.lists(st.integers(0, 2000), min_size=1, max_size=200))
def test_at_most_eight_buckets_hold_every_length(lengths: list[int]) -> None:
    buckets = choose_buckets(np.array(lengths))
    assert 1 <= len(buckets) <= 8
    assert (np.diff(buckets) > 0).all()
    assert buckets[-1] >= max(lengths)
