"""Batch-all triplet margin, forward and backward, against pytorch-metric-learning.

One thread, both in turns in one process, the same embeddings and labels; and the
peak memory of a batch of 8192 in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from _harness import Row, paired, report
from torch import Tensor

from finetuner.learning import resolve_objective
from finetuner.plugins.host import default_host
from finetuner_torch import xp

BATCH, LARGE = 1024, 8192
ITEMS, WIDTH = 4, 128
MARGIN = 0.2
GIGABYTE = 2**30


def batch(size: int) -> tuple[Tensor, Tensor]:
    """Unit vectors of ``size / ITEMS`` classes, each around a centre of its own."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(size // ITEMS, WIDTH, generator=generator)
    spread = torch.randn(size, WIDTH, generator=generator)
    points = centres.repeat_interleave(ITEMS, 0) + spread
    labels = torch.arange(size // ITEMS).repeat_interleave(ITEMS)
    return torch.nn.functional.normalize(points), labels


def ours() -> Callable[[Tensor, Tensor], Tensor]:
    """The objective that ``fit(loss="TripletMarginLoss", miner="all")`` trains with."""
    objective = resolve_objective(
        default_host(),
        "TripletMarginLoss",
        distance="euclidean",
        miner="all",
        loss_options={"margin": MARGIN},
        classes=BATCH // ITEMS,
        width=WIDTH,
    )
    return lambda embeddings, labels: objective(xp, embeddings, labels, {}, 0)[0]


def theirs() -> Callable[[Tensor, Tensor], Any]:
    """pytorch-metric-learning's loss on all triplets, with its own Euclidean distance."""
    from pytorch_metric_learning import distances, losses

    return losses.TripletMarginLoss(
        margin=MARGIN, triplets_per_anchor="all", distance=distances.LpDistance()
    )


def forward_backward(
    loss: Callable[[Tensor, Tensor], Any], embeddings: Tensor, labels: Tensor
) -> Callable[[], float]:
    """One call of the result is one forward and backward pass; gives the loss."""

    def run() -> float:
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        return value.item()

    return run


def peak_of_large_batch() -> dict[str, float]:
    """Peak memory (bytes) of a process that does one pass over the large batch."""
    run = subprocess.run(
        [sys.executable, __file__, "--large"], check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=9, help="calls of each (default: 9)")
    parser.add_argument("--large", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.large:
        loss = forward_backward(ours(), *batch(LARGE))()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"loss": loss, "peak": peak}))
        return 0
    mine, peer = (forward_backward(loss, *batch(BATCH)) for loss in (ours(), theirs()))
    difference = abs(mine() - peer())
    speed = paired(peer, mine, arguments.pairs, warm_up=0)
    rows = [
        Row(f"loss of B={BATCH}, difference", difference, 1e-5, "lower"),
        Row(f"times the peer's speed, B={BATCH}, K={ITEMS}, D={WIDTH}", speed, 15, "higher"),
        Row(f"peak memory of B={LARGE} (GB)", peak_of_large_batch()["peak"] / GIGABYTE, 4, "lower"),
    ]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
