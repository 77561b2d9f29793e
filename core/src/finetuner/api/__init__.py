"""The public functions. Two arguments suffice; everything else can be adjusted."""

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
