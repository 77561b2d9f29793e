"""docarray's ``DocList`` and documents, recognised without importing docarray."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from finetuner.contracts import Rows
from finetuner.data.readers.documents import DOCUMENT_OPTIONS, document_rows
from finetuner.data.readers.options import only_known


def matches(data: object) -> bool:
    """A ``DocList``, a list of documents, or one document."""
    module = sys.modules.get("docarray")
    if module is None or not hasattr(module, "BaseDoc"):
        return False
    if isinstance(data, module.BaseDoc | module.DocList):
        return True
    return isinstance(data, list) and bool(data) and isinstance(data[0], module.BaseDoc)


def read(data: Any, options: Mapping[str, Any]) -> Rows:
    """Content and label of each document, by its fields; see ``document_rows``."""
    chosen = only_known(options, DOCUMENT_OPTIONS, "docarray")
    documents = [data] if hasattr(type(data), "model_fields") else list(data)
    fields = list(dict.fromkeys(name for document in documents for name in _fields(document)))
    return document_rows(documents, fields, chosen)


def _fields(document: Any) -> tuple[str, ...]:
    return tuple(type(document).model_fields)
