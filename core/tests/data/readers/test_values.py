"""Arrays, lists and single contents, with and without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetuner.data.readers import pairs, plain

PIXELS = np.zeros((4, 5, 3), np.uint8)


class Tensor:
    """What torch's tensors look like from outside: a gradient must be detached first."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.detached = False

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Any:
        return self.values[row]

    def detach(self) -> Tensor:
        self.detached = True
        return self

    def cpu(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        assert self.detached
        return self.values


@pytest.mark.parametrize(
    ("contents", "modality"),
    [
        (np.zeros((2, 3)), "array"),
        ([[1, 2], [3, 4]], "array"),
        ([(1.0,), (2.0,)], "array"),
        (Tensor(np.zeros((2, 3))), "array"),
        ([np.zeros(3), np.zeros(3)], "array"),
        (np.zeros((2, 4, 5, 3), np.uint8), "array"),
        ([PIXELS, PIXELS[1:]], "image"),
        (["a", "b.png"], "text"),
        (["a.png", "b.jpeg"], "image"),
        (np.array(["a", "b"]), "text"),
        ([Path("a"), b"b"], "image"),
        ([Image.fromarray(PIXELS), Path("b.png")], "image"),
    ],
)
def test_modality_by_what_is_given(contents: Any, modality: str) -> None:
    assert pairs.matches((contents, [0, 1]))
    rows = pairs.read((contents, [0, 1]), {})
    assert (rows.modality, rows.labels, len(rows.contents)) == (modality, [0, 1], 2)


def test_labels_may_be_any_column() -> None:
    for labels in ([1, 2], (1, 2), np.array([1, 2]), Tensor([1, 2])):
        assert pairs.read((["a", "b"], labels), {}).labels == [1, 2]


def test_only_a_tuple_of_two_columns_is_a_pair() -> None:
    for data in ((["a"],), (["a"], [1], [2]), ("a", "b"), [["a"], [1]], ({}, {}), (1, 2)):
        assert not pairs.matches(data)


@pytest.mark.parametrize(
    ("data", "modality", "size"),
    [
        ("red shoe", "text", 1),
        ("shoe.jpg", "image", 1),
        (Path("shoe.jpg"), "image", 1),
        (Image.fromarray(PIXELS), "image", 1),
        (["red", "blue"], "text", 2),
        (["a.png"], "image", 1),
        ([PIXELS], "image", 1),
        ([b"x"], "image", 1),
        ([[1.0, 2.0]], "array", 1),
        (np.zeros((3, 2)), "array", 3),
    ],
)
def test_contents_alone(data: Any, modality: str, size: int) -> None:
    assert plain.matches(data)
    rows = plain.read(data, {})
    assert (rows.modality, rows.labels, len(rows.contents)) == (modality, None, size)


@pytest.mark.parametrize(
    "data", ["x.csv", "X.TSV", ".", Path("x"), [("a", 1)], [{"a": 1}], {"a": 1}, None, 3]
)
def test_what_is_no_content(data: object) -> None:
    assert not plain.matches(data)
