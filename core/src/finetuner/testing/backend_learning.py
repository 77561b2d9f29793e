"""The suite's tests that core's learning code runs in a backend as it does in numpy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from finetuner.arrays import ARRAY_FUNCTIONS
from finetuner.builtin.learning import DISTANCES, LOSSES, MINERS
from finetuner.builtin.numpy_gradients import loss_gradients
from finetuner.contracts import LossRecord, MinerRecord
from finetuner.learning.objective import MetricObjective, make_objective
from finetuner.testing.backend_case import LABELS, PLAIN_SGD, BackendCase, assert_close, copied
from finetuner.testing.suite import ConformanceSuite

CLASSES = len(set(LABELS.tolist()))


class LearningTests(ConformanceSuite):
    """What a backend does with distances, miners and losses that are written in ``xp``."""

    def test_xp_offers_every_function_that_learning_code_may_use(self, case: BackendCase) -> None:
        missing = [name for name in ARRAY_FUNCTIONS if not callable(getattr(case.backend.xp, name))]
        assert not missing

    def test_every_loss_and_miner_trains_as_the_reference_does(self, case: BackendCase) -> None:
        """The loss of a batch, and the step that follows from it, are those of differences."""
        batch = case.batch()
        vectors = case.backend.embed(case.fresh(), batch.chunks[0])
        for objective in objectives(vectors.shape[1]):
            state = case.fresh()
            before = copied(case.state_weights(state))
            expected = loss_gradients(objective, vectors, LABELS, {}, batch.key)
            gradients = case.backend.pullback(state, batch.chunks[0], expected.embeddings)
            state, scalars = case.backend.step(state, batch, objective)
            moved = case.state_weights(state)
            assert scalars["loss"] == pytest.approx(expected.loss, abs=1e-4), objective
            found = {
                name: (before[name] - moved[name]) / PLAIN_SGD.learning_rate for name in gradients
            }
            assert_close(found, gradients, 2e-3)


def objectives(width: int) -> Iterator[MetricObjective]:
    """Every built-in loss without learnable parameters, with each miner that can feed it."""
    for loss in (loss for loss in LOSSES if loss.parameters is None):
        distance = next(d for d in DISTANCES if d.name == (loss.distance or "cosine"))
        for miner in _miners_for(loss):
            yield make_objective(loss, distance, miner, classes=CLASSES, width=width)


def _miners_for(loss: LossRecord) -> tuple[MinerRecord | None, ...]:
    return tuple(miner for miner in MINERS if miner.yields in loss.consumes) or (None,)
