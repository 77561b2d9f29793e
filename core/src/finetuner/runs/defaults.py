"""What ``fit`` uses where the user says nothing, and the resolved record of it."""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import Any

from finetuner.contracts import OptimizerSpec, RunSpec, Schedule
from finetuner.errors import UnknownNameError, UsageError

LOSS = "NTXentLoss"
BATCH_SIZE = 128
NUM_ITEMS_PER_CLASS = 4
LEARNING_RATE = 4e-4
WARMUP = 0.1
EPOCHS = 3
VAL_SPLIT = 0.1
CHUNKS = 4

_OPTIMIZER_FIELDS = ("weight_decay", "betas", "eps", "momentum", "nesterov", "clip_norm")
_SCHEDULER_FIELDS = ("warmup", "warmup_steps", "floor")


def run_name(model: str) -> str:
    """A name for a run that was given none: ``MODEL-DATE-TIME-XXXX``."""
    stem = "".join(
        c if c.isalnum() or c in "._-" else "-" for c in model.rstrip("/").split("/")[-1]
    )
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{stem.strip('-._') or 'run'}-{stamp}-{secrets.token_hex(2)}"


def optimizer_spec(spec: RunSpec, steps: int) -> OptimizerSpec:
    """The optimizer with its schedule over ``steps`` updates.

    ``scheduler_options`` are ``warmup`` (share of the steps) or ``warmup_steps``,
    and ``floor`` (last factor). ``UnknownNameError`` for any other option.
    """
    _check("optimizer option", spec.optimizer_options, _OPTIMIZER_FIELDS)
    _check("scheduler option", spec.scheduler_options, _SCHEDULER_FIELDS)
    if spec.optimizer not in ("adamw", "sgd"):
        raise UnknownNameError("optimizer", spec.optimizer, ("adamw", "sgd"))
    if spec.scheduler not in ("constant", "linear", "cosine"):
        raise UnknownNameError("scheduler", spec.scheduler, ("constant", "linear", "cosine"))
    rate = LEARNING_RATE if spec.learning_rate is None else spec.learning_rate
    if not rate > 0:
        raise UsageError(f"learning_rate is {rate}: give a number above 0")
    options = dict(spec.scheduler_options)
    warmup = options.get("warmup_steps", round(options.get("warmup", WARMUP) * steps))
    schedule = Schedule(
        name=spec.scheduler,  # type: ignore[arg-type]
        warmup_steps=int(warmup),
        total_steps=steps,
        floor=float(options.get("floor", 0.0)),
    )
    chosen: dict[str, Any] = dict(spec.optimizer_options)
    if "betas" in chosen:
        chosen["betas"] = tuple(chosen["betas"])
    return OptimizerSpec(
        name=spec.optimizer,  # type: ignore[arg-type]
        learning_rate=float(rate),
        schedule=schedule,
        **chosen,
    )


def resolved(spec: RunSpec, **found: Any) -> RunSpec:
    """``spec`` with its open choices filled in, as the manifest records it."""
    return dataclasses.replace(spec, **found)


def _check(kind: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            raise UnknownNameError(kind, name, known)
