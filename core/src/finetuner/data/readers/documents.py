"""What docarray's documents and the old ``Document`` objects have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.contents import is_pil_image, kind_of, modality_of
from finetuner.data.readers.values import as_array
from finetuner.errors import DataError, UnknownNameError, UsageError

DOCUMENT_OPTIONS = ("content", "label")
"""``content`` names the field that holds the content, ``label`` the one with the class."""

LABEL = "finetuner_label"

_NOT_CONTENT = frozenset(("id", "embedding", "embeddings", "tags", LABEL))
_FILE_NAMES = frozenset(("uri", "url", "path", "file", "filename", "image", "img"))
# Where an image is there in several forms, the one nearest to the pixels is taken.
_IMAGE_FORMS = ("array", "picture", "file")


def document_rows(
    documents: Sequence[Any], fields: Sequence[str], options: Mapping[str, Any]
) -> Rows:
    """Rows of documents whose fields are named ``fields``.

    Without the option ``content`` the content is found by what the fields hold:
    ``text`` or the only string; else an image or array, as pixels, bytes or
    path. ``embedding`` is no content. Raises ``UsageError`` where several fields
    may be meant, and ``DataError`` naming a row without content.
    """
    if not documents:
        raise DataError("the data is empty: there is no document in it")
    for option in DOCUMENT_OPTIONS:
        if option in options and options[option] not in fields:
            raise UnknownNameError("field", str(options[option]), fields)
    label = options.get("label")
    names = _content_fields(documents, [f for f in fields if f != label], options)
    contents = [_content(document, names, row) for row, document in enumerate(documents)]
    # A string of a field such as ``uri`` is a file, whatever it ends with.
    forms = [Path(text) if is_file else text for text, is_file in contents]
    return Rows(
        contents=[content for content, _ in contents],
        labels=_labels(documents, fields, label),
        modality=modality_of(forms),
    )


def _content_fields(
    documents: Sequence[Any], fields: Sequence[str], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """The fields to take the content from, best first; all hold the same thing."""
    if "content" in options:
        return (str(options["content"]),)
    forms = {
        name: form
        for name in fields
        if name not in _NOT_CONTENT and (form := _field_form(documents, name)) is not None
    }
    texts = [name for name, form in forms.items() if form == "string"]
    images = [name for name, form in forms.items() if form != "string"]
    if texts and images:
        raise UsageError(_ambiguous([*texts, *images]))
    if len(texts) > 1:
        if "text" not in texts:
            raise UsageError(_ambiguous(texts))
        return ("text",)
    for form in _IMAGE_FORMS:
        alike = [name for name in images if forms[name] == form]
        if len(alike) > 1:
            raise UsageError(_ambiguous(alike))
    if not forms:
        raise DataError(
            f"the documents hold no text, image or array (fields: {', '.join(fields)}): fill "
            "text, uri, blob or tensor, or name the field with content= in csv_options"
        )
    return (*texts, *sorted(images, key=lambda name: _IMAGE_FORMS.index(forms[name])))


def _ambiguous(names: Sequence[str]) -> str:
    return (
        f"the fields {' and '.join(map(repr, names))} could both be the content: choose one "
        "with content= in csv_options"
    )


def _field_form(documents: Sequence[Any], name: str) -> str | None:
    """The form of the first value that a field holds; ``None`` for what is no content."""
    for document in documents:
        value = _value(document, name)
        if value is not None:
            kind = kind_of(value)
            return "file" if kind == "string" and _is_file(name, value) else kind
    return None


def _is_file(name: str, value: object) -> bool:
    return name.lower() in _FILE_NAMES or type(value).__name__ in ("ImageUrl", "AnyUrl")


def _value(document: Any, name: str) -> Any:
    """The field's value in a form that core knows; ``None`` where it is not filled."""
    value = getattr(document, name, None)
    if value is None or (isinstance(value, str | bytes) and not value):
        return None
    if isinstance(value, str | bytes | os.PathLike) or is_pil_image(value):
        return value
    if hasattr(value, "__array__") or hasattr(value, "detach"):
        return as_array(value)
    return value


def _content(document: Any, names: Sequence[str], row: int) -> tuple[Any, bool]:
    """The document's content, and whether it is the path of a file."""
    for name in names:
        value = _value(document, name)
        if isinstance(value, str):
            # docarray's own string classes become plain ones.
            return str(value), _is_file(name, value)
        if value is not None:
            return value, False
    raise DataError(f"row {row} holds nothing in {' or '.join(map(repr, names))}")


def _labels(documents: Sequence[Any], fields: Sequence[str], label: str | None) -> list[Any] | None:
    """One raw label per document; ``None`` where no document has any."""
    labels = [_label(document, fields, label, row) for row, document in enumerate(documents)]
    return None if all(found is None for found in labels) else labels


def _label(document: Any, fields: Sequence[str], label: str | None, row: int) -> Any:
    if label is not None:
        return getattr(document, label, None)
    own = getattr(document, LABEL, None) if LABEL in fields else None
    tags = getattr(document, "tags", None)
    tagged = tags.get(LABEL) if isinstance(tags, Mapping) else None
    if own is not None and tagged is not None and own != tagged:
        raise DataError(
            f"row {row} has the label {own!r} in {LABEL}, but {tagged!r} in tags: keep one"
        )
    return tagged if own is None else own
