from __future__ import annotations

import sys

import pytest

from finetuner.data import document
from finetuner.errors import MissingDependencyError


def test_without_docarray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "finetuner.data.document_class", raising=False)
    monkeypatch.setitem(sys.modules, "docarray", None)
    with pytest.raises(MissingDependencyError, match=r"finetuner-core\[docarray\]"):
        _ = document.Document


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Documents'"):
        _ = document.Documents
