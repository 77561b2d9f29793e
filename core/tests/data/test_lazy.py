from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from finetuner.data.lazy import LazySequence, RowFile, pick


def test_a_lazy_sequence_reads_what_is_looked_at() -> None:
    read: list[int] = []

    def square(row: int) -> int:
        read.append(row)
        return row * row

    rows = LazySequence(5, square)
    assert len(rows) == 5
    assert (rows[2], rows[-1], rows[1:4]) == (4, 16, [1, 4, 9])
    assert read == [2, 4, 1, 2, 3]
    assert list(rows) == [0, 1, 4, 9, 16]
    with pytest.raises(IndexError):
        rows[5]


def test_picking_stays_lazy_where_it_was() -> None:
    picked = pick(LazySequence(10, lambda row: -row), np.array([7, 3]))
    assert isinstance(picked, LazySequence)
    assert list(pick(picked, np.array([1]))) == [-3]
    assert pick(["a", "b", "c"], np.array([2, 0])) == ["c", "a"]
    np.testing.assert_array_equal(pick(np.arange(5) * 2, np.array([4])), [8])


def test_picking_from_a_mapped_array_copies_nothing(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 2))
    mapped[:] = [[row, row] for row in range(4)]
    picked = pick(mapped, np.array([3, 1]))
    assert isinstance(picked, LazySequence)
    np.testing.assert_array_equal(picked[0], [3, 3])


def test_rows_of_a_file_are_read_by_many_at_once(tmp_path: Path) -> None:
    contents = [bytes([row]) * row for row in range(200)]
    (tmp_path / "rows").write_bytes(b"".join(contents))
    rows = RowFile(tmp_path / "rows", np.cumsum([0] + [len(content) for content in contents]))
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(200), 5))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rows.read, order))
    assert found == [contents[row] for row in order]
