"""What the three functions give, worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from finetuner_extras.freezing import surgical
from finetuner_extras.miner import easy_semi_hard
from finetuner_extras.pooling import check_sharpness, log_sum_exp

from finetuner.errors import UsageError
from finetuner.reference import xp

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


def mined(distances, labels):
    is_self = np.eye(len(labels), dtype=bool)
    found = easy_semi_hard(xp, distances, labels, labels, is_self, 0)
    return [(int(a), int(p), int(found.negative[a, p])) for a, p in np.argwhere(found.valid)]


def test_the_next_negative_behind_the_nearest_positive_is_mined():
    # Anchor 2 has no negative behind its positive at 0.4: the furthest serves, at 0.3.
    # Anchor 5 is alone in its class.
    expected = [(0, 1, 3), (1, 0, 5), (2, 1, 5), (3, 4, 5), (4, 3, 0)]
    assert mined(DISTANCES, LABELS) == expected


def test_a_batch_of_one_class_has_no_triplets():
    assert mined(DISTANCES, np.zeros(6, np.int64)) == []


def test_lse_of_two_positions():
    # log((e^(2·0) + e^(2·log 3)) / 2) / 2 = log(5) / 2
    features = np.array([[[0.0], [np.log(3.0)]]], np.float32)
    found = log_sum_exp(xp, features, None, {}, sharpness=2.0)
    np.testing.assert_allclose(found, [[np.log(5.0) / 2]], atol=1e-6)


def test_lse_leaves_masked_positions_out():
    features = np.array([[[1.0], [50.0]], [[7.0], [8.0]]], np.float32)
    found = log_sum_exp(xp, features, np.array([[1, 0], [0, 0]]), {})
    np.testing.assert_allclose(found, [[1.0], [0.0]], atol=1e-6)


def test_a_sharpness_that_is_not_positive_is_refused():
    check_sharpness({})
    with pytest.raises(UsageError, match="sharpness of lse pooling is 0: must be above 0"):
        check_sharpness({"sharpness": 0})


@pytest.mark.parametrize(
    ("argument", "frozen"),
    [("1/1", ""), ("1/2", "cde"), ("2/2", "ab"), ("2/3", "ade"), ("5/5", "abcd")],
)
def test_one_block_of_the_depth_trains(argument, frozen):
    graph = SimpleNamespace(depth=tuple("abcde"))
    assert surgical(graph, argument, dict).frozen == tuple(frozen)


@pytest.mark.parametrize("argument", [None, "", "2", "0/3", "4/3", "a/b", "6/6"])
def test_a_block_that_is_none_is_refused(argument):
    graph = SimpleNamespace(depth=tuple("abcde"))
    with pytest.raises(UsageError, match="freeze='surgical:"):
        surgical(graph, argument, dict)
