"""Trains a small model with one backend and writes what happened: run as a process of its own.

``python engine.py BACKEND MODEL OUTPUT``; ``BACKEND`` is ``torch`` or ``keras`` (with
``KERAS_BACKEND`` set). Each framework turns the neutral weights into its own layout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.adaptation import make_plan
from finetuner.contracts import Batch, OptimizerSpec, PlanOptions, Schedule
from finetuner.learning import resolve_objective
from finetuner.plugins import default_host

STEPS, ROWS, WIDTH, LENGTH, WORDS = 50, 16, 8, 6, 30
SPEC = OptimizerSpec("adamw", 1e-3, eps=1e-4, schedule=Schedule("linear", 5, STEPS))
# Batch normalisation is frozen: PyTorch's running variance is unbiased, Keras's is not.
OPTIONS = {"cnn": PlanOptions(freeze="until:*norm*"), "block": PlanOptions(pooling="mean")}


def sample(model: str, seed: int) -> dict[str, np.ndarray]:
    """Images channels-last, or token numbers with a mask."""
    draw = np.random.default_rng(seed)
    if model == "cnn":
        return {"image": draw.normal(size=(ROWS, 10, 10, 3)).astype(np.float32)}
    mask = (np.arange(LENGTH) < draw.integers(2, LENGTH + 1, (ROWS, 1))).astype(np.int64)
    return {"input_ids": draw.integers(1, WORDS, (ROWS, LENGTH)), "attention_mask": mask}


def initial(model: str) -> dict[str, np.ndarray]:
    """Weights by neutral name, kernels with inputs first and outputs last."""
    shapes = {
        "cnn": {
            "conv1": (3, 3, 3, 6), "norm": (4, 6), "conv2": (3, 3, 6, WIDTH),
            "fc": (WIDTH, 3),
        },
        "block": {
            "table": (WORDS, WIDTH), "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH),
            "value": (WIDTH, WIDTH), "out": (WIDTH, WIDTH), "norm1": (2, WIDTH),
            "inner": (WIDTH, 16), "outer": (16, WIDTH), "norm2": (2, WIDTH), "fc": (WIDTH, 3),
        },
    }[model]  # fmt: skip
    draw = np.random.default_rng(7)
    return {
        name: (np.abs(draw.normal(size=shape)) + 0.5 if "norm" in name else
               draw.normal(size=shape) * 0.3).astype(np.float32)
        for name, shape in shapes.items()
    }  # fmt: skip


def main(framework: str, model: str, output: str) -> None:
    host = default_host()
    if framework == "torch":
        from torch_models import build, feed
    else:
        from keras_twins import build, feed
    backend = host.get("backends", framework).load()
    live = build(model, initial(model))
    graph = backend.trace(live, feed(sample(model, 0)))
    plan = make_plan(
        graph,
        OPTIONS[model],
        adapters=(),
        poolings=host.by_name("poolings"),
        freezing=host.by_name("freezing"),
    )
    objective = resolve_objective(
        host, "TripletMarginLoss", miner="semi-hard", classes=4, width=plan.embedding_width
    )
    state = backend.init(backend.adapt(live, plan), SPEC, seed=0, device="cpu", precision="float32")
    labels, losses = np.arange(ROWS) % 4, []
    negatives = mined(backend, state, objective, feed(sample(model, 0)), labels)
    for step in range(STEPS):
        batch = Batch((feed(sample(model, step % 8)),), labels, step)
        state, scalars = backend.step(state, batch, objective)
        losses.append(scalars["loss"])
    found = {
        "losses": losses,
        "embeddings": backend.embed(state, feed(sample(model, 99))).tolist(),
        "mined": negatives,
        "plan": neutral(plan),
    }
    Path(output).write_text(json.dumps(found))


def mined(backend: Any, state: Any, objective: Any, inputs: Any, labels: np.ndarray) -> Any:
    """Which triplets the first batch yields."""
    xp, vectors = backend.xp, backend.embed(state, inputs)
    like = xp.asarray([0.0], like=_tensor(backend, vectors), dtype="float32")
    pairs = objective._pairs(
        xp, xp.asarray(vectors, like=like), xp.asarray(labels, like=like), {}, 0, None
    )
    valid = np.asarray(pairs.mined.valid)
    return [np.where(valid, np.asarray(pairs.mined.negative), -1).tolist()]


def _tensor(backend: Any, array: np.ndarray) -> Any:
    if backend.name == "torch":
        import torch

        return torch.from_numpy(array)
    from keras import ops

    return ops.convert_to_tensor(array)


def neutral(plan: Any) -> dict[str, Any]:
    """What a plan decides, without the names of layers."""
    return {
        "head": len(plan.head),
        "width": plan.width,
        "pooling": plan.pooling.name if plan.pooling else None,
        "mask": plan.features.mask if plan.features else None,
        "frozen": sum(layer.frozen for layer in plan.layers),
        "roles": [layer.role for layer in plan.layers if layer.parameters],
        "parameters": [layer.parameters for layer in plan.layers if layer.parameters],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
