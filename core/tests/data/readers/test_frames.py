from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from finetuner.data import LabeledDataset
from finetuner.errors import DataError, UnknownNameError, UsageError

Load = Callable[..., LabeledDataset]

TABLE = {"text": ["a", "b", "c", "d"], "label": ["x", "y", "x", "y"], "id": [1, 2, 3, 4]}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
class TestFrames:
    def test_usual_names(self, load: Load, frame: Callable[..., Any]) -> None:
        data = load(frame(TABLE))
        assert data.contents == TABLE["text"]
        assert data.labels is not None
        assert data.labels.tolist() == [0, 1, 0, 1]
        assert data.label_names == ("x", "y")

    def test_named_columns(self, load: Load, frame: Callable[..., Any]) -> None:
        data = load(
            frame({"a": TABLE["text"], "b": [2, 10, 2, 10], "text": TABLE["text"]}),
            options={"text": "a", "label": "b"},
        )
        assert data.label_names == ("2", "10")

    def test_a_missing_label_or_text_is_named_by_row(
        self, load: Load, frame: Callable[..., Any]
    ) -> None:
        with pytest.raises(DataError, match="row 1 has no label"):
            load(frame({**TABLE, "label": ["x", None, "x", "y"]}))
        with pytest.raises(DataError, match="row 2 holds no text"):
            load(frame({**TABLE, "text": ["a", "b", None, "d"]}))

    def test_numbers_with_a_gap_are_missing_labels_and_not_a_class(
        self, load: Load, frame: Callable[..., Any]
    ) -> None:
        with pytest.raises(DataError, match="row 3 has no label"):
            load(frame({**TABLE, "label": [1, 2, 1, None]}))

    def test_unknown_columns_and_options(self, load: Load, frame: Callable[..., Any]) -> None:
        with pytest.raises(UnknownNameError, match=r"column of the frame 'lable'.*'label'"):
            load(frame(TABLE), options={"label": "lable"})
        with pytest.raises(UnknownNameError, match="'header'"):
            load(frame(TABLE), options={"header": True})
        with pytest.raises(UsageError, match="text= or image="):
            load(frame({"a": [1], "b": [2], "c": [3]}))

    def test_no_label_column(self, load: Load, frame: Callable[..., Any]) -> None:
        with pytest.raises(DataError, match="no labels"):
            load(frame({"text": ["a"]}))

    def test_an_empty_frame(self, load: Load, frame: Callable[..., Any]) -> None:
        with pytest.raises(DataError, match="empty"):
            load(frame({"text": [], "label": []}))


def test_a_column_of_arrays(load: Load) -> None:
    vectors = [np.array([1.0, 2.0])] * 4
    data = load(pd.DataFrame({"vector": vectors, "label": [0, 0, 1, 1]}))
    assert data.modality == "array"
    assert np.shape(data.contents) == (4, 2)
