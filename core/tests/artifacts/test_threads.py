"""Many at once, in order, never far ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from finetuner.artifacts.threads import ahead, parallel


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(parallel(slow_first, range(20), 4)) == [item * item for item in range(20)]


def test_items_run_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=10)
    assert len(list(parallel(lambda item: barrier.wait(), range(4), 4))) == 4


def test_items_are_taken_only_as_results_are() -> None:
    taken: list[int] = []

    def items() -> object:
        for item in range(100):
            taken.append(item)
            yield item

    results = parallel(lambda item: item, items(), 2)  # type: ignore[arg-type]
    assert next(results) == 0
    assert len(taken) == 4
    results.close()  # type: ignore[attr-defined]


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        done.append(item)
        return item

    results = parallel(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("finetuner-transfer")]


def test_one_item_is_made_ahead_while_another_is_used() -> None:
    made: list[int] = []
    two = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                two.set()
            yield number

    taken = ahead(items())
    assert next(taken) == 0
    assert two.wait(5)
    assert made == [0, 1]
    assert list(taken) == [1, 2, 3, 4]


def test_an_error_of_making_an_item_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("no more")

    taken = ahead(items())
    assert next(taken) == 0
    with pytest.raises(ValueError, match="no more"):
        next(taken)
