"""The public functions. Two arguments suffice; everything else can be adjusted."""

from finetuner.api.fitting import fit, inspect, login, resume_run
from finetuner.api.models import encode, evaluate, export, get_model, pull, push
from finetuner.runs.run import delete_run, get_run, list_runs

__all__ = [
    "delete_run",
    "encode",
    "evaluate",
    "export",
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
