"""Embedding a whole dataset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetuner.errors import ModelError, UsageError
from finetuner.training import embed_all


def expected(problem: Any, state: Any) -> np.ndarray:
    raw = problem.rows.values @ state.parameters["dense.weight"] + state.parameters["dense.bias"]
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
@pytest.mark.parametrize("lengths", [None, np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])])
def test_vectors_come_in_the_order_of_the_rows(problem, batch_size, lengths):
    rows, state = replace(problem.rows, lengths=lengths), problem.state()
    found = embed_all(problem.backend, state, rows, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(problem, state), rtol=1e-6)


def test_the_longest_rows_come_first_and_like_lengths_together(problem):
    lengths = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])
    asked: list[list[int]] = []

    class Spy(type(problem.rows)):
        def chunks(self, rows, count, *, epoch=None):
            assert (count, epoch) == (1, None)
            asked.append(lengths[rows].tolist())
            return super().chunks(rows, count)

    embed_all(problem.backend, problem.state(), Spy(problem.rows.values, lengths), batch_size=4)
    assert asked == [[9, 8, 6, 5], [5, 5, 4, 3], [3, 2, 1, 1]]


def test_no_rows_and_no_batch_are_refused(problem):
    empty = replace(problem.rows, values=np.zeros((0, 3), np.float32))
    with pytest.raises(UsageError, match="no rows"):
        embed_all(problem.backend, problem.state(), empty)
    with pytest.raises(UsageError, match="batch_size is 0"):
        embed_all(problem.backend, problem.state(), problem.rows, batch_size=0)


def test_an_embedding_that_is_not_finite_names_its_row(problem):
    values = problem.rows.values.copy()
    values[7] = np.nan
    with pytest.raises(ModelError, match="row 7 is not finite"):
        embed_all(problem.backend, problem.state(), replace(problem.rows, values=values))


def test_a_backend_that_gives_no_matrix_is_refused(problem):
    class Flat(type(problem.backend)):
        def embed(self, state, inputs):
            return super().embed(state, inputs)[:, 0]

    with pytest.raises(ModelError, match=r"shape \(12,\)"):
        embed_all(Flat(), problem.state(), problem.rows)
