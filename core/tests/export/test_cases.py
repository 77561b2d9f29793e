"""The inputs of the check: two batch sizes, two extents, masks that mask."""

from __future__ import annotations

import numpy as np
import pytest

from finetuner.contracts import Inputs, InputSpec, Preprocessing
from finetuner.errors import UsageError
from finetuner.export.cases import check_cases


def text(max_length: int | None = None, padding_id: int = 0) -> Preprocessing:
    names = ("input_ids", "attention_mask")
    inputs = tuple(InputSpec(name, "int64", (None, None)) for name in names)
    return Preprocessing("text", inputs, max_length=max_length, padding_id=padding_id)


def rows(*texts: list[int], padding_id: int = 0) -> Inputs:
    length = max(map(len, texts))
    return {
        "input_ids": np.array([ids + [padding_id] * (length - len(ids)) for ids in texts]),
        "attention_mask": np.array([[1] * len(i) + [0] * (length - len(i)) for i in texts]),
    }


def test_texts_are_tried_at_three_lengths_and_two_batch_sizes() -> None:
    samples = rows([5, 6], [7, 8, 9, 4], [5], [5, 5, 5])
    one, three, resized = check_cases(samples, text())
    np.testing.assert_array_equal(one["input_ids"], [[5, 6]])
    np.testing.assert_array_equal(one["attention_mask"], [[1, 1]])
    np.testing.assert_array_equal(three["input_ids"], samples["input_ids"][:3])
    np.testing.assert_array_equal(three["attention_mask"], samples["attention_mask"][:3])
    # five positions more, that repeat the row; the second half of row 0 is padding
    np.testing.assert_array_equal(resized["input_ids"][1], [7, 8, 9, 4, 7, 8, 9, 4, 7])
    np.testing.assert_array_equal(resized["input_ids"][0], [5, 6, 0, 0, 5, 0, 0, 0, 0])
    np.testing.assert_array_equal(resized["attention_mask"][0], [1] * 5 + [0] * 4)
    assert resized["attention_mask"][1:].all()


def test_padding_is_the_models_own() -> None:
    samples = rows([5, 6, 7, 8], [7, 8], [5], padding_id=1)
    _, _, resized = check_cases(samples, text(padding_id=1))
    np.testing.assert_array_equal(resized["input_ids"][0, 5:], [1, 1, 1, 1])


@pytest.mark.parametrize(
    ("length", "limit", "expected"), [(8, 13, 13), (8, 12, 3), (4, 4, 1), (1, 1, 1)]
)
def test_the_models_limit_is_kept(length: int, limit: int, expected: int) -> None:
    samples = rows(*[[5] * length] * 3)
    cases = check_cases(samples, text(max_length=limit))
    assert cases[2]["input_ids"].shape == (3, expected)
    assert cases[2]["attention_mask"].any(axis=1).all()


def test_the_samples_are_not_changed() -> None:
    samples = rows([5, 6, 7], [7, 8, 9], [5, 6, 7])
    before = {name: value.copy() for name, value in samples.items()}
    check_cases(samples, text())
    for name in samples:
        np.testing.assert_array_equal(samples[name], before[name])


def test_fixed_extents_have_two_cases() -> None:
    spec = Preprocessing("image", (InputSpec("image", "float32", (None, 3, 8, 8)),))
    samples = {"image": np.ones((4, 3, 8, 8), np.float32)}
    shapes = [case["image"].shape for case in check_cases(samples, spec)]
    assert shapes == [(1, 3, 8, 8), (3, 3, 8, 8)]


def test_every_extent_that_varies_is_changed() -> None:
    spec = Preprocessing("image", (InputSpec("image", "float32", (None, 3, None, None)),))
    samples = {"image": np.ones((4, 3, 8, 16), np.float32)}
    shapes = [case["image"].shape for case in check_cases(samples, spec)]
    assert shapes == [(1, 3, 8, 16), (3, 3, 8, 16), (3, 3, 40, 48)]


def test_too_few_samples() -> None:
    with pytest.raises(UsageError, match="at least 3 samples, got 2"):
        check_cases(rows([5], [6]), text())
