from __future__ import annotations

import numpy as np
import pytest

from finetuner.data.labels import encode_labels
from finetuner.errors import DataError


def name_row(row: int) -> str:
    return f"row {row}"


def encode(*labels: object) -> tuple[list[int], tuple[str, ...]]:
    integers, names = encode_labels(labels, name_row)
    assert integers.dtype == np.int64
    return integers.tolist(), names


def test_text_labels_are_numbered_in_natural_order() -> None:
    assert encode("c10", "c2", "b", "c10") == ([2, 1, 0, 2], ("b", "c2", "c10"))


def test_numbers_are_numbered_by_size_and_may_be_negative() -> None:
    assert encode(10, 9, -1) == ([2, 1, 0], ("-1", "9", "10"))


def test_whole_floats_are_integers() -> None:
    assert encode(2.0, 1, np.float32(2), np.int8(1)) == ([1, 0, 1, 0], ("1", "2"))


def test_truth_values_are_two_classes() -> None:
    assert encode(True, np.False_, True) == ([1, 0, 1], ("False", "True"))


def test_zero_dimensional_arrays_are_scalars() -> None:
    assert encode(np.array(3), np.array("3").item() and 4) == ([0, 1], ("3", "4"))


def test_a_label_that_is_not_unicode_is_named_by_row() -> None:
    with pytest.raises(
        DataError, match=r"row 1 has the label '\\ud800', which is not valid Unicode"
    ):
        encode("é", "\ud800")


def test_digits_of_text_compare_as_numbers_wherever_they_stand() -> None:
    assert encode("10", "2", "a1")[1] == ("2", "10", "a1")
    assert encode("9" * 5000, "b")[1] == ("9" * 5000, "b")


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), "", "  "])
def test_a_missing_label_is_named_by_row(missing: object) -> None:
    with pytest.raises(DataError, match="row 1 has no label"):
        encode("a", missing)


@pytest.mark.parametrize("label", [["a", "b"], {"a": 1}, np.arange(2), b"a", object()])
def test_a_label_that_is_no_scalar_is_named_by_row_and_type(label: object) -> None:
    with pytest.raises(DataError, match=f"row 1 has a label of type {type(label).__name__}"):
        encode("a", label)


def test_a_fraction_is_no_class() -> None:
    with pytest.raises(DataError, match=r"row 1 has the label 0\.5"):
        encode(1.0, 0.5)


@pytest.mark.parametrize(("first", "other"), [("1", 1), (1, "1"), (True, 1), (0, False)])
def test_mixed_kinds_are_named_by_row(first: object, other: object) -> None:
    with pytest.raises(DataError, match=r"row 1 .* but row 0"):
        encode(first, other)
