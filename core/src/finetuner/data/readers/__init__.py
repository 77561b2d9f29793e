"""Readers: each recognises one form of data and gives its rows. One form a module."""

from __future__ import annotations

from finetuner.contracts import ReaderRecord
from finetuner.data.readers import (
    csv_file,
    docarray_list,
    folder,
    frames,
    huggingface,
    legacy_documents,
    pairs,
    plain,
    stored,
)

READERS: tuple[ReaderRecord, ...] = (
    ReaderRecord("docarray", docarray_list.matches, docarray_list.read),
    ReaderRecord("legacy-documents", legacy_documents.matches, legacy_documents.read),
    ReaderRecord("csv", csv_file.matches, csv_file.read),
    ReaderRecord("folder", folder.matches, folder.read),
    ReaderRecord("stored", stored.matches, stored.read),
    ReaderRecord("pairs", pairs.matches, pairs.read),
    ReaderRecord("pandas", frames.matches_pandas, frames.read_pandas),
    ReaderRecord("polars", frames.matches_polars, frames.read_polars),
    ReaderRecord("huggingface", huggingface.matches, huggingface.read),
    ReaderRecord("plain", plain.matches, plain.read),
)
"""Every reader that core has; no two of them recognise the same data."""

__all__ = ["READERS"]
