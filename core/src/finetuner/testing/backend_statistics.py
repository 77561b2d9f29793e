"""The suite's tests of running statistics, for backends that know batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contracts.backend import State
from finetuner.testing.backend_case import BackendCase, assert_same_bits, copied, inside
from finetuner.testing.suite import ConformanceSuite


class StatisticsTests(ConformanceSuite):
    """What a backend does with statistics that training follows and evaluation uses."""

    def test_statistics_follow_training_and_not_evaluation(self, case: BackendCase) -> None:
        normalised = with_statistics(case)
        state = normalised.fresh()
        fresh = statistics(normalised, state)
        normalised.backend.embed(state, normalised.inputs(4, 1))
        assert_same_bits(statistics(normalised, state), fresh)
        state, _ = normalised.train(state, 1)
        moved = statistics(normalised, state)
        assert any(not np.array_equal(moved[name], fresh[name]) for name in fresh)

    def test_frozen_statistics_keep_their_bits(self, case: BackendCase) -> None:
        normalised = with_statistics(case)
        asked: dict[str, Any] = {"freeze": "backbone", "output_dim": 3}
        frozen = normalised.plan(**asked).freeze.frozen
        state = normalised.fresh(**asked)
        before = statistics(normalised, state)
        assert all(inside(name, frozen) for name in before)
        state, _ = normalised.train(state, 3)
        assert_same_bits(statistics(normalised, state), before)

    def test_statistics_are_part_of_a_checkpoint(self, case: BackendCase, tmp_path: Path) -> None:
        normalised = with_statistics(case)
        state, _ = normalised.train(normalised.fresh(), 2)
        normalised.backend.save(state, tmp_path)
        saved = statistics(normalised, state)
        restored = normalised.backend.restore(normalised.fresh(), tmp_path)
        assert_same_bits(statistics(normalised, restored), saved)

    def test_training_leaves_the_statistics_of_the_users_model(self, case: BackendCase) -> None:
        normalised = with_statistics(case)
        model = normalised.model()
        before = copied(normalised.model_weights(model))
        held = replace(normalised, model=lambda: model)
        held.train(held.fresh(), 2)
        assert_same_bits(normalised.model_weights(model), before)


def with_statistics(case: BackendCase) -> BackendCase:
    """The case of the model with statistics; skips where there is none."""
    if case.statistics_model is None:
        pytest.skip(f"{case.backend.name} gives no statistics_model")
    return replace(case, model=case.statistics_model)


def statistics(case: BackendCase, state: State) -> Mapping[str, np.ndarray]:
    assert case.state_statistics is not None, "a statistics_model needs state_statistics"
    found = copied(case.state_statistics(state))
    assert found, "the statistics_model has no running statistics"
    return found
