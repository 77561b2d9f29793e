"""The suite's tests of models: interpreted, adapted, embedding, cut and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from finetuner.contracts import LoadedModel, ModelGraph, OptimizerSpec
from finetuner.errors import FinetunerError, ModelError, UsageError
from finetuner.testing.backend_case import (
    PLAIN_SGD,
    BackendCase,
    assert_same_bits,
    copied,
    needs,
    plan_with_installed,
)
from finetuner.testing.objectives import Contrast
from finetuner.testing.suite import ConformanceSuite


class ModelTests(ConformanceSuite):
    """What a backend does with a model that it does not train."""

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
        before = copied(case.model_weights(model))
        backend, sample = case.backend, case.inputs(2, 0)
        plan = plan_with_installed(backend.trace(model, sample), case.options)
        state = backend.init(backend.adapt(model, plan), PLAIN_SGD, seed=0, device="cpu")
        for number in range(2):
            state, _ = backend.step(state, case.batch(number), Contrast())
        backend.embed(state, sample)
        assert_same_bits(case.model_weights(model), before)

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

    def test_inputs_that_the_model_does_not_take_are_refused(self, case: BackendCase) -> None:
        state, inputs = case.fresh(), case.inputs(2, 0)
        renamed = {f"no_{name}": values for name, values in inputs.items()}
        with pytest.raises(FinetunerError):
            case.backend.embed(state, renamed)

    # Cutting in two

    def test_prefix_and_rest_equal_the_whole(self, case: BackendCase) -> None:
        needs(case, "split")
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
        needs(case, "split")
        model = case.backend.adapt(case.model(), case.plan())
        with pytest.raises(FinetunerError):
            case.backend.split(model, "no.such.layer")

    # Exporting

    def test_onnx_gives_the_same_vectors_at_every_batch_size(
        self, case: BackendCase, tmp_path: Path
    ) -> None:
        needs(case, "export")
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
        needs(case, "export")
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

    def test_dropout_may_be_kept_or_off_and_is_a_rate(self, case: BackendCase) -> None:
        model = case.backend.adapt(case.model(), case.plan())
        for dropout in (None, 0.0):
            case.backend.init(model, PLAIN_SGD, seed=0, device="cpu", dropout=dropout)
        for rate in (1.0, -0.1):
            with pytest.raises(UsageError):
                case.backend.init(model, PLAIN_SGD, seed=0, device="cpu", dropout=rate)
