"""docarray takes seconds to import where a framework is installed: few tests, one import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from finetuner.data import LabeledDataset
from finetuner.data.readers import docarray_list
from finetuner.errors import DataError, UnknownNameError, UsageError

Load = Callable[..., LabeledDataset]


@pytest.fixture(scope="module")
def docarray() -> Any:
    import docarray

    return docarray


def test_our_document_by_field_and_by_tag(load: Load, docarray: Any) -> None:
    from finetuner.data.document import Document

    documents = docarray.DocList[Document](
        [Document(text=f"text {row}", finetuner_label=row // 2) for row in range(2)]
        + [Document(text="t", tags={"finetuner_label": 1}, embedding=np.ones(3)) for _ in range(2)]
    )
    data = load(documents)
    assert data.contents == ["text 0", "text 1", "t", "t"]
    assert all(type(text) is str for text in data.contents)
    assert data.label_names == ("0", "1")
    with pytest.raises(DataError, match="row 0 has the label 0 in finetuner_label, but 1 in tags"):
        load([Document(text="a", finetuner_label=0, tags={"finetuner_label": 1})])
    with pytest.raises(DataError, match="empty"):
        load(docarray.DocList[Document]())


def test_our_document_keeps_the_type_of_its_label_through_every_format(docarray: Any) -> None:
    from finetuner.data.document import Document

    given = [Document(text="a", finetuner_label=label) for label in (3, "3", True)]
    kind = docarray.DocList[Document]
    documents = kind(given)
    for back in (
        kind.from_protobuf(documents.to_protobuf()),
        kind.from_json(documents.to_json()),
        kind.from_bytes(documents.to_bytes()),
    ):
        assert [(type(d.finetuner_label), d.finetuner_label) for d in back] == [
            (int, 3),
            (str, "3"),
            (bool, True),
        ]


def test_any_document_class(load: Load, docarray: Any, save_image: Callable[..., Any]) -> None:
    from docarray.typing import ImageUrl, NdArray

    class Shoe(docarray.BaseDoc):
        photo: ImageUrl | None = None
        vector: NdArray | None = None
        brand: str | None = None
        price: int = 3
        label: str = "x"

    file = save_image("a.png")
    photos = [Shoe(photo=str(file), brand="b", label=label) for label in "xxyy"]
    with pytest.raises(UsageError, match=r"'brand' and 'photo' could both .*content="):
        load(photos, options={"label": "label"})
    data = load(photos, options={"label": "label", "content": "photo"})
    assert (data.modality, data.contents[0]) == ("image", str(file))
    vectors = docarray.DocList[Shoe]([Shoe(vector=np.arange(3.0)) for _ in range(2)])
    only = {"label": "label"}
    assert load(vectors, options=only, require_labels=False).modality == "array"
    with pytest.raises(UnknownNameError, match="unknown field 'colour'"):
        load(vectors, options={"label": "colour"})


def test_images_in_several_forms_are_read_from_the_pixels(load: Load, docarray: Any) -> None:
    from finetuner.data.document import Document

    pixels = np.zeros((4, 4, 3), np.uint8)
    documents = [Document(uri="gone.png", tensor=pixels, finetuner_label=i // 2) for i in range(4)]
    data = load(documents)
    assert data.modality == "image"
    assert data.contents[0].shape == (4, 4, 3)


def test_nothing_of_docarray_is_imported_to_recognise_data() -> None:
    code = (
        "import sys; from finetuner.plugins.host import default_host\n"
        "from finetuner.data import load_dataset\n"
        "load_dataset(['a'], default_host(), require_labels=False)\n"
        "heavy = {'docarray', 'pandas', 'polars', 'datasets', 'torch', 'PIL', 'tokenizers'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not docarray_list.matches(["a"])
