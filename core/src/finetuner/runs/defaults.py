"""What ``fit`` uses where the user says nothing, and the resolved record of it."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping
from typing import Any

from finetuner.contracts import OptimizerSpec, RunSpec, Schedule
from finetuner.errors import UnknownNameError, UsageError
from finetuner.runs.arguments import field_types, typed

LOSS = "NTXentLoss"
BATCH_SIZE = 128
NUM_ITEMS_PER_CLASS = 4
LEARNING_RATE = 4e-4
WARMUP = 0.1
EPOCHS = 3
VAL_SPLIT = 0.1
CHUNKS = 4

_OPTIMIZERS = {
    "adamw": ("weight_decay", "betas", "eps", "clip_norm"),
    "sgd": ("weight_decay", "momentum", "nesterov", "clip_norm"),
}
_SCHEDULERS = {
    "constant": ("warmup", "warmup_steps"),
    "linear": ("warmup", "warmup_steps", "floor"),
    "cosine": ("warmup", "warmup_steps", "floor"),
}
"""The options that each has."""


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
    and ``floor`` (last factor). ``UnknownNameError`` for an option that the
    optimizer or scheduler does not have, ``UsageError`` for a value it cannot take.
    """
    rate = LEARNING_RATE if spec.learning_rate is None else spec.learning_rate
    known = _known("optimizer", spec.optimizer, _OPTIMIZERS, spec.optimizer_options)
    chosen = typed(field_types(OptimizerSpec, *known), spec.optimizer_options, "optimizer option ")
    if chosen.get("nesterov") and chosen.get("momentum") == 0:
        raise UsageError("optimizer option nesterov needs a momentum above 0")
    return OptimizerSpec(
        name=spec.optimizer,  # type: ignore[arg-type]
        learning_rate=rate,
        schedule=_schedule(spec, steps),
        **chosen,
    )


def _schedule(spec: RunSpec, steps: int) -> Schedule:
    known = _known("scheduler", spec.scheduler, _SCHEDULERS, spec.scheduler_options)
    types = {"warmup": float, "warmup_steps": int, "floor": float}
    chosen = typed({n: types[n] for n in known}, spec.scheduler_options, "scheduler option ")
    if {"warmup", "warmup_steps"} <= set(chosen):
        raise UsageError("scheduler options warmup and warmup_steps say the same: give one")
    share = chosen.pop("warmup", WARMUP)
    return Schedule(
        name=spec.scheduler,  # type: ignore[arg-type]
        total_steps=steps,
        **{"warmup_steps": round(share * steps)} | chosen,
    )


def resolved(spec: RunSpec, **found: Any) -> RunSpec:
    """``spec`` with its open choices filled in, as the manifest records it."""
    return dataclasses.replace(spec, **found)


def _known(
    kind: str, name: str, options: Mapping[str, tuple[str, ...]], given: Mapping[str, Any]
) -> tuple[str, ...]:
    """The options that ``name`` has; ``UnknownNameError`` for another name or option."""
    if name not in options:
        raise UnknownNameError(kind, name, options)
    for option in given:
        if option not in options[name]:
            raise UnknownNameError(f"option of {kind} {name}", option, options[name])
    return options[name]
