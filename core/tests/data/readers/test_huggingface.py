"""A stand-in for the ``datasets`` module, with the parts of its interface that are read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from finetuner.data import LabeledDataset
from finetuner.errors import UsageError

Load = Callable[..., LabeledDataset]


class Value:
    pass


class ClassLabel:
    names = ("negative", "positive")

    def int2str(self, number: int) -> str:
        return self.names[number]


class Image:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class Dataset:
    def __init__(self, features: dict[str, Any], columns: dict[str, list[Any]]) -> None:
        self.features, self.columns = features, columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(self.columns[self.column_names[0]])

    def __getitem__(self, name: str) -> list[Any]:
        feature = self.features[name]
        assert not (isinstance(feature, Image) and feature.decode), "images were decoded at once"
        return self.columns[name]

    def cast_column(self, name: str, feature: Any) -> Dataset:
        return Dataset({**self.features, name: feature}, self.columns)


class DatasetDict(dict[str, Dataset]):
    pass


class IterableDataset:
    pass


@pytest.fixture(autouse=True)
def datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("datasets")
    for kind in (Dataset, DatasetDict, IterableDataset):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "datasets", module)


REVIEWS = Dataset(
    {"text": Value(), "label": ClassLabel()},
    {"text": ["a", "b", "c", "d"], "label": [1, 0, 1, 0]},
)


def test_class_labels_count_by_name(load: Load) -> None:
    data = load(REVIEWS)
    assert data.label_names == ("negative", "positive")
    assert data.contents == ["a", "b", "c", "d"]


def test_minus_one_is_no_label(load: Load) -> None:
    with pytest.raises(ValueError, match="row 1 has no label"):
        load(Dataset(REVIEWS.features, {"text": ["a", "b"], "label": [0, -1]}))


def test_images_stay_encoded(load: Load, save_image: Callable[..., Any]) -> None:
    file = save_image("a.png")
    values = [{"bytes": file.read_bytes(), "path": "x.png"}, {"bytes": None, "path": str(file)}]
    data = load(
        Dataset({"image": Image(), "label": Value()}, {"image": values * 2, "label": [0, 0, 1, 1]})
    )
    assert data.modality == "image"
    assert list(data.contents) == [file.read_bytes(), str(file)] * 2


def test_several_splits_and_streams_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="splits 'train', 'test': give one"):
        load(DatasetDict(train=REVIEWS, test=REVIEWS))
    with pytest.raises(UsageError, match="is a stream"):
        load(IterableDataset())
