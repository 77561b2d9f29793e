from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from finetuner.contracts import PairWeights, Triplets
from finetuner.errors import UsageError
from finetuner.learning.losses import contrastive, nt_xent, sup_con, triplet_margin
from finetuner.learning.miners import batch_all

LABELS = [0, 0, 1, 1]
DISTANCES = np.array(
    [[0.0, 0.2, 0.3, 0.8], [0.2, 0.0, 0.5, 0.9], [0.3, 0.5, 0.0, 0.6], [0.8, 0.9, 0.6, 0.0]]
)


def value(outcome: Any) -> float:
    return float(outcome[0])


def test_triplet_margin_of_triplets_by_hand(xp: Any, pair_batch: Callable[..., Any]) -> None:
    # (0, 1, 2): 0.2 + 0.2 - 0.3 = 0.1; (2, 3, 0): 0.6 + 0.2 - 0.3 = 0.5; (3, 2, 1): zero
    negative, valid = np.zeros((4, 4), np.int64), np.zeros((4, 4), bool)
    for a, p, n in [(0, 1, 2), (2, 3, 0), (3, 2, 1)]:
        negative[a, p], valid[a, p] = n, True
    pairs = pair_batch(DISTANCES, LABELS, Triplets(negative, valid))
    loss, scalars = triplet_margin(xp, pairs, margin=0.2)
    assert loss == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)
    assert scalars["active"] == pytest.approx(2 / 3)


def test_soft_margin_by_hand(xp: Any, pair_batch: Callable[..., Any]) -> None:
    negative, valid = np.zeros((4, 4), np.int64), np.zeros((4, 4), bool)
    negative[0, 1], valid[0, 1] = 2, True
    negative[3, 2], valid[3, 2] = 1, True
    pairs = pair_batch(DISTANCES, LABELS, Triplets(negative, valid))
    expected = (np.log1p(np.exp(0.2 - 0.3)) + np.log1p(np.exp(0.6 - 0.9))) / 2
    assert value(triplet_margin(xp, pairs, soft_margin=True)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_pair_weights_give_the_mean_of_all_active_triplets(
    xp: Any,
    margin: float,
    triplets: Callable[..., Any],
    pair_batch: Callable[..., Any],
) -> None:
    rng = np.random.default_rng(0)
    labels, distances = rng.integers(0, 6, 30), rng.random((30, 30)).astype(np.float32)
    losses = [distances[a, p] + margin - distances[a, n] for a, p, n in triplets(labels)]
    active = [loss for loss in losses if loss > 0]
    weights = batch_all(xp, distances, labels, labels, np.eye(30, dtype=bool), margin=margin)
    loss, scalars = triplet_margin(xp, pair_batch(distances, labels, weights), margin=margin)
    assert loss == pytest.approx(np.mean(active), abs=1e-6)
    assert scalars["active"] == pytest.approx(len(active) / len(losses), abs=1e-6)


def test_no_active_triplet_is_a_loss_of_zero(xp: Any, pair_batch: Callable[..., Any]) -> None:
    nothing = np.zeros((4, 4), np.float32)
    for mined in (PairWeights(nothing), Triplets(nothing.astype(int), nothing > 0)):
        loss, scalars = triplet_margin(xp, pair_batch(DISTANCES, LABELS, mined))
        assert loss == 0
        assert scalars["active"] == 0


def test_triplet_margin_without_a_miner_is_an_error(xp: Any, pair_batch: Any) -> None:
    with pytest.raises(UsageError, match="miner"):
        triplet_margin(xp, pair_batch(DISTANCES, LABELS))


def test_nt_xent_by_hand(xp: Any, pair_batch: Callable[..., Any]) -> None:
    e = np.exp(-DISTANCES / 0.5)
    expected = np.mean(
        [
            -np.log(e[a, p] / (e[a, p] + sum(e[a, n] for n in negatives)))
            for a, p, negatives in [(0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))]
        ]
    )
    loss, scalars = nt_xent(xp, pair_batch(DISTANCES, LABELS), temperature=0.5)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert scalars["active"] == 1


def test_sup_con_by_hand(xp: Any, pair_batch: Callable[..., Any]) -> None:
    labels = [0, 0, 0, 1]
    e = np.exp(-DISTANCES / 0.5)
    losses = [
        -np.mean([np.log(e[a, p] / (e[a].sum() - e[a, a])) for p in range(3) if p != a])
        for a in range(3)
    ]
    loss, scalars = sup_con(xp, pair_batch(DISTANCES, labels), temperature=0.5)
    assert loss == pytest.approx(np.mean(losses), abs=1e-6)
    assert scalars["active"] == pytest.approx(3 / 4)


def test_contrastive_by_hand(xp: Any, pair_batch: Callable[..., Any]) -> None:
    # Positives 0.2 and 0.6 (twice each) beyond 0.25: 0.35. Negatives 0.3, 0.5, 0.8, 0.9
    # within 0.85: 0.55, 0.35, 0.05.
    loss, scalars = contrastive(xp, pair_batch(DISTANCES, LABELS), pos_margin=0.25, neg_margin=0.85)
    assert loss == pytest.approx(0.35 + (0.55 + 0.35 + 0.05) / 3, abs=1e-6)
    assert scalars["active"] == pytest.approx((2 + 6) / 12)


@pytest.mark.parametrize("loss", [nt_xent, sup_con, contrastive])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_one_class_or_no_pair_stays_finite(
    xp: Any, loss: Any, labels: list[int], pair_batch: Callable[..., Any]
) -> None:
    found, scalars = loss(xp, pair_batch(DISTANCES, labels))
    assert np.isfinite(found)
    assert np.isfinite(scalars["active"])


@pytest.mark.parametrize("loss", [nt_xent, sup_con])
def test_a_small_temperature_does_not_overflow(
    xp: Any, loss: Any, pair_batch: Callable[..., Any]
) -> None:
    assert np.isfinite(value(loss(xp, pair_batch(100 * DISTANCES, LABELS), temperature=1e-3)))
