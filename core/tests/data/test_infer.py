from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contracts import InputSpec, Preprocessing
from finetuner.contracts.preprocessing import Modality
from finetuner.data import (
    LabeledDataset,
    Preprocessor,
    infer_preprocessing,
    preprocessing_files,
)
from finetuner.data.text import read_tokenizer
from finetuner.errors import DataError, UnknownNameError, UsageError


def dataset(contents: Any, modality: Modality) -> LabeledDataset:
    return LabeledDataset(contents, None, (), modality)


TEXTS = dataset(["red hat"], "text")
PICTURES = dataset([np.zeros((30, 40, 3), np.uint8)], "image")


def test_arrays_keep_their_shape_and_become_float32() -> None:
    spec = infer_preprocessing(dataset(np.zeros((5, 4, 3)), "array"), {})
    assert spec.inputs == (InputSpec("array", "float32", (None, 4, 3)),)
    assert spec.steps == ()
    chosen = infer_preprocessing(dataset(np.zeros((5, 4)), "array"), {"dtype": "int64"})
    assert chosen.inputs[0].dtype == "int64"
    with pytest.raises(UsageError, match="dtype is 'float7'"):
        infer_preprocessing(dataset(np.zeros((5, 4)), "array"), {"dtype": "float7"})


def test_images_are_224_with_imagenets_mean_channels_first() -> None:
    spec = infer_preprocessing(PICTURES, {})
    (image,) = Preprocessor(spec).batch(PICTURES.contents)["image"]
    assert image.shape == (3, 224, 224)
    np.testing.assert_allclose(
        image[:, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6
    )


def test_image_options() -> None:
    options = {"image_size": [8, 10], "mean": 0.5, "std": 0.5, "layout": "channels-last"}
    spec = infer_preprocessing(PICTURES, options)
    assert spec.inputs[0].shape == (None, 8, 10, 1)
    batch = Preprocessor(spec).batch(PICTURES.contents)["image"]
    assert batch.shape == (1, 8, 10, 1)
    assert set(batch.ravel().tolist()) == {-1.0}
    with pytest.raises(UsageError, match="mean has 2 values and std 3"):
        infer_preprocessing(PICTURES, {"mean": [0, 0]})


def test_text_takes_a_tokenizer_file_or_its_folder(tokenizer_file: Path) -> None:
    for given in (str(tokenizer_file), tokenizer_file.parent):
        options = {"tokenizer": given}
        spec = infer_preprocessing(TEXTS, options)
        run = Preprocessor(spec, preprocessing_files(options))
        assert run.batch(TEXTS.contents)["input_ids"].tolist() == [[1, 3, 7, 2]]
    assert (spec.tokenizer, spec.max_length, spec.padding_id) == ("tokenizer.json", 128, 0)
    assert [wanted.name for wanted in spec.inputs] == ["input_ids", "attention_mask"]


def test_length_and_padding_are_the_files_unless_they_are_given(
    tokenizer_file: Path, tmp_path: Path
) -> None:
    own = read_tokenizer(tokenizer_file)
    own.enable_truncation(40)
    own.enable_padding(pad_id=7)
    own.save(str(tmp_path / "tokenizer.json"))
    spec = infer_preprocessing(TEXTS, {"tokenizer": tmp_path})
    assert (spec.max_length, spec.padding_id) == (40, 7)
    options = {"tokenizer": tmp_path, "max_length": 9, "padding_id": 1, "prefix": "q: "}
    spec = infer_preprocessing(TEXTS, options)
    assert (spec.max_length, spec.padding_id, spec.prefix) == (9, 1, "q: ")


def test_text_needs_a_tokenizer_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="brings no tokenizer: name a tokenizer"):
        infer_preprocessing(TEXTS, {})
    with pytest.raises(DataError, match="there is no tokenizer at"):
        infer_preprocessing(TEXTS, {"tokenizer": tmp_path})
    assert preprocessing_files({}) == {}


def test_an_option_of_another_modality_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown image preprocessing option 'max_length'"):
        infer_preprocessing(PICTURES, {"max_length": 3})
    with pytest.raises(UnknownNameError, match=r"'tokeniser'.*'tokenizer'"):
        infer_preprocessing(TEXTS, {"tokeniser": "x"})


def test_a_whole_spec_is_taken_as_value_or_json() -> None:
    spec = Preprocessing("image", (InputSpec("image", "float32", (None, 3, 8, 8)),))
    as_json = {
        "modality": "image",
        "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 3, 8, 8]}],
    }
    for given in (spec, as_json):
        assert infer_preprocessing(PICTURES, {"preprocessing": given}) == spec
    with pytest.raises(UsageError, match="no preprocessing spec"):
        infer_preprocessing(PICTURES, {"preprocessing": {"modality": "sound"}})
    with pytest.raises(UnknownNameError, match="image_size"):
        infer_preprocessing(PICTURES, {"preprocessing": spec, "image_size": 8})


@pytest.mark.parametrize("size", [0, [8], "8"])
def test_an_image_size_is_one_or_two_positive_integers(size: object) -> None:
    with pytest.raises(UsageError, match="positive integer"):
        infer_preprocessing(PICTURES, {"image_size": size})
