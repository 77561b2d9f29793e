from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finetuner.errors import DataError, UnknownNameError, UsageError
from finetuner.evaluation import neighbours
from finetuner.evaluation.search import nearest

GRID = st.integers(0, 3).map(float)


@st.composite
def scores_and_k(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 12)))
    scores = draw(arrays(np.float32, shape, elements=st.integers(-2, 2).map(float)))
    return scores, draw(st.integers(0, shape[1]))


@given(scores_and_k())
def test_nearest_is_the_front_of_a_full_stable_sort(case):
    scores, k = case
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(nearest(scores, k), expected)


@given(
    arrays(np.float32, st.tuples(st.integers(2, 12), st.just(2)), elements=GRID),
    st.integers(1, 12),
    st.integers(1, 13),
)
def test_euclidean_neighbours_of_a_grid_by_brute_force(points, k, block):
    """Squares of small whole numbers are exact, so ties are ties in the reference too."""
    found, similarities = neighbours(points, k=k, distance="euclidean", block=block)
    for row, point in enumerate(points):
        squares = ((points - point) ** 2).sum(axis=1)
        others = [n for n in np.argsort(squares, kind="stable") if n != row][:k]
        assert list(found[row]) == others
        np.testing.assert_allclose(similarities[row], -np.sqrt(squares[others]), rtol=1e-6)


def test_cosine_neighbours_by_hand():
    index = np.array([[0, 2], [3, 0], [1, 1], [-5, 0]], dtype=np.float32)
    found, similarities = neighbours(np.array([[1, 0]], dtype=np.float32), index, k=4)
    assert found.tolist() == [[1, 2, 0, 3]]
    np.testing.assert_allclose(similarities, [[1, 0.5**0.5, 0, -1]], atol=1e-7)


def test_without_an_index_nobody_is_their_own_neighbour():
    found, _ = neighbours(np.eye(3, dtype=np.float32), k=10)
    assert found.tolist() == [[1, 2], [0, 2], [0, 1]]


def test_a_collapsed_model_yields_index_order_however_many_rows_there_are():
    """All rows alike: rounding inside the machine's matrix product must not decide."""
    row = np.random.default_rng(0).standard_normal(37).astype(np.float32)
    for count in (5, 33, 131):
        for distance in ("cosine", "euclidean"):
            found, _ = neighbours(np.tile(row, (count, 1)), k=4, distance=distance)
            assert found[0].tolist() == [1, 2, 3, 4]
            assert (found[4:] == [0, 1, 2, 3]).all()


def test_close_pairs_keep_their_distance_far_from_the_origin():
    """A Gram matrix in float32 would give 0 or 5e-4 in place of these."""
    index = np.array([[1.0, 0.0], [1.0, 2**-13], [1.0, 2**-12]], dtype=np.float32)
    found, similarities = neighbours(index[:1], index, k=3, distance="euclidean")
    assert found.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(similarities, [[0, -(2**-13), -(2**-12)]], rtol=1e-6)


def test_the_squared_distance_is_that():
    index = np.array([[3, 4], [0, 1]], dtype=np.float32)
    found, similarities = neighbours(np.zeros((1, 2)), index, distance="squared-euclidean")
    assert found.tolist() == [[1, 0]]
    assert similarities.tolist() == [[-1, -25]]


def test_vectors_of_extreme_length_have_a_cosine():
    vectors = np.array([[1e30, 0], [1e30, 1e30], [1e-30, 0], [0, 0]], dtype=np.float32)
    found, similarities = neighbours(vectors[:1], vectors, k=4)
    assert found.tolist() == [[0, 2, 1, 3]]
    np.testing.assert_allclose(similarities, [[1, 1, 0.5**0.5, 0]], rtol=1e-6)


def test_a_distance_may_be_a_function():
    def manhattan(queries, index):
        return np.abs(queries[:, None] - index[None]).sum(axis=2)

    index = np.array([[2, 2], [0, 3], [9, 9]], dtype=np.float32)
    found, similarities = neighbours(np.zeros((1, 2)), index, k=2, distance=manhattan)
    assert found.tolist() == [[1, 0]]
    assert similarities.tolist() == [[-3, -4]]


def test_a_distance_function_that_gives_no_number_is_an_error():
    with pytest.raises(DataError, match="not finite"):
        neighbours(np.eye(2), np.eye(2), distance=lambda q, x: np.full((len(q), len(x)), np.nan))


def test_the_size_of_blocks_does_not_matter():
    vectors = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    whole, _ = neighbours(vectors, k=7)
    for block in (1, 7, 49):
        np.testing.assert_array_equal(neighbours(vectors, k=7, block=block)[0], whole)


@pytest.mark.parametrize(
    ("queries", "index", "complaint"),
    [
        (np.zeros(3), None, "must be a filled matrix"),
        (np.zeros((0, 3)), None, "must be a filled matrix"),
        (np.zeros((1, 3)), None, "no neighbours"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "3 wide and the index 4"),
        (np.array([[0.0], [np.nan]]), None, "row 1 of queries"),
        (np.zeros((1, 1)), np.array([[0.0], [0.0], [np.inf]]), "row 2 of index"),
    ],
)
def test_vectors_that_cannot_be_compared_are_errors(queries, index, complaint):
    with pytest.raises(DataError, match=complaint):
        neighbours(queries, index)


def test_options_that_do_not_fit_are_errors():
    vectors = np.eye(3)
    with pytest.raises(UsageError, match="k must be at least 1"):
        neighbours(vectors, k=0)
    with pytest.raises(UsageError, match="block must be at least 1"):
        neighbours(vectors, block=0)
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        neighbours(vectors, distance="cosin")
