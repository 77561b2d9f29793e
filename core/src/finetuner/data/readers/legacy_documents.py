"""Old ``DocumentArray`` and ``Document`` objects (docarray before 0.30), known by shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.documents import DOCUMENT_OPTIONS, document_rows
from finetuner.data.readers.options import only_known

_FIELDS = ("text", "uri", "tensor", "blob", "tags")


def matches(data: object) -> bool:
    """A ``DocumentArray``, a list of old documents, or one old document."""
    if _is_document(data):
        return True
    if isinstance(data, list):
        return bool(data) and _is_document(data[0])
    return any(kind.__name__ == "DocumentArray" for kind in type(data).__mro__)


def read(data: Any, options: Mapping[str, Any]) -> Rows:
    """The content is ``tensor``, ``blob`` or ``text``, else the file at ``uri``."""
    chosen = only_known(options, DOCUMENT_OPTIONS, "legacy-documents")
    documents = [data] if _is_document(data) else list(data)
    if "content" not in chosen and any(_filled(document) for document in documents):
        # An old document keeps the uri that its content was loaded from.
        fields = tuple(name for name in _FIELDS if name != "uri")
    else:
        fields = _FIELDS
    return document_rows(documents, fields, chosen)


def _filled(document: Any) -> bool:
    return any(getattr(document, name) not in (None, "", b"") for name in ("text", "blob")) or (
        document.tensor is not None
    )


def _is_document(value: object) -> bool:
    """Has the old document's fields, and is not of the new kind, nor a list of those."""
    return not (hasattr(type(value), "model_fields") or hasattr(value, "doc_type")) and all(
        hasattr(value, name) for name in _FIELDS
    )
