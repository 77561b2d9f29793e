"""The suite passes the sound backends and fails every broken one, in the right place."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.builtin.numpy_backend import NumpyBackend
from finetuner.builtin.numpy_training import NumpyState
from finetuner.contracts import OptimizerSpec
from finetuner.errors import UsageError
from finetuner.testing import BackendCase, BackendTests, overrides


class TestNumpyBackend(BackendTests):
    @pytest.fixture
    def case(self, numpy_case: BackendCase) -> BackendCase:
        return numpy_case


class TestFunctionalFake(BackendTests):
    @pytest.fixture
    def case(self, functional_case: BackendCase) -> BackendCase:
        return functional_case


def failures(case: BackendCase, tmp_path: Path) -> set[str]:
    """Names of the suite's tests that ``case`` fails, each run on its own."""
    failed, suite = set(), BackendTests()
    for number, (name, method) in enumerate(inspect.getmembers(suite, inspect.ismethod)):
        if not name.startswith("test_"):
            continue
        given: dict[str, Any] = {"case": case}
        if "tmp_path" in inspect.signature(method).parameters:
            given["tmp_path"] = tmp_path / str(number)
            given["tmp_path"].mkdir()
        try:
            method(**given)
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):
            failed.add(name)
    return failed


class ForgetsMoments(NumpyBackend):
    """Restores the weights and not the optimizer."""

    def restore(self, state: NumpyState, directory: Path) -> NumpyState:
        return replace(super().restore(state, directory), moments=state.moments)


class ChangesTheUsersModel(NumpyBackend):
    """Trains the very arrays that it was given."""

    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        new, scalars = super().step(state, batch, objective)
        self.model.weight[:] = new.parameters["dense.weight"]
        return new, scalars

    def adapt(self, model: Any, plan: Any, *, seed: int = 0) -> Any:
        self.model = model
        return super().adapt(model, plan, seed=seed)


class Thaws(NumpyBackend):
    """Knows nothing of frozen layers."""

    def adapt(self, model: Any, plan: Any, *, seed: int = 0) -> Any:
        return replace(super().adapt(model, plan, seed=seed), frozen=frozenset())


class MinesChunkByChunk(NumpyBackend):
    """Looks at the first chunk only instead of the whole batch."""

    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        first = batch.chunks[:1]
        rows = len(next(iter(first[0].values())))
        return super().step(
            state, replace(batch, chunks=first, labels=batch.labels[:rows]), objective
        )


class IgnoresTheSchedule(NumpyBackend):
    """Trains at a constant rate."""

    def init(self, model: Any, optimizer: OptimizerSpec, **options: Any) -> Any:
        schedule = replace(optimizer.schedule, name="constant", warmup_steps=0)
        return super().init(model, replace(optimizer, schedule=schedule), **options)


class NeverClips(NumpyBackend):
    def init(self, model: Any, optimizer: OptimizerSpec, **options: Any) -> Any:
        return super().init(model, replace(optimizer, clip_norm=None), **options)


class UpdatesOnNan(NumpyBackend):
    """Lets a loss that is not finite into the weights."""

    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        new, scalars = super().step(state, batch, objective)
        if np.isfinite(scalars["loss"]):
            return new, scalars
        broken = {name: array * np.nan for name, array in state.parameters.items()}
        return replace(state, parameters=broken), scalars


class SwapsGradients(NumpyBackend):
    """Its pullback forgets the Jacobian of the normalisation."""

    def pullback(self, state: Any, inputs: Any, embedding_gradients: Any) -> Any:
        bare = replace(state, model=replace(state.model, normalize=False))
        return super().pullback(bare, inputs, embedding_gradients)


class TakesAnyPlan(NumpyBackend):
    def adapt(self, model: Any, plan: Any, *, seed: int = 0) -> Any:
        return super().adapt(model, replace(plan, framework="numpy"), seed=seed)


class Noisy(NumpyBackend):
    """Embeds with something left in training mode."""

    def embed(self, state: Any, inputs: Any) -> np.ndarray:
        vectors = super().embed(state, inputs)
        return vectors + np.random.default_rng().normal(0, 1e-3, vectors.shape).astype(np.float32)


