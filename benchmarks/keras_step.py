"""A Keras run against a hand-written ``keras.Model.fit``, on TensorFlow and on JAX.

A residual CNN with random weights, batch-all triplet margin over P×K batches, clipping,
AdamW. Ours is core's trainer, with the batches that it makes and the checkpoints that
it writes; the peer is ``fit`` of the same model, weights and batches with the loss
written in ``keras.ops``. Each call trains one epoch; both take turns in one process
for each Keras backend. The first epochs, in which both compile, are not measured.
Without a GPU ``fit`` under TensorFlow runs with ``jit_compile=False``, as ours does:
XLA compiles convolutions badly for processors, and the peer shall be the quicker one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _harness import Ratio, Row, paired, report

BACKENDS = ("tensorflow", "jax")
CLASSES, ITEMS, STEPS, SIDE = 16, 4, 8, 32
WIDTHS = (16, 32, 64, 128)
MARGIN, RATE, DECAY, CLIP, EPSILON = 0.2, 1e-4, 0.01, 1.0, 1e-8
LIMIT = 1.10

Epoch = Callable[[], float]
"""Trains one epoch and gives the mean of its losses."""


class Counted:
    """Wraps a function whose Python code runs once for each compilation, and counts those."""

    def __init__(self) -> None:
        self.compilations = 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            self.compilations += 1
            return function(*arguments)

        return noted


def data() -> tuple[np.ndarray, np.ndarray]:
    """Noise around one random image a class, as many as an epoch of whole batches takes."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES * 2), ITEMS * STEPS // 2)
    centres = random.normal(size=(CLASSES * 2, SIDE, SIDE, 3))
    images = centres[labels] + random.normal(size=(len(labels), SIDE, SIDE, 3))
    return images.astype(np.float32), labels


def backbone() -> Any:
    """Two convolutions a width with batch normalisation, the second one residual."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = x = keras.Input((SIDE, SIDE, 3))
    for number, width in enumerate(WIDTHS):
        x = layers.Conv2D(width, 3, 2 if number else 1, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.add([x, layers.BatchNormalization()(y)]))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def ours(model: Any, images: np.ndarray, labels: np.ndarray, sampler: Any, count: Counted) -> Epoch:
    """``Trainer.fit`` for one epoch, from the state that the epoch before left."""
    from finetuner.adaptation import make_plan
    from finetuner.contracts import OptimizerSpec, PlanOptions, Schedule
    from finetuner.data.encode import EncodedRows
    from finetuner.learning import resolve_objective
    from finetuner.plugins import default_host
    from finetuner.training import Trainer
    from finetuner_keras.backend import KerasBackend

    host, backend = default_host(), KerasBackend()
    plan = make_plan(
        backend.trace(model, {"image": images[:2]}),
        PlanOptions(),
        adapters=(),
        poolings=host.by_name("poolings"),
        freezing=host.by_name("freezing"),
    )
    objective = resolve_objective(
        host,
        "TripletMarginLoss",
        miner="all",
        loss_options={"margin": MARGIN},
        classes=CLASSES * 2,
        width=plan.width,
    )
    spec = OptimizerSpec(
        "adamw", RATE, DECAY, eps=EPSILON, clip_norm=CLIP, schedule=Schedule("constant")
    )
    state = backend.init(backend.adapt(model, plan), spec, seed=0, precision="float32")
    rows = EncodedRows("image", len(images), lambda row, epoch: images[row])
    counted = count(objective)

    def epoch() -> float:
        nonlocal state
        with tempfile.TemporaryDirectory() as directory:
            result = Trainer(
                backend,
                state,
                rows,
                labels,
                sampler,
                counted,
                epochs=1,
                directory=Path(directory),
                progress=False,
            ).fit()
        state = result.state
        return float(result.history[-1].loss)

    return epoch


def by_hand(model: Any, images: np.ndarray, labels: np.ndarray, count: Counted) -> Epoch:
    """``Model.fit`` for one epoch over rows that already lie in the order of the batches."""
    import keras

    model = keras.Model(model.input, keras.layers.UnitNormalization()(model.output))
    optimizer = keras.optimizers.AdamW(
        RATE, weight_decay=DECAY, epsilon=EPSILON, global_clipnorm=CLIP
    )
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if v.ndim < 2])
    plain = keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")
    model.compile(optimizer, count(triplet_margin), jit_compile=False if plain else "auto")

    def epoch() -> float:
        history = model.fit(images, labels, batch_size=CLASSES * ITEMS, shuffle=False, verbose=0)
        return float(history.history["loss"][-1])

    return epoch


def triplet_margin(labels: Any, embeddings: Any) -> Any:
    """Batch-all triplet margin over cosine distances: the mean of those that are not zero."""
    from keras import ops

    labels = ops.reshape(labels, (-1,))
    distances = 1.0 - ops.matmul(embeddings, ops.transpose(embeddings))
    same = ops.equal(labels[:, None], labels[None])
    other = ops.logical_not(ops.eye(labels.shape[0], dtype="bool"))
    valid = ops.logical_and(same, other)[:, :, None] & ops.logical_not(same)[:, None]
    losses = ops.relu(distances[:, :, None] - distances[:, None] + MARGIN)
    losses = ops.where(valid, losses, 0.0)
    active = ops.sum(ops.cast(losses > 0.0, "float32"))
    return ops.sum(losses) / ops.maximum(active, 1.0)


def measure(pairs: int) -> dict[str, Any]:
    """Losses, compilations and times of the Keras backend of this process."""
    from finetuner.learning.samplers import class_balanced

    logging.disable(logging.WARNING)
    images, labels = data()
    sampler = class_balanced(labels, CLASSES * ITEMS, ITEMS)
    # Each call of the trainer begins with its epoch 0: the batches are always the same.
    order = np.concatenate(sampler.epoch(0))
    model, counts = backbone(), (Counted(), Counted())
    mine = ours(model, images, labels, sampler, counts[0])
    hand = by_hand(model, images[order], labels[order], counts[1])
    difference = abs(mine() - hand())
    mine(), hand()
    before = [count.compilations for count in counts]
    ratio = paired(mine, hand, pairs, warm_up=0)
    after = [count.compilations for count in counts]
    return {
        "difference": difference,
        "ratio": ratio,
        "compilations": after[0],
        "late": after[0] - before[0],
        "by_hand": after[1],
    }


def measured(backend: str, pairs: int) -> list[Row]:
    """The rows of one Keras backend, from a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, "--measure", "--pairs", str(pairs)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    ratio = Ratio(*found["ratio"])
    return [
        Row(
            f"{backend}: mean loss of the first epoch, difference",
            found["difference"],
            1e-3,
            "lower",
        ),
        Row(f"{backend}: epoch, time over Model.fit", ratio, LIMIT, "lower"),
        Row(f"{backend}: compilations of the step", found["compilations"], 1, "lower"),
        Row(f"{backend}: compilations while measured", found["late"], 0, "lower"),
        Row(f"{backend}: compilations of Model.fit", found["by_hand"], None, "lower"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--backend", choices=BACKENDS, help="one of them alone (default: both)")
    parser.add_argument("--pairs", type=int, default=20, help="epochs of each (default: 20)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.pairs)))
        return 0
    chosen = [arguments.backend] if arguments.backend else BACKENDS
    rows = [row for backend in chosen for row in measured(backend, arguments.pairs)]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
