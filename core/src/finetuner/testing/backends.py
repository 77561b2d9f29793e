"""The conformance suite for backends.

An author subclasses :class:`BackendTests` and gives one fixture:

>>> class TestMyBackend(BackendTests):
...     @pytest.fixture
...     def case(self) -> BackendCase:
...         return BackendCase(MyBackend(), make_model, ...)
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from finetuner.adaptation import make_plan
from finetuner.builtin import numpy_xp
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.contracts import (
    AdaptationPlan,
    Backend,
    Batch,
    Inputs,
    InputSpec,
    LoadedModel,
    ModelGraph,
    Objective,
    OptimizerSpec,
    PlanOptions,
    Schedule,
)
from finetuner.contracts.backend import Model, State
from finetuner.errors import FinetunerError, ModelError
from finetuner.plugins import default_host
from finetuner.testing.objectives import Contrast, Linear

ROWS = 8
LABELS = np.arange(ROWS) % 2
PLAIN_SGD = OptimizerSpec(
    "sgd",
    learning_rate=1e-3,
    weight_decay=0.0,
    momentum=0.0,
    clip_norm=None,
    schedule=Schedule("constant"),
)
ALL = frozenset({"split", "export"})


@dataclass(frozen=True)
class BackendCase:
    """What an author gives the suite.

    ``model()`` makes a small classifier, with the same weights every time: two
    or more layers with parameters, a dense head, and neither batch statistics nor
    anything random in training but dropout. ``inputs(rows, seed)`` gives inputs
    for it, other ones for another seed. ``model_weights`` and ``state_weights``
    read all weights of a model and of a state past the backend, by name, as
    copies; ``state_weights`` uses the names that ``pullback`` uses and leaves the
    objective's parameters out. ``frozen_layer`` is a layer with parameters in the
    backbone, ``split_at`` one where the model can be cut. ``capabilities`` names
    what the backend can do of ``{"split", "export"}``.
    """

    backend: Backend
    model: Callable[[], Model]
    inputs: Callable[[int, int], Inputs]
    specs: tuple[InputSpec, ...]
    model_weights: Callable[[Model], Mapping[str, np.ndarray]]
    state_weights: Callable[[State], Mapping[str, np.ndarray]]
    frozen_layer: str
    split_at: str = ""
    capabilities: frozenset[str] = ALL
    options: PlanOptions = PlanOptions()  # noqa: RUF009  (a frozen value)

    def plan(self, **changes: Any) -> AdaptationPlan:
        """The plan for the model with ``options`` changed like that."""
        graph = self.backend.trace(self.model(), self.inputs(2, 0))
        return plan_with_installed(graph, replace(self.options, **changes))

    def fresh(
        self,
        optimizer: OptimizerSpec = PLAIN_SGD,
        parameters: Mapping[str, np.ndarray] | None = None,
        **changes: Any,
    ) -> State:
        """A state of the adapted model, on the processor in float32."""
        model = self.backend.adapt(self.model(), self.plan(**changes), seed=1)
        return self.backend.init(
            model, optimizer, seed=2, device="cpu", precision="float32", parameters=parameters
        )

    def batch(self, seed: int = 0, chunks: int = 1, key: int = 5) -> Batch:
        """A batch of eight rows in two classes, cut into ``chunks``."""
        whole = self.inputs(ROWS, seed)
        parts = np.array_split(np.arange(ROWS), chunks)
        cut = tuple({name: values[part] for name, values in whole.items()} for part in parts)
        return Batch(cut, LABELS, key)

    def train(
        self, state: State, steps: int, objective: Objective | None = None, start: int = 0
    ) -> tuple[State, list[dict[str, float]]]:
        """``steps`` updates on batches ``start``, ``start + 1``, …, with what each reported."""
        reports = []
        for number in range(start, start + steps):
            batch = self.batch(seed=number, chunks=2, key=number)
            state, scalars = self.backend.step(state, batch, objective or Contrast())
            reports.append(scalars)
        return state, reports


def plan_with_installed(graph: ModelGraph, options: PlanOptions) -> AdaptationPlan:
    """Core's plan, with the adapters, poolings and policies of all installed plugins."""
    host = default_host()
    return make_plan(
        graph,
        options,
        adapters=[found.record for found in host.records("adapters").values()],
        poolings={name: found.record for name, found in host.records("poolings").items()},
        freezing={name: found.record for name, found in host.records("freezing").items()},
    )


