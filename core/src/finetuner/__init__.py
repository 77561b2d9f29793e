"""Finetuner: fine-tune embedding models on your data, in any framework with a backend plugin.

>>> import finetuner
>>> run = finetuner.fit("path/to/model", train_data="train.csv")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.api import (
        delete_run,
        encode,
        evaluate,
        fit,
        get_model,
        get_run,
        inspect,
        list_runs,
        login,
        pull,
        push,
        resume_run,
    )
    from finetuner.data.document import Document
    from finetuner.runs.run import Run

__version__ = "0.1.0"

_HOME = {
    "Document": "finetuner.data.document",
    "Run": "finetuner.runs.run",
    **dict.fromkeys(
        (
            "delete_run",
            "encode",
            "evaluate",
            "fit",
            "get_model",
            "get_run",
            "inspect",
            "list_runs",
            "login",
            "pull",
            "push",
            "resume_run",
        ),
        "finetuner.api",
    ),
}

__all__ = [
    "Document",
    "Run",
    "delete_run",
    "encode",
    "evaluate",
    "fit",
    "get_model",
    "get_run",
    "inspect",
    "list_runs",
    "login",
    "pull",
    "push",
    "resume_run",
]


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that importing stays cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'finetuner' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
