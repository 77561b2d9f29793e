"""Reading labelled data, checking it, and making it ready for a model."""

from finetuner.data.dataset import LabeledDataset
from finetuner.data.encode import Encoded
from finetuner.data.infer import (
    PREPROCESSING_OPTIONS,
    infer_preprocessing,
    preprocessing_files,
)
from finetuner.data.loading import load_dataset
from finetuner.data.preprocess import Preprocessor

__all__ = [
    "PREPROCESSING_OPTIONS",
    "Encoded",
    "LabeledDataset",
    "Preprocessor",
    "infer_preprocessing",
    "load_dataset",
    "preprocessing_files",
]
