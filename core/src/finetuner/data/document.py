"""``Document``: one labelled item. docarray is imported when the class is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetuner.errors import MissingDependencyError

if TYPE_CHECKING:
    from finetuner.data.document_class import Document

__all__ = ["Document"]


def __getattr__(name: str) -> Any:
    """The document class (PEP 562). Raises ``MissingDependencyError`` without docarray."""
    if name != "Document":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from finetuner.data.document_class import Document
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "docarray":
            raise
        raise MissingDependencyError(
            "finetuner.Document needs docarray: pip install 'finetuner-core[docarray]'"
        ) from error
    return Document
