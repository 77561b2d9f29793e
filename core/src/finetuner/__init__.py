"""Finetuner: fine-tune embedding models on your data, in any framework with a backend plugin.

>>> import finetuner
>>> run = finetuner.fit("path/to/model", train_data="train.csv")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.api import (
        collect_garbage,
        delete_artifact,
        delete_run,
        diff_artifacts,
        encode,
        evaluate,
        fit,
        get_model,
        get_run,
        inspect,
        list_artifacts,
        list_runs,
        login,
        pull,
        pull_data,
        push,
        push_data,
        resume_run,
        tag_artifact,
        verify_artifact,
        verify_store,
    )
    from finetuner.data.document import Document
    from finetuner.runs.run import Run

    __version__: str

__all__ = [
    "Document",
    "Run",
    "collect_garbage",
    "delete_artifact",
    "delete_run",
    "diff_artifacts",
    "encode",
    "evaluate",
    "fit",
    "get_model",
    "get_run",
    "inspect",
    "list_artifacts",
    "list_runs",
    "login",
    "pull",
    "pull_data",
    "push",
    "push_data",
    "resume_run",
    "tag_artifact",
    "verify_artifact",
    "verify_store",
]

_ELSEWHERE = {"Document": "finetuner.data.document", "Run": "finetuner.runs.run"}
"""Where a public name lives that is not a function of ``finetuner.api``."""


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that importing stays cheap."""
    if name == "__version__":
        from importlib.metadata import version

        return version("finetuner-core")
    if name not in __all__:
        raise AttributeError(f"module 'finetuner' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "finetuner.api")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
