"""Reading labelled data, checking it, and making it ready for a model."""

from finetuner.data.dataset import LabeledDataset
from finetuner.data.encode import Encoded
from finetuner.data.infer import (
    PREPROCESSING_OPTIONS,
    infer_preprocessing,
    preprocessing_files,
)
from finetuner.data.loading import load_dataset, read_rows
from finetuner.data.parquet import write_shards
from finetuner.data.preprocess import Preprocessor
from finetuner.data.stored import StoredData

__all__ = [
    "PREPROCESSING_OPTIONS",
    "Encoded",
    "LabeledDataset",
    "Preprocessor",
    "StoredData",
    "infer_preprocessing",
    "load_dataset",
    "preprocessing_files",
    "read_rows",
    "write_shards",
]