class BackendTests:
    """Everything that core relies on. Subclass it and override ``case``."""

    @pytest.fixture
    def case(self) -> BackendCase:
        """The backend under test, with a model and inputs for it."""
        raise NotImplementedError("a subclass of BackendTests gives the fixture case")

    # Interpreting

    def test_it_recognises_its_models_and_no_others(self, case: BackendCase) -> None:
        assert case.backend.recognises(case.model())
        for stranger in (None, 3, "model", np.zeros(2), object()):
            assert not case.backend.recognises(stranger)

    def test_it_loads_a_live_model(self, case: BackendCase) -> None:
        model = case.model()
        loaded = case.backend.load(model, {})
        assert isinstance(loaded, LoadedModel)
        assert loaded.backend == case.backend.name
        assert loaded.model is model

    def test_what_cannot_be_loaded_is_an_error_of_finetuner(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        (tmp_path / "model.bin").write_bytes(b"no model")
        for source in (str(tmp_path / "model.bin"), str(tmp_path / "missing")):
            with pytest.raises(FinetunerError):
                case.backend.load(source, {})

    def test_the_graph_is_whole(self, case: BackendCase) -> None:
        sample = case.inputs(3, 0)
        graph = case.backend.trace(case.model(), sample)
        assert graph.framework == case.backend.framework
        assert {name for name, _ in graph.inputs} == set(sample)
        for name, tensor in graph.inputs:
            assert graph.tensor[tensor].shape == sample[name].shape
        assert graph.tensor[graph.outputs[0][1]].shape[0] == 3
        assert "class" in graph.facts
        known = {p.name for layer in graph.layers for p in layer.parameters}
        assert known == set(case.model_weights(case.model()))
        made = {tensor for _, tensor in graph.inputs}
        for place, operation in enumerate(graph.operations):
            assert operation.index == place
            assert operation.layer in graph.layer
            assert set(operation.parameters) <= known
            assert made.issuperset(set(operation.inputs) & set(graph.producer))
            made |= set(operation.outputs)
        for call in graph.calls:
            assert call.layer in graph.layer
            assert {*call.inputs, *call.outputs} <= set(graph.tensor)

    def test_the_graph_is_a_plain_value(self, case: BackendCase) -> None:
        sample = case.inputs(2, 0)
        graph = case.backend.trace(case.model(), sample)
        assert graph == case.backend.trace(case.model(), sample)
        assert msgspec.json.decode(msgspec.json.encode(graph), type=ModelGraph) == graph

    def test_nothing_done_to_it_changes_the_users_model(self, case: BackendCase) -> None:
        model = case.model()
        before = _copied(case.model_weights(model))
        backend, sample = case.backend, case.inputs(2, 0)
        plan = plan_with_installed(backend.trace(model, sample), case.options)
        state = backend.init(backend.adapt(model, plan), PLAIN_SGD, seed=0, device="cpu")
        for number in range(2):
            state, _ = backend.step(state, case.batch(number), Contrast())
        backend.embed(state, sample)
        _assert_same_bits(case.model_weights(model), before)

    # Adapting

    def test_embeddings_have_the_planned_width_and_norm(self, case: BackendCase) -> None:
        for normalize in (True, False):
            plan = case.plan(normalize=normalize)
            vectors = case.backend.embed(case.fresh(normalize=normalize), case.inputs(3, 0))
            assert vectors.shape == (3, plan.embedding_width)
            assert vectors.dtype == np.float32
            norms = np.linalg.norm(vectors, axis=1)
            assert np.allclose(norms, 1.0, atol=1e-5) is normalize

    def test_normalising_divides_by_the_norm(self, case: BackendCase) -> None:
        inputs = case.inputs(3, 0)
        raw = case.backend.embed(case.fresh(normalize=False), inputs)
        unit = case.backend.embed(case.fresh(normalize=True), inputs)
        np.testing.assert_allclose(
            unit, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5
        )

    def test_a_projection_has_its_width_and_follows_from_the_seed(self, case: BackendCase) -> None:
        backend, plan, inputs = case.backend, case.plan(output_dim=3), case.inputs(2, 0)

        def embedded(seed: int) -> np.ndarray:
            model = backend.adapt(case.model(), plan, seed=seed)
            return backend.embed(backend.init(model, PLAIN_SGD, seed=0, device="cpu"), inputs)

        assert embedded(1).shape == (2, 3)
        np.testing.assert_array_equal(embedded(1), embedded(1))
        assert not np.allclose(embedded(1), embedded(2))

    def test_a_plan_for_something_else_is_refused(self, case: BackendCase) -> None:
        plan = case.plan()
        tap = replace(plan.taps[0], layer="no.such.layer")
        freeze = replace(plan.freeze, frozen=("no.such.layer",))
        for foreign in (
            replace(plan, framework="abacus"),
            replace(plan, taps=(tap,)),
            replace(plan, freeze=freeze),
        ):
            with pytest.raises(ModelError):
                case.backend.adapt(case.model(), foreign)

    def test_a_width_that_the_model_does_not_have_is_refused_by_the_first_run(
        self, case: BackendCase
    ) -> None:
        backend, plan = case.backend, case.plan()

        def first_run() -> None:
            model = backend.adapt(case.model(), replace(plan, width=plan.width + 1))
            backend.embed(backend.init(model, PLAIN_SGD, seed=0, device="cpu"), case.inputs(2, 0))

        with pytest.raises(ModelError):
            first_run()

    # Embedding

    def test_embedding_twice_gives_the_same_bits(self, case: BackendCase) -> None:
        state, inputs = case.fresh(), case.inputs(4, 0)
        first = case.backend.embed(state, inputs)
        np.testing.assert_array_equal(case.backend.embed(state, inputs), first)

    def test_an_embedding_does_not_depend_on_its_batch_mates(self, case: BackendCase) -> None:
        state, inputs = case.fresh(), case.inputs(4, 0)
        alone = case.backend.embed(state, {name: v[1:2] for name, v in inputs.items()})
        np.testing.assert_allclose(case.backend.embed(state, inputs)[1:2], alone, atol=1e-5)

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
        _assert_close(case.state_weights(three), case.state_weights(one), 1e-5)

    def test_a_step_leaves_the_batch_as_it_was(self, case: BackendCase) -> None:
        batch = case.batch(chunks=2)
        before = [_copied(chunk) for chunk in batch.chunks]
        case.backend.step(case.fresh(), batch, Contrast())
        for chunk, kept in zip(batch.chunks, before, strict=True):
            _assert_same_bits(chunk, kept)
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
            weights = _copied(case.state_weights(state))
            gradients = case.backend.pullback(state, batch.chunks[0], slope)
            clipped, norm = clip(gradients, spec.clip_norm)
            expected, moments = update(spec, weights, clipped, moments)
            state, scalars = case.backend.step(state, batch, Linear(slope))
            assert scalars["grad_norm"] == pytest.approx(norm, rel=1e-4)
            _assert_close(case.state_weights(state), expected, 1e-5)

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
        before = _copied(case.state_weights(state))
        for slope in (np.nan, np.inf):
            objective = Linear(np.full((ROWS, width), slope, np.float32))
            state, scalars = case.backend.step(state, case.batch(), objective)
            assert not np.isfinite(scalars["loss"])
            _assert_same_bits(case.state_weights(state), before)
        state, scalars = case.backend.step(state, case.batch(), Contrast())
        assert np.isfinite(scalars["loss"])

    def test_the_same_seed_and_batches_give_the_same_bits(self, case: BackendCase) -> None:
        one, _ = case.train(case.fresh(OptimizerSpec()), 3)
        other, _ = case.train(case.fresh(OptimizerSpec()), 3)
        _assert_same_bits(case.state_weights(one), case.state_weights(other))

    # Freezing

    def test_a_frozen_layer_keeps_its_bits_and_the_rest_learns(self, case: BackendCase) -> None:
        freeze = f"until:{case.frozen_layer}"
        spec = OptimizerSpec("adamw", 0.05, schedule=Schedule("constant"))
        state = case.fresh(spec, freeze=freeze, output_dim=3)
        before = _copied(case.state_weights(state))
        state, _ = case.train(state, 3)
        after = case.state_weights(state)
        layers = case.plan(freeze=freeze, output_dim=3).freeze.frozen
        assert case.frozen_layer in layers
        frozen = {name for name in before if _inside(name, layers)}
        assert frozen
        _assert_same_bits({n: after[n] for n in frozen}, {n: before[n] for n in frozen})
        assert any(not np.array_equal(after[n], before[n]) for n in set(before) - frozen)
        assert not frozen & set(_pulled(case, state))

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
        weights = _copied(case.state_weights(state))
        state, _ = case.backend.step(state, batch, Linear(slope))
        moved = case.state_weights(state)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(weights[name] - moved[name], rate * gradient, atol=1e-6)
        change = float(np.sum(slope * (case.backend.embed(state, inputs) - before)))
        assert change == pytest.approx(-rate * norm**2, rel=0.05)

    def test_pullback_leaves_the_weights(self, case: BackendCase) -> None:
        state = case.fresh()
        before = _copied(case.state_weights(state))
        _pulled(case, state)
        _assert_same_bits(case.state_weights(state), before)

    # Keeping

    def test_a_restored_state_goes_on_with_the_same_bits(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        spec = OptimizerSpec("adamw", 0.01, schedule=Schedule("linear", 1, 6))
        objective = Contrast({"scale": np.array(2.0, np.float32)})
        state, _ = case.train(case.fresh(spec, objective.parameters), 3, objective)
        case.backend.save(state, tmp_path)
        whole, reports = case.train(state, 3, objective, start=3)
        fresh = case.fresh(spec, objective.parameters)
        resumed = case.backend.restore(fresh, tmp_path)
        resumed, again = case.train(resumed, 3, objective, start=3)
        _assert_same_bits(case.state_weights(resumed), case.state_weights(whole))
        assert again == reports

    def test_a_used_state_can_go_back(self, case: BackendCase, tmp_path: Path) -> None:
        state, _ = case.train(case.fresh(OptimizerSpec()), 1)
        case.backend.save(state, tmp_path)
        saved = _copied(case.state_weights(state))
        state, _ = case.train(state, 2)
        _assert_same_bits(case.state_weights(case.backend.restore(state, tmp_path)), saved)

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

    # Cutting in two

    def test_prefix_and_rest_equal_the_whole(self, case: BackendCase) -> None:
        _needs(case, "split")
        backend, inputs = case.backend, case.inputs(4, 0)
        model = backend.adapt(case.model(), case.plan(output_dim=3), seed=1)
        whole = backend.embed(backend.init(model, PLAIN_SGD, seed=0, device="cpu"), inputs)
        prefix, rest = (
            backend.init(part, PLAIN_SGD, seed=0, device="cpu")
            for part in backend.split(model, case.split_at)
        )
        between = backend.embed(prefix, inputs)
        np.testing.assert_allclose(
            backend.embed(rest, {**inputs, "prefix": between}), whole, atol=1e-5
        )

    def test_a_model_cannot_be_cut_at_a_layer_that_is_not_there(self, case: BackendCase) -> None:
        _needs(case, "split")
        model = case.backend.adapt(case.model(), case.plan())
        with pytest.raises(FinetunerError):
            case.backend.split(model, "no.such.layer")

    # Exporting

    def test_onnx_gives_the_same_vectors_at_every_batch_size(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        _needs(case, "export")
        session_of = pytest.importorskip("onnxruntime").InferenceSession
        state, _ = case.train(case.fresh(OptimizerSpec()), 1)
        path = tmp_path / "model.onnx"
        case.backend.export(state, path, case.specs, case.inputs(2, 0))
        session = session_of(str(path), providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == [spec.name for spec in case.specs]
        assert [o.name for o in session.get_outputs()] == ["embedding"]
        for rows in (1, 5):
            inputs = dict(case.inputs(rows, rows))
            (found,) = session.run(None, inputs)
            np.testing.assert_allclose(found, case.backend.embed(state, inputs), atol=1e-5)

    def test_export_under_names_that_the_model_does_not_have_is_refused(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        _needs(case, "export")
        specs = tuple(replace(spec, name=f"no_{spec.name}") for spec in case.specs)
        with pytest.raises(FinetunerError):
            case.backend.export(case.fresh(), tmp_path / "m.onnx", specs, case.inputs(2, 0))

    # Where and how

    def test_devices_and_precisions_can_be_asked_for(self, case: BackendCase) -> None:
        backend = case.backend
        assert "cpu" in backend.devices()
        assert backend.precisions("cpu")[0] == "float32"
        model = backend.adapt(case.model(), case.plan())
        for device, precision in (("abacus", "auto"), ("cpu", "float7")):
            with pytest.raises(FinetunerError):
                backend.init(model, PLAIN_SGD, seed=0, device=device, precision=precision)

    def test_dropout_may_be_kept_or_off(self, case: BackendCase) -> None:
        model = case.backend.adapt(case.model(), case.plan())
        for dropout in (None, 0.0):
            case.backend.init(model, PLAIN_SGD, seed=0, device="cpu", dropout=dropout)


def _inside(name: str, layers: tuple[str, ...]) -> bool:
    """Whether a weight is of one of the layers, whatever the backend wraps the model in."""
    owner = name.rpartition(".")[0]
    return any(owner == layer or owner.endswith(f".{layer}") for layer in layers)


def _needs(case: BackendCase, capability: str) -> None:
    if capability not in case.capabilities:
        pytest.skip(f"{case.backend.name} does not claim {capability!r}")


def _pulled(case: BackendCase, state: State) -> Mapping[str, np.ndarray]:
    inputs = case.inputs(2, 0)
    vectors = case.backend.embed(state, inputs)
    return case.backend.pullback(state, inputs, np.ones_like(vectors))


def _copied(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in arrays.items()}


def _assert_same_bits(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def _assert_close(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=tolerance, err_msg=name)
