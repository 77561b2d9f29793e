"""Our losses against pytorch-metric-learning's: values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from finetuner.builtin.learning import DISTANCES, LOSSES, MINERS
from finetuner.learning import make_objective
from finetuner_torch import xp

pytest.importorskip("pytorch_metric_learning")

from pytorch_metric_learning import distances, losses, miners, reducers

LOSS = {record.name: record for record in LOSSES}
MINER = {record.name: record for record in MINERS}
DISTANCE = {record.name: record for record in DISTANCES}


def batch(labels: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(32) % 8 if labels is None else labels
    centres = torch.randn(64, 10, generator=generator)[labels]
    return centres + torch.randn(len(labels), 10, generator=generator), labels


def check(ours: Any, theirs: Any, labels: torch.Tensor | None = None) -> None:
    embeddings, labels = batch(labels)
    mine = embeddings.clone().requires_grad_()
    other = embeddings.clone().requires_grad_()
    # Their distances normalise; ours take vectors as they are.
    value, _ = ours(xp, torch.nn.functional.normalize(mine), labels, {}, 0)
    expected = theirs(other, labels)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def objective(loss: str, distance: str, miner: str | None = None, **options: Any) -> Any:
    found = MINER[miner] if miner else None
    return make_objective(
        LOSS[loss], DISTANCE[distance], found, loss_options=options, classes=8, width=10
    )


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.5])
def test_batch_all_is_their_triplet_margin_loss_on_all_triplets(margin: float) -> None:
    theirs = losses.TripletMarginLoss(margin=margin, triplets_per_anchor="all")
    check(objective("TripletMarginLoss", "euclidean", "all", margin=margin), theirs)


@pytest.mark.parametrize("soft", [True, False])
def test_hard_is_their_batch_hard_miner(soft: bool) -> None:
    distance = distances.LpDistance()
    options = {"soft_margin": True} if soft else {"margin": 0.3}
    margin = 0.0 if soft else 0.3
    reducer = reducers.MeanReducer() if soft else reducers.AvgNonZeroReducer()
    loss = losses.TripletMarginLoss(margin, smooth_loss=soft, reducer=reducer)
    miner = miners.BatchHardMiner(distance=distance)
    check(
        objective("TripletMarginLoss", "euclidean", "hard", **options),
        lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels)),
    )


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize(
    "labels", [None, torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])], ids=["balanced", "with a single"]
)
def test_nt_xent_and_sup_con_are_theirs(temperature: float, labels: torch.Tensor | None) -> None:
    for name in ("NTXentLoss", "SupConLoss"):
        theirs = getattr(losses, name)(temperature=temperature)
        check(objective(name, "cosine", temperature=temperature), theirs, labels)


@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.2, 0.9)])
def test_contrastive_is_theirs(margins: tuple[float, float]) -> None:
    theirs = losses.ContrastiveLoss(pos_margin=margins[0], neg_margin=margins[1])
    ours = objective("ContrastiveLoss", "euclidean", pos_margin=margins[0], neg_margin=margins[1])
    check(ours, theirs)
