"""The suite's tests of training: steps, frozen layers, derivatives and checkpoints."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetuner.builtin import numpy_xp
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.contracts import OptimizerSpec, Schedule
from finetuner.errors import FinetunerError, ModelError
from finetuner.testing.backend_case import (
    LABELS,
    PLAIN_SGD,
    ROWS,
    BackendCase,
    assert_close,
    assert_same_bits,
    copied,
    inside,
    pulled,
)
from finetuner.testing.objectives import Contrast, Linear
from finetuner.testing.suite import ConformanceSuite


class TrainingTests(ConformanceSuite):
    """What a backend does with a model that it trains."""

    # Stepping

    def test_training_lowers_the_loss(self, case: BackendCase) -> None:
        backend = case.backend
        for name, rate in (("sgd", 0.05), ("adamw", 0.01)):
            spec = OptimizerSpec(name, learning_rate=rate, schedule=Schedule("constant"))  # type: ignore[arg-type]
            state, losses = case.fresh(spec), []
            for _ in range(10):
                state, scalars = backend.step(state, case.batch(), Contrast())
                losses.append(scalars["loss"])
            assert losses[-1] < losses[0]

    def test_a_step_reports_the_objectives_loss_over_the_whole_batch(
        self, case: BackendCase
    ) -> None:
        state, batch = case.fresh(), case.batch(chunks=3)
        vectors = np.concatenate([case.backend.embed(state, chunk) for chunk in batch.chunks])
        loss, scalars = Contrast()(numpy_xp, vectors.astype(np.float64), LABELS, {}, 0)
        _, reported = case.backend.step(state, batch, Contrast())
        assert reported["loss"] == pytest.approx(float(loss), abs=1e-4)
        assert reported["similarity"] == pytest.approx(float(scalars["similarity"]), abs=1e-4)
        assert all(isinstance(value, float) for value in reported.values())

    def test_chunks_change_nothing_but_rounding(self, case: BackendCase) -> None:
        spec = replace(PLAIN_SGD, learning_rate=0.1)
        one, _ = case.backend.step(case.fresh(spec), case.batch(chunks=1), Contrast())
        three, _ = case.backend.step(case.fresh(spec), case.batch(chunks=3), Contrast())
        assert_close(case.state_weights(three), case.state_weights(one), 1e-5)

    def test_a_step_leaves_the_batch_as_it_was(self, case: BackendCase) -> None:
        batch = case.batch(chunks=2)
        before = [copied(chunk) for chunk in batch.chunks]
        case.backend.step(case.fresh(), batch, Contrast())
        for chunk, kept in zip(batch.chunks, before, strict=True):
            assert_same_bits(chunk, kept)
        np.testing.assert_array_equal(batch.labels, LABELS)

    def test_the_objective_gets_the_batchs_key(self, case: BackendCase) -> None:
        state = case.fresh()
        width = case.backend.embed(state, case.inputs(1, 0)).shape[1]
        objective = Linear(np.ones((ROWS, width), np.float32))
        _, scalars = case.backend.step(state, case.batch(key=77), objective)
        assert scalars["key"] == 77

    def test_the_learning_rate_follows_the_schedule(self, case: BackendCase) -> None:
        for name in ("constant", "linear", "cosine"):
            schedule = Schedule(name, warmup_steps=2, total_steps=6, floor=0.1)
            spec = replace(PLAIN_SGD, learning_rate=0.02, schedule=schedule)
            _, reports = case.train(case.fresh(spec), 5)
            rates = [report["learning_rate"] for report in reports]
            expected = [0.02 * schedule.factor(step) for step in range(5)]
            np.testing.assert_allclose(rates, expected, rtol=1e-5)

    def test_updates_are_those_of_the_reference_optimizer(self, case: BackendCase) -> None:
        """AdamW, SGD, decay, clipping and schedule have one definition."""
        schedule = Schedule("linear", warmup_steps=1, total_steps=5)
        # A large epsilon keeps AdamW from blowing up the rounding of tiny gradients.
        adamw = OptimizerSpec(
            "adamw", 0.05, weight_decay=0.1, eps=1e-2, clip_norm=0.5, schedule=schedule
        )
        sgd = OptimizerSpec("sgd", 0.05, weight_decay=0.1, clip_norm=0.5, schedule=schedule)
        for spec in (adamw, sgd, replace(sgd, nesterov=True, clip_norm=None)):
            self._follow(case, spec)

    def _follow(self, case: BackendCase, spec: OptimizerSpec) -> None:
        state, moments = case.fresh(spec), Moments()
        width = case.backend.embed(state, case.inputs(1, 0)).shape[1]
        for number in range(3):
            slope = np.random.default_rng(number).normal(size=(ROWS, width)).astype(np.float32)
            batch = case.batch(number)
            weights = copied(case.state_weights(state))
            gradients = case.backend.pullback(state, batch.chunks[0], slope)
            clipped, norm = clip(gradients, spec.clip_norm)
            expected, moments = update(spec, weights, clipped, moments)
            state, scalars = case.backend.step(state, batch, Linear(slope))
            assert scalars["grad_norm"] == pytest.approx(norm, rel=1e-4)
            assert_close(case.state_weights(state), expected, 1e-5)

    def test_the_objectives_parameters_learn(self, case: BackendCase) -> None:
        objective = Contrast({"scale": np.array(1.0, np.float32)})
        state = case.fresh(replace(PLAIN_SGD, learning_rate=0.1), objective.parameters)
        batch = case.batch()
        vectors = case.backend.embed(state, batch.chunks[0]).astype(np.float64)

        def loss(scale: float) -> float:
            parameters = {"scale": np.array(scale)}
            return float(objective(numpy_xp, vectors, LABELS, parameters, 0)[0])

        slope = (loss(1 + 1e-4) - loss(1 - 1e-4)) / 2e-4
        state, first = case.backend.step(state, batch, objective)
        state, second = case.backend.step(state, batch, objective)
        assert first["scale"] == 1.0
        assert second["scale"] == pytest.approx(1.0 - 0.1 * slope, abs=1e-5)

    def test_a_loss_that_is_not_finite_leaves_the_weights(self, case: BackendCase) -> None:
        state = case.fresh(replace(PLAIN_SGD, learning_rate=0.1))
        width = case.backend.embed(state, case.inputs(1, 0)).shape[1]
        before = copied(case.state_weights(state))
        for slope in (np.nan, np.inf):
            objective = Linear(np.full((ROWS, width), slope, np.float32))
            state, scalars = case.backend.step(state, case.batch(), objective)
            assert not np.isfinite(scalars["loss"])
            assert_same_bits(case.state_weights(state), before)
        state, scalars = case.backend.step(state, case.batch(), Contrast())
        assert np.isfinite(scalars["loss"])

    def test_the_same_seed_and_batches_give_the_same_bits(self, case: BackendCase) -> None:
        one, _ = case.train(case.fresh(OptimizerSpec(), dropout=None), 3)
        other, _ = case.train(case.fresh(OptimizerSpec(), dropout=None), 3)
        assert_same_bits(case.state_weights(one), case.state_weights(other))

    # Freezing

    def test_a_frozen_layer_keeps_its_bits_and_the_rest_learns(self, case: BackendCase) -> None:
        freeze = f"until:{case.frozen_layer}"
        spec = OptimizerSpec("adamw", 0.05, schedule=Schedule("constant"))
        state = case.fresh(spec, freeze=freeze, output_dim=3)
        before = copied(case.state_weights(state))
        state, _ = case.train(state, 3)
        after = case.state_weights(state)
        layers = case.plan(freeze=freeze, output_dim=3).freeze.frozen
        assert case.frozen_layer in layers
        frozen = {name for name in before if inside(name, layers)}
        assert frozen
        assert_same_bits({n: after[n] for n in frozen}, {n: before[n] for n in frozen})
        assert any(not np.array_equal(after[n], before[n]) for n in set(before) - frozen)
        assert not frozen & set(pulled(case, state))

    def test_a_model_with_nothing_to_train_is_refused(self, case: BackendCase) -> None:
        plan = case.plan()
        depth = case.backend.trace(case.model(), case.inputs(2, 0)).depth
        frozen = replace(plan.freeze, frozen=depth)
        with pytest.raises(ModelError, match=r"nothing (would|to) train"):
            case.backend.init(
                case.backend.adapt(case.model(), replace(plan, freeze=frozen)), PLAIN_SGD, seed=0
            )

    # Derivatives

    def test_pullback_is_the_derivative_of_embed(self, case: BackendCase) -> None:
        """A small step against the gradient G moves sum(slope * embeddings) by -rate * |G|²."""
        state, batch = case.fresh(), case.batch()
        inputs = batch.chunks[0]
        before = case.backend.embed(state, inputs)
        slope = np.random.default_rng(0).normal(size=before.shape).astype(np.float32)
        gradients = case.backend.pullback(state, inputs, slope)
        norm = clip(gradients, None)[1]
        rate = 1e-3 / norm
        state = case.fresh(replace(PLAIN_SGD, learning_rate=rate))
        weights = copied(case.state_weights(state))
        state, _ = case.backend.step(state, batch, Linear(slope))
        moved = case.state_weights(state)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(weights[name] - moved[name], rate * gradient, atol=1e-6)
        change = float(np.sum(slope * (case.backend.embed(state, inputs) - before)))
        assert change == pytest.approx(-rate * norm**2, rel=0.05)

    def test_pullback_leaves_the_weights(self, case: BackendCase) -> None:
        state = case.fresh()
        before = copied(case.state_weights(state))
        pulled(case, state)
        assert_same_bits(case.state_weights(state), before)

    # Keeping

    def test_a_restored_state_goes_on_with_the_same_bits(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        spec = OptimizerSpec("adamw", 0.01, schedule=Schedule("linear", 1, 6))
        objective = Contrast({"scale": np.array(2.0, np.float32)})
        state, _ = case.train(case.fresh(spec, objective.parameters, None), 3, objective)
        case.backend.save(state, tmp_path)
        whole, reports = case.train(state, 3, objective, start=3)
        fresh = case.fresh(spec, objective.parameters, None)
        resumed = case.backend.restore(fresh, tmp_path)
        resumed, again = case.train(resumed, 3, objective, start=3)
        assert_same_bits(case.state_weights(resumed), case.state_weights(whole))
        assert again == reports

    def test_a_used_state_can_go_back(self, case: BackendCase, tmp_path: Path) -> None:
        state, _ = case.train(case.fresh(OptimizerSpec()), 1)
        case.backend.save(state, tmp_path)
        saved = copied(case.state_weights(state))
        state, _ = case.train(state, 2)
        assert_same_bits(case.state_weights(case.backend.restore(state, tmp_path)), saved)

    def test_the_checkpoint_of_another_model_is_refused(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        case.backend.save(case.fresh(output_dim=3), tmp_path)
        with pytest.raises(FinetunerError):
            case.backend.restore(case.fresh(output_dim=5), tmp_path)

    def test_nothing_is_pickled(self, case: BackendCase, tmp_path: Path) -> None:
        state, _ = case.train(case.fresh(OptimizerSpec()), 1)
        case.backend.save(state, tmp_path)
        name = case.backend.save_weights(state, tmp_path)
        assert (tmp_path / name).is_file()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        for path in files:
            assert path.read_bytes()[:2] not in {b"\x80" + bytes([v]) for v in range(2, 6)}
            if zipfile.is_zipfile(path):
                assert not [n for n in zipfile.ZipFile(path).namelist() if n.endswith(".pkl")]