class ExportsTheUntrained(NumpyBackend):
    def export(self, state: Any, path: Path, inputs: Any, sample: Any) -> None:
        super().export(
            replace(state, parameters=dict(state.model.parameters)), path, inputs, sample
        )


class Pickles(NumpyBackend):
    def save_weights(self, state: Any, directory: Path) -> str:
        import pickle

        (directory / "weights.bin").write_bytes(pickle.dumps(dict(state.parameters)))
        return "weights.bin"


class TrainsOnItsOwnLoss(NumpyBackend):
    """Differentiates the loss only where it is not piecewise: hinges have no slope."""

    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        new, scalars = super().step(state, batch, objective)
        hinged = getattr(getattr(objective, "loss", None), "name", "") == "TripletMarginLoss"
        return (state if hinged else new), scalars


class TakesAnyInput(NumpyBackend):
    """Feeds whatever it is given to the model."""

    def embed(self, state: Any, inputs: Any) -> np.ndarray:
        values = next(iter(inputs.values()), np.zeros((1, 6), np.float32))
        return super().embed(state, {state.model.input: values})


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (ForgetsMoments, "test_a_restored_state_goes_on_with_the_same_bits"),
        (ChangesTheUsersModel, "test_nothing_done_to_it_changes_the_users_model"),
        (Thaws, "test_a_frozen_layer_keeps_its_bits_and_the_rest_learns"),
        (MinesChunkByChunk, "test_a_step_reports_the_objectives_loss_over_the_whole_batch"),
        (IgnoresTheSchedule, "test_the_learning_rate_follows_the_schedule"),
        (NeverClips, "test_updates_are_those_of_the_reference_optimizer"),
        (UpdatesOnNan, "test_a_loss_that_is_not_finite_leaves_the_weights"),
        (SwapsGradients, "test_pullback_is_the_derivative_of_embed"),
        (TakesAnyPlan, "test_a_plan_for_something_else_is_refused"),
        (Noisy, "test_embedding_twice_gives_the_same_bits"),
        (ExportsTheUntrained, "test_onnx_gives_the_same_vectors_at_every_batch_size"),
        (Pickles, "test_nothing_is_pickled"),
        (TakesAnyInput, "test_inputs_that_the_model_does_not_take_are_refused"),
        (TrainsOnItsOwnLoss, "test_every_loss_and_miner_trains_as_the_reference_does"),
    ],
)
def test_a_broken_backend_fails_where_it_is_broken(
    numpy_case: BackendCase, tmp_path: Path, broken: type[NumpyBackend], test: str
) -> None:
    failed = failures(replace(numpy_case, backend=broken()), tmp_path)
    assert test in failed
    assert len(failed) < 12


def test_a_sound_backend_fails_nothing(numpy_case: BackendCase, tmp_path: Path) -> None:
    assert failures(numpy_case, tmp_path) == set()


def test_a_suite_without_a_case_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="fixture case"):
        BackendTests.case.__wrapped__(BackendTests())


def test_a_test_is_replaced_only_for_a_reason() -> None:
    with pytest.raises(UsageError, match=r"replaces test_nothing_is_pickled .*without a reason"):

        class Silent(BackendTests):
            def test_nothing_is_pickled(self, case: BackendCase, tmp_path: Path) -> None: ...

    with pytest.raises(UsageError, match="replaces test_nothing_is_pickled"):

        class Removed(BackendTests):
            test_nothing_is_pickled = None  # type: ignore[assignment]

    class Honest(BackendTests):
        @overrides("this backend keeps nothing")
        def test_nothing_is_pickled(self, case: BackendCase, tmp_path: Path) -> None: ...

        def test_something_of_its_own(self) -> None: ...

    class Inherits(Honest):
        """What stands above with a reason needs no other."""


def test_a_mixin_replaces_nothing_in_silence() -> None:
    class Mixin:
        def test_it_loads_a_live_model(self) -> None: ...

    with pytest.raises(UsageError, match="replaces test_it_loads_a_live_model"):

        class Mixed(Mixin, BackendTests): ...


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_a_reason_is_in_words(reason: Any) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        overrides(reason)
