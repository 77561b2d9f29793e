"""One training step of the PyTorch backend against a loop written by hand.

A transformer of MiniLM's size with random weights, mean pooling over the mask,
SupCon over the batch, clipping, fused AdamW on a linear schedule: both do the same
work from numpy arrays to the loss as a number, in turns in one process, and begin
with the same loss.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from _harness import Row, paired, report
from torch import nn
from torch.nn import functional

from finetuner.adaptation import make_plan
from finetuner.contracts import Batch, Inputs, OptimizerSpec, PlanOptions, Schedule
from finetuner.learning import resolve_objective
from finetuner.plugins.host import default_host
from finetuner_torch.backend import TorchBackend

CLASSES, ITEMS, TOKENS = 16, 4, 16
TEMPERATURE, CLIP = 0.05, 1.0
RATE, DECAY, WARM_UP, STEPS = 4e-5, 0.01, 10, 10_000


def transformer() -> nn.Module:
    """All-MiniLM-L6's shape: 6 layers of width 384, with random weights."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    return BertModel(config, add_pooling_layer=False)


def batch() -> tuple[Inputs, np.ndarray]:
    """Random tokens; a quarter of the rows is half padding."""
    generator = np.random.default_rng(0)
    mask = np.ones((CLASSES * ITEMS, TOKENS), np.int64)
    mask[::4, TOKENS // 2 :] = 0
    ids = generator.integers(1, 30_000, mask.shape) * mask
    labels = np.repeat(np.arange(CLASSES), ITEMS)
    return {"input_ids": ids, "attention_mask": mask}, labels


def ours(model: nn.Module, inputs: Inputs, labels: np.ndarray) -> Callable[[], float]:
    """``TorchBackend.step`` on one chunk; the result gives the loss."""
    host, backend = default_host(), TorchBackend()
    plan = make_plan(
        backend.trace(model, inputs),
        PlanOptions(pooling="mean"),
        adapters=(),
        poolings={name: found.record for name, found in host.records("poolings").items()},
        freezing={name: found.record for name, found in host.records("freezing").items()},
    )
    objective = resolve_objective(
        host,
        "SupConLoss",
        loss_options={"temperature": TEMPERATURE},
        classes=CLASSES,
        width=plan.width,
    )
    schedule = Schedule("linear", warmup_steps=WARM_UP, total_steps=STEPS)
    spec = OptimizerSpec("adamw", RATE, weight_decay=DECAY, clip_norm=CLIP, schedule=schedule)
    state = backend.init(
        backend.adapt(model, plan), spec, seed=0, device="cpu", precision="float32"
    )
    data = Batch((inputs,), labels)
    return lambda: backend.step(state, data, objective)[1]["loss"]


def by_hand(model: nn.Module, inputs: Inputs, labels: np.ndarray) -> Callable[[], float]:
    """The same in plain PyTorch, without dropout as the backend trains."""
    model = copy.deepcopy(model).eval()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=RATE,
        fused=True,
    )
    schedule = Schedule("linear", warmup_steps=WARM_UP, total_steps=STEPS)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)

    def step() -> float:
        ids, mask = (torch.from_numpy(inputs[n]) for n in ("input_ids", "attention_mask"))
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].float()
        embeddings = functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)
        loss = sup_con(embeddings, torch.from_numpy(labels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        scheduler.step()
        return loss.item()

    return step


def sup_con(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Khosla et al. (2020), the outer sum: mean over anchors of the mean over positives."""
    own = torch.eye(len(labels), dtype=torch.bool)
    logits = (embeddings @ embeddings.T / TEMPERATURE).masked_fill(own, -torch.inf)
    log_shares = logits - logits.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels[None]) & ~own
    return -(log_shares.masked_fill(~positive, 0.0).sum(1) / positive.sum(1)).mean()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=40, help="steps of each (default: 40)")
    arguments = parser.parse_args()
    model, (inputs, labels) = transformer(), batch()
    mine, hand = (make(model, inputs, labels) for make in (ours, by_hand))
    difference = abs(mine() - hand())
    ratio = paired(mine, hand, arguments.pairs, warm_up=2)
    rows = [
        Row("loss, difference", difference, 1e-4, "lower"),
        Row("step, time over a loop by hand", ratio, 1.05, "lower"),
        Row("step, upper end of the interval", ratio.high, 1.08, "lower"),
    ]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
