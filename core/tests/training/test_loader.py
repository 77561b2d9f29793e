"""The prefetching thread and the keys of batches."""

from __future__ import annotations

import threading
import time
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.training.loader import batch_key, prefetch


def loaders() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "finetuner-loader"]


@given(st.lists(st.integers(), max_size=20), st.integers(1, 4))
def test_results_come_in_order(items, depth):
    assert list(prefetch(lambda x: x + 1, items, depth)) == [x + 1 for x in items]


def test_it_works_ahead_but_no_further_than_it_may():
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item

    results = prefetch(make, range(100), 2)
    assert next(results) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    # One handed over, two in the queue, one waiting for room.
    assert made == [0, 1, 2, 3]
    results.close()


def test_an_error_is_raised_in_its_place():
    def make(item: int) -> int:
        if item == 2:
            raise ValueError("third")
        return item

    results = prefetch(make, range(5))
    assert list(islice(results, 2)) == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(results)
    assert not loaders()


def test_closing_ends_the_thread_at_once():
    results = prefetch(lambda x: x, iter(range(10**9)))
    next(results)
    results.close()
    assert not loaders()


def test_a_key_is_that_of_numpys_documented_seed_sequence():
    assert batch_key(1, 2, 3) == np.random.SeedSequence([1, 2, 3]).generate_state(1)[0]
    keys = {batch_key(0, epoch, step) for epoch in range(20) for step in range(20)}
    assert len(keys) == 400
    assert all(0 <= key < 2**32 for key in keys)
