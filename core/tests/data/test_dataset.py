from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.data import LabeledDataset
from finetuner.errors import UsageError


def texts_of(*labels: int) -> LabeledDataset:
    numbers = np.array(labels, dtype=np.int64)
    names = tuple("abcdefgh"[: numbers.max(initial=0) + 1])
    return LabeledDataset([f"text {row}" for row in range(len(labels))], numbers, names, "text")


def test_a_subset_keeps_label_numbers_names_and_origins() -> None:
    part = texts_of(0, 1, 2, 1).subset([3, 0])
    assert list(part.contents) == ["text 3", "text 0"]
    assert part.labels is not None
    assert part.labels.tolist() == [1, 0]
    assert part.label_names == ("a", "b", "c")
    assert [part.origin(0), part.origin(1)] == ["row 3", "row 0"]


def test_a_subset_of_arrays_is_an_array() -> None:
    data = LabeledDataset(np.arange(6.0).reshape(3, 2), np.array([0, 1, 0]), ("a", "b"), "array")
    part = data.subset(np.array([2, 1]))
    assert isinstance(part.contents, np.ndarray)
    assert part.contents.tolist() == [[4, 5], [2, 3]]


def test_a_quarter_is_held_out_of_each_class() -> None:
    train, held = texts_of(*[0] * 8, *[1] * 4).split(0.25, seed=3)
    assert np.bincount(train.labels).tolist() == [6, 3]
    assert np.bincount(held.labels).tolist() == [2, 1]


def test_ten_classes_of_ten_give_a_quarter_and_not_three_each() -> None:
    labels = [number for number in range(8) for _ in range(10)]
    _, held = texts_of(*labels).split(0.25, seed=0)
    assert len(held) == 20
    assert set(np.bincount(held.labels)) == {2, 3}


def test_a_class_of_one_stays_in_training() -> None:
    train, held = texts_of(0, 1, 1).split(0.5, seed=0)
    assert sorted(np.asarray(train.labels).tolist()) == [0, 1]
    assert np.asarray(held.labels).tolist() == [1]


def test_two_rows_of_a_class_are_kept_on_both_sides_where_that_is_asked() -> None:
    data = texts_of(*[0] * 20, *[1] * 4, *[2] * 3)
    train, held = data.split(0.1, seed=0, least=2)
    assert np.bincount(held.labels, minlength=3).tolist() == [2, 2, 0]
    assert np.bincount(train.labels).tolist() == [18, 2, 3]


def test_the_seed_decides_the_split() -> None:
    data = texts_of(*[0] * 20, *[1] * 20)
    assert data.split(0.5, 1)[1].contents == data.split(0.5, 1)[1].contents
    assert data.split(0.5, 1)[1].contents != data.split(0.5, 2)[1].contents


@given(
    labels=st.lists(st.integers(0, 5), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_a_split_parts_the_rows_and_keeps_each_class_on_both_sides(
    labels: list[int], fraction: float, seed: int
) -> None:
    train, held = texts_of(*labels).split(fraction, seed)
    assert sorted([*train.contents, *held.contents]) == sorted(texts_of(*labels).contents)
    counts = np.bincount(labels, minlength=6)
    kept, parted = (np.bincount(side.labels, minlength=6) for side in (train, held))
    assert (kept + parted == counts).all()
    assert (kept[counts > 0] >= 1).all()
    assert (parted[counts > 1] >= 1).all()
    # Within one row of the share asked for, but for the least and most of each class.
    asked = np.clip(counts * fraction, np.minimum(counts - 1, 1), counts - 1)
    assert (np.abs(parted - asked)[counts > 0] <= 1).all()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0])
def test_a_split_needs_a_fraction(fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        texts_of(0, 1).split(fraction, 0)


def test_a_split_needs_labels() -> None:
    with pytest.raises(UsageError, match="without labels"):
        LabeledDataset(["a", "b"], None, (), "text").split(0.5, 0)


def test_the_digest_changes_with_every_content_label_and_order() -> None:
    base = LabeledDataset(["ab", "c"], np.array([0, 1]), ("x", "y"), "text")
    others = [
        LabeledDataset(["a", "bc"], np.array([0, 1]), ("x", "y"), "text"),
        LabeledDataset(["ab", "c"], np.array([1, 0]), ("x", "y"), "text"),
        LabeledDataset(["c", "ab"], np.array([0, 1]), ("x", "y"), "text"),
        LabeledDataset(["ab", "c"], None, (), "text"),
    ]
    digests = {data.digest() for data in [base, *others]}
    assert len(digests) == 5
    assert all(len(digest) == 64 for digest in digests)


def test_the_digest_depends_on_what_labels_are_called_and_not_on_their_numbers() -> None:
    one = LabeledDataset(["a", "b"], np.array([0, 1]), ("x", "y"), "text")
    other = LabeledDataset(["a", "b"], np.array([1, 2]), ("w", "x", "y"), "text")
    assert one.digest() == other.digest()


def test_the_digest_of_an_image_is_that_of_its_file(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.png", tmp_path / "b.png"
    file.write_bytes(b"one")
    copy.write_bytes(b"one")
    first = LabeledDataset([file], None, (), "image").digest()
    assert first == LabeledDataset([str(copy)], None, (), "image").digest()
    assert first == LabeledDataset([b"one"], None, (), "image").digest()
    file.write_bytes(b"two")
    assert first != LabeledDataset([file], None, (), "image").digest()


def test_the_digest_of_arrays_knows_shape_and_dtype() -> None:
    def digest(array: np.ndarray) -> str:
        return LabeledDataset(array, None, (), "array").digest()

    base = np.zeros((2, 4), np.float32)
    assert digest(base) == digest(base.copy(order="F"))
    assert len({digest(base), digest(base.reshape(2, 2, 2)), digest(base.view(np.int32))}) == 3
