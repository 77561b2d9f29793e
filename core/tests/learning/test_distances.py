from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetuner.learning.distances import cosine, euclidean, squared_euclidean
from finetuner.learning.rows import BLOCK_ELEMENTS


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def brute_force(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a[:, None].astype(np.float64) - b[None].astype(np.float64)
    return np.sqrt((difference**2).sum(axis=2))


def test_distances_by_hand(xp: Any) -> None:
    a = np.array([[3.0, 4.0]], np.float32)
    b = np.array([[0.0, 0.0], [3.0, 4.0], [-6.0, -8.0], [-4.0, 3.0]], np.float32)
    np.testing.assert_allclose(euclidean(xp, a, b), [[5, 0, 15, np.sqrt(50)]], atol=1e-6)
    np.testing.assert_allclose(squared_euclidean(xp, a, b), [[25, 0, 225, 50]], atol=1e-5)
    np.testing.assert_allclose(cosine(xp, a, b), [[1, 0, 2, 1]], atol=1e-6)


@pytest.mark.parametrize("width", [4, 128, 768])
@pytest.mark.parametrize("apart", [1e-5, 1e-4, 1e-2])
def test_close_pairs_keep_their_distance(xp: Any, width: int, apart: float) -> None:
    rng = np.random.default_rng(width)
    centre = unit(rng.normal(size=(1, width)))
    a = (centre + apart * unit(rng.normal(size=(50, width)))).astype(np.float32)
    expected = brute_force(a, a)
    np.testing.assert_allclose(euclidean(xp, a, a), expected, atol=1e-7, rtol=1e-4)
    np.testing.assert_allclose(squared_euclidean(xp, a, a), expected**2, atol=1e-14, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_distances_agree_with_brute_force(xp: Any, scale: float) -> None:
    rng = np.random.default_rng(0)
    a = (scale * rng.normal(size=(20, 16))).astype(np.float32)
    b = (scale * rng.normal(size=(30, 16))).astype(np.float32)
    expected = brute_force(a, b)
    np.testing.assert_allclose(euclidean(xp, a, b) / scale, expected / scale, atol=1e-5)
    cosines = unit(a.astype(np.float64)) @ unit(b.astype(np.float64)).T
    np.testing.assert_allclose(cosine(xp, a, b), 1 - cosines, atol=1e-6)


@pytest.mark.parametrize("distance", [cosine, euclidean, squared_euclidean])
def test_distances_are_float32_and_float64_stays(xp: Any, distance: Any) -> None:
    x = np.ones((3, 2))
    assert distance(xp, x.astype(np.float16), x.astype(np.float16)).dtype == np.float32
    assert distance(xp, x.astype(np.float32), x.astype(np.float32)).dtype == np.float32
    assert distance(xp, x, x).dtype == np.float64


def test_a_zero_vector_is_at_cosine_distance_one(xp: Any) -> None:
    a, b = np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(cosine(xp, a, b), [[1, 1, 1]])


def test_blocks_of_rows_give_the_same(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).normal(size=(23, 8)).astype(np.float32)
    whole = euclidean(xp, a, a)
    assert a.size < BLOCK_ELEMENTS
    monkeypatch.setattr("finetuner.learning.rows.BLOCK_ELEMENTS", 5 * 23)
    np.testing.assert_allclose(euclidean(xp, a, a), whole, atol=1e-7)
