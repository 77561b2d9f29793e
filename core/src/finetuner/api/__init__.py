"""The public functions. Two arguments suffice; everything else can be adjusted.

Each is loaded when first used: sending a bundle takes nothing of what trains a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.api.datasets import pull_data, push_data
    from finetuner.api.fitting import fit, inspect, login, resume_run
    from finetuner.api.models import encode, evaluate, export, get_model
    from finetuner.api.stores import (
        collect_garbage,
        delete_artifact,
        diff_artifacts,
        list_artifacts,
        pull,
        push,
        tag_artifact,
        verify_artifact,
        verify_store,
    )
    from finetuner.runs.run import delete_run, get_run, list_runs

__all__ = [
    "collect_garbage",
    "delete_artifact",
    "delete_run",
    "diff_artifacts",
    "encode",
    "evaluate",
    "export",
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

_HOMES = {
    "finetuner.api.datasets": ("pull_data", "push_data"),
    "finetuner.api.fitting": ("fit", "inspect", "login", "resume_run"),
    "finetuner.api.models": ("encode", "evaluate", "export", "get_model"),
    "finetuner.runs.run": ("delete_run", "get_run", "list_runs"),
}
"""Modules of functions that are not about stores."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'finetuner.api' has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "finetuner.api.stores")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
