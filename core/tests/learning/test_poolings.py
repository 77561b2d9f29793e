from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetuner.learning.poolings import cls, gem, gem_parameters, last, max_pooling, mean_pooling

FEATURES = np.array(
    [
        [[1.0, -2.0], [3.0, -4.0], [100.0, 100.0]],
        [[100.0, 100.0], [5.0, -6.0], [7.0, -8.0]],
        [[9.0, 9.0], [9.0, 9.0], [9.0, 9.0]],
    ],
    np.float32,
)
MASK = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])
"""Padding on the right, on the left, and nothing else."""


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (mean_pooling, [[2, -3], [6, -7], [0, 0]]),
        (max_pooling, [[3, -2], [7, -6], [0, 0]]),
        (cls, [[1, -2], [5, -6], [0, 0]]),
        (last, [[3, -4], [7, -8], [0, 0]]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.bool_])
def test_positions_that_do_not_count_change_nothing(
    xp: Any, pooling: Any, expected: Any, dtype: Any
) -> None:
    found = pooling(xp, FEATURES, MASK.astype(dtype), {})
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (mean_pooling, [104 / 3, 94 / 3]),
        (max_pooling, [100, 100]),
        (cls, [1, -2]),
        (last, [100, 100]),
    ],
)
def test_without_a_mask_every_position_counts(xp: Any, pooling: Any, expected: Any) -> None:
    np.testing.assert_allclose(pooling(xp, FEATURES, None, {})[0], expected, rtol=1e-6)


def test_gem_by_hand(xp: Any) -> None:
    features = np.array([[[1.0, 2.0], [3.0, -5.0], [50.0, 50.0]]], np.float32)
    mask = np.array([[1, 1, 0]])
    found = gem(xp, features, mask, {"p": np.float32(2.0)}, eps=1e-6)
    np.testing.assert_allclose(found, [[np.sqrt(5), np.sqrt(2)]], rtol=1e-5)


def test_gem_with_power_one_is_the_mean_and_a_large_power_the_maximum(xp: Any) -> None:
    features = np.array([[[1.0], [3.0]]], np.float32)
    assert gem(xp, features, None, {"p": np.float32(1)})[0, 0] == pytest.approx(2, rel=1e-5)
    assert gem(xp, features, None, {"p": np.float32(60)})[0, 0] == pytest.approx(3, rel=2e-2)


def test_gem_starts_at_power_three_and_leaves_no_nan(xp: Any) -> None:
    parameters = gem_parameters(2)
    assert parameters["p"] == 3
    found = gem(xp, FEATURES, MASK, parameters)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[2], [0, 0])


@pytest.mark.parametrize("pooling", [mean_pooling, max_pooling, cls, last])
def test_half_precision_is_pooled_in_float32(xp: Any, pooling: Any) -> None:
    assert pooling(xp, FEATURES.astype(np.float16), MASK, {}).dtype == np.float32
