"""Objects shaped like the documents of docarray before 0.30, which cannot be installed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from finetuner.data import LabeledDataset
from finetuner.errors import DataError, UnknownNameError, UsageError

Load = Callable[..., LabeledDataset]


class Document:
    def __init__(
        self,
        text: str | None = None,
        uri: str | None = None,
        tensor: Any = None,
        blob: bytes | None = None,
        **tags: Any,
    ) -> None:
        self.text, self.uri, self.tensor, self.blob, self.tags = text, uri, tensor, blob, tags
        self.embedding = np.ones(2)


class DocumentArray:
    def __init__(self, *documents: Document) -> None:
        self.documents = documents

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)


class DocumentArrayInMemory(DocumentArray):
    pass


def of_each(**fields: Any) -> DocumentArray:
    """Two documents of each of two classes, each with these fields."""
    return DocumentArrayInMemory(*[Document(**fields, finetuner_label=i // 2) for i in range(4)])


def test_text_and_label_from_tags(load: Load) -> None:
    data = load(of_each(text="red"))
    assert (data.contents, data.label_names, data.modality) == (["red"] * 4, ("0", "1"), "text")


def test_a_list_and_a_single_document(load: Load) -> None:
    assert len(load(list(of_each(text="red")))) == 4
    assert load(Document(text="red"), require_labels=False).contents == ["red"]


def test_a_uri_is_a_file_whatever_its_suffix(load: Load, save_image: Callable[..., Any]) -> None:
    file = save_image("picture.png").rename(save_image("x.png").with_name("picture"))
    assert load(of_each(uri=str(file))).modality == "image"


def test_content_wins_over_the_uri_that_it_came_from(load: Load) -> None:
    assert load(of_each(uri="a.txt", text="red")).modality == "text"
    assert load(of_each(uri="a.png", tensor=np.zeros((4, 4, 3), np.uint8))).modality == "image"
    assert load(of_each(uri="a", tensor=np.zeros(3))).modality == "array"


def test_two_contents_are_ambiguous_until_one_is_named(load: Load) -> None:
    documents = of_each(text="red", tensor=np.zeros(3))
    with pytest.raises(UsageError, match="'text' and 'tensor' could both be the content"):
        load(documents)
    assert load(documents, options={"content": "tensor"}).modality == "array"
    with pytest.raises(UnknownNameError, match=r"unknown field 'texts'.*'text'"):
        load(documents, options={"content": "texts"})


def test_missing_contents_and_labels_are_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match="row 1 holds nothing in 'text'"):
        load(DocumentArray(Document("a", finetuner_label=1), Document(finetuner_label=1)))
    with pytest.raises(DataError, match="row 1 has no label"):
        load(DocumentArray(Document("a", finetuner_label=1), Document("b")))
    with pytest.raises(DataError, match="no labels"):
        load(DocumentArray(Document("a"), Document("b")))
    with pytest.raises(DataError, match="hold no text, image or array"):
        load(DocumentArray(Document(finetuner_label=1)))
    with pytest.raises(DataError, match="empty"):
        load(DocumentArray())
