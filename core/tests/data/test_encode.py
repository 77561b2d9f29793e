from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetuner.contracts import Preprocessing
from finetuner.data.encode import EncodedRows, EncodedText, map_rows
from finetuner.data.text import Tokens
from finetuner.errors import UsageError

MakeSpec = Callable[..., Preprocessing]


def encoded_text(lengths: list[int], spec: Preprocessing, limit: int | None = None) -> EncodedText:
    """Text i is the token i + 1, as often as its length says."""
    ids = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths)
    return EncodedText.build(Tokens(ids, np.cumsum([0, *lengths])), spec, limit)


def test_chunks_are_sorted_by_length_and_padded_to_buckets(text_spec: MakeSpec) -> None:
    encoded = encoded_text([30, 3, 9, 8], text_spec(), limit=64)
    chunks, rows = encoded.chunks(np.array([0, 1, 2, 3]), 2)
    assert rows.tolist() == [1, 3, 2, 0]
    assert [chunk["input_ids"].shape for chunk in chunks] == [(2, 8), (2, 32)]
    assert chunks[0]["input_ids"][:, 0].tolist() == [2, 4]
    assert chunks[1]["attention_mask"].sum(axis=1).tolist() == [9, 30]


def test_texts_of_one_length_keep_their_order(text_spec: MakeSpec) -> None:
    encoded = encoded_text([4, 4, 4, 2], text_spec())
    assert encoded.chunks(np.array([2, 0, 3, 1]), 1)[1].tolist() == [3, 2, 0, 1]


def test_fewer_rows_than_chunks(text_spec: MakeSpec) -> None:
    chunks, _ = encoded_text([1, 2, 3], text_spec()).chunks(np.array([2, 0]), 4)
    assert [len(chunk["input_ids"]) for chunk in chunks] == [1, 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    count=st.integers(1, 6),
    data=st.data(),
)
def test_chunks_hold_every_row_whole_at_eight_lengths_at_most(
    lengths: list[int], count: int, data: st.DataObject, text_spec: MakeSpec
) -> None:
    encoded = encoded_text(lengths, text_spec())
    seen: set[int] = set()
    for _ in range(3):
        batch = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=40))
        chunks, rows = encoded.chunks(np.array(batch), count)
        assert sorted(rows.tolist()) == sorted(batch)
        assert (np.diff(encoded.lengths[rows]) >= 0).all()
        sizes = [len(chunk["input_ids"]) for chunk in chunks]
        assert len(sizes) == min(count, len(batch))
        assert max(sizes) - min(sizes) <= 1
        stacked = [ids for chunk in chunks for ids in chunk["input_ids"]]
        for row, ids in zip(rows, stacked, strict=True):
            assert np.bincount(ids, minlength=row + 2)[row + 1] == lengths[row]
        seen |= {chunk["input_ids"].shape[1] for chunk in chunks}
    assert seen <= set(encoded.buckets.tolist())
    assert len(encoded.buckets) <= 8


def test_rows_of_one_shape_stay_together_in_their_order() -> None:
    """Batch statistics of a part of the batch would tell which part, and so which classes."""
    encoded = EncodedRows("array", 5, lambda row, _: np.array([row]))
    chunks, rows = encoded.chunks(np.array([4, 0, 2]), 2)
    assert rows.tolist() == [4, 0, 2]
    assert [chunk["array"].tolist() for chunk in chunks] == [[[4], [0], [2]]]
    assert encoded.lengths is None
    assert len(encoded) == 5


def test_the_epoch_reaches_the_rows() -> None:
    encoded = EncodedRows("array", 2, lambda row, epoch: np.array([-1 if epoch is None else epoch]))
    assert encoded.chunks(np.array([0]), 1, epoch=7)[0][0]["array"].tolist() == [[7]]
    assert encoded.chunks(np.array([0]), 1)[0][0]["array"].tolist() == [[-1]]


@pytest.mark.parametrize(
    ("rows", "count", "problem"),
    [
        ([0], 0, "0 chunks"),
        ([], 1, "at least one row"),
        ([[0]], 1, r"shape \(1, 1\)"),
        ([0, 3], 1, "rows 0 to 3 were asked of a data set of 3"),
        ([-1], 1, "rows -1 to -1"),
    ],
)
def test_batches_that_cannot_be(
    rows: list[int], count: int, problem: str, text_spec: MakeSpec
) -> None:
    for encoded in (
        encoded_text([1, 1, 1], text_spec()),
        EncodedRows("array", 3, lambda row, _: np.array([row])),
    ):
        with pytest.raises(UsageError, match=problem):
            encoded.chunks(np.array(rows), count)


def test_workers_keep_the_order_and_pass_errors_on() -> None:
    threads = set()

    def square(number: int) -> int:
        threads.add(threading.current_thread().name)
        if number == 99:
            raise KeyError(number)
        return number * number

    assert map_rows(square, range(20), 3) == [number**2 for number in range(20)]
    assert all(name.startswith("finetuner-data") for name in threads)
    with pytest.raises(KeyError):
        map_rows(square, [1, 99], 2)
    assert map_rows(square, [2], 0) == [4]
