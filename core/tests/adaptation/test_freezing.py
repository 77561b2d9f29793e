"""Freezing policies: depth, names, and what must be left to train."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuner.adaptation import make_plan
from finetuner.adaptation.freezing import freeze_first
from finetuner.contracts import FreezeDecision, FreezingRecord, Layer, ModelGraph, PlanOptions
from finetuner.contracts.graph import Parameter
from finetuner.errors import ModelError, UnknownNameError, UsageError


@pytest.fixture
def deep(sketch):
    """Layers a, block.b, block.c, d and the head e."""
    s = sketch()
    x = s.dense("a", s.input("array", 6), 8)
    first = len(s.operations)
    y = s.dense("block.c", s.dense("block.b", x, 8), 8)
    s.around("block", [x], [y], first)
    return s.graph(s.dense("e", s.dense("d", y, 8), 3))


def frozen(found):
    return found.freeze.frozen


def test_none_freezes_nothing(plan, deep):
    assert frozen(plan(deep)) == ()


@pytest.mark.parametrize(
    ("share", "layers"),
    [
        ("0", ()),
        ("0.24", ()),
        ("0.25", ("a",)),
        ("0.5", ("a", "block.b")),
        ("0.99", ("a", "block.b", "block.c")),
    ],
)
def test_first_counts_kept_layers_in_dataflow_order(plan, deep, share, layers):
    assert frozen(plan(deep, freeze=f"first:{share}")) == layers


@given(st.integers(0, 100), st.integers(0, 40))
def test_first_is_exact_for_decimal_shares(percent, count):
    layers = tuple(
        Layer(f"l{i}", "L", (Parameter(f"l{i}.w", (1,), "float32"),)) for i in range(count)
    )
    graph = ModelGraph("torch", (), (), layers, (), (), ())
    decision = freeze_first(graph, f"{percent / 100:.2f}", dict)
    assert len(decision.frozen) == percent * count // 100


@pytest.mark.parametrize(
    ("layer", "layers"),
    [
        ("a", ("a",)),
        ("block.b", ("a", "block.b")),
        ("block", ("a", "block.b", "block.c")),
        ("block.*", ("a", "block.b", "block.c")),
    ],
)
def test_until_includes_the_layer_container_or_pattern(plan, deep, layer, layers):
    assert frozen(plan(deep, freeze=f"until:{layer}")) == layers


def test_backbone_needs_something_new_to_train(plan, deep):
    with pytest.raises(ModelError, match=r"leaves nothing to train.*output_dim="):
        plan(deep, freeze="backbone")
    found = plan(deep, freeze="backbone", output_dim=4)
    assert frozen(found) == ("a", "block.b", "block.c", "d")
    assert (found.width, found.embedding_width) == (8, 4)


def test_a_learnable_pooling_is_something_to_train(plan, cnn):
    assert plan(cnn, freeze="backbone", pooling="gem").pooling is not None
    with pytest.raises(ModelError, match="leaves nothing to train"):
        plan(cnn, freeze="backbone", pooling="mean")


def test_frozen_rows_say_so(plan, deep):
    rows = {row.name: row.frozen for row in plan(deep, freeze="first:0.5").layers}
    assert rows == {"a": True, "block.b": True, "block.c": False, "d": False, "e": False}


def test_the_reason_counts(plan, deep):
    texts = [r.text for r in plan(deep, freeze="first:0.5").reasons if r.subject == "freeze"]
    assert texts == ["first:0.5: 2 of 4 layers are frozen"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("first", "needs a fraction"),
        ("first:", "needs a fraction"),
        ("first:1.5", "needs a fraction"),
        ("first:-0.1", "needs a fraction"),
        ("first:nan", "needs a fraction"),
        ("first:half", "needs a fraction"),
        ("until", "needs a layer"),
        ("none:1", "takes no argument"),
        ("backbone:x", "takes no argument"),
        ("until:e", "no layer there holds parameters that the embedding needs"),
        ("first:1", "leaves nothing to train"),
    ],
)
def test_bad_arguments_are_explained(plan, deep, spec, message):
    with pytest.raises((UsageError, ModelError), match=message):
        plan(deep, freeze=spec)


@pytest.mark.parametrize(("spec", "near"), [("frist:0.5", "first"), ("until:block.d", "block.b")])
def test_unknown_names_offer_near_ones(plan, deep, spec, near):
    with pytest.raises(UnknownNameError, match=near):
        plan(deep, freeze=spec)


def test_weights_marked_by_the_user_do_not_train(plan, sketch):
    s = sketch()
    x = s.run("body", "dense", s.input("array", 6), (8,), {"weight": (8, 6)}, trainable=False)
    with pytest.raises(ModelError, match="marked as not trainable"):
        plan(s.graph(s.dense("fc", x, 3)))


def test_a_model_without_weights_needs_a_projection(plan, sketch):
    s = sketch()
    graph = s.graph(s.same("flatten", "reshape", s.input("array", 6)))
    with pytest.raises(ModelError, match=r"no weights.*output_dim="):
        plan(graph)
    assert plan(graph, output_dim=4).embedding_width == 4


def test_statistics_alone_are_nothing_to_train(plan, sketch):
    s = sketch()
    x = s.run("bn", "norm", s.input("array", 6), (6,), statistics={"running_mean": (6,)})
    with pytest.raises(ModelError, match="nothing would train"):
        plan(s.graph(x))


class TestForeignPolicies:
    def plan(self, graph, decide, measure=None):
        return make_plan(
            graph,
            PlanOptions(freeze="mine:7"),
            adapters=(),
            poolings={},
            freezing={"mine": FreezingRecord("mine", decide)},
            measure=measure,
        )

    def test_they_see_kept_layers_argument_and_measure(self, deep):
        seen = {}

        def decide(graph, argument, measure):
            seen.update(depth=graph.depth, argument=argument, norms=measure())
            return FreezeDecision(frozen=("a",), groups={"d": 0.1})

        found = self.plan(deep, decide, measure=lambda: {"a": 1.0})
        assert seen == {
            "depth": ("a", "block.b", "block.c", "d"),
            "argument": "7",
            "norms": {"a": 1.0},
        }
        assert found.freeze == FreezeDecision("mine:7", frozen=("a",), groups={"d": 0.1})

    def test_measuring_where_nothing_can_is_an_error(self, deep):
        with pytest.raises(UsageError, match="measure"):
            self.plan(deep, lambda graph, argument, measure: measure())

    def test_a_layer_that_does_not_exist_is_an_error(self, deep):
        with pytest.raises(UnknownNameError, match="'block'"):
            self.plan(deep, lambda graph, argument, measure: FreezeDecision(frozen=("blocks",)))

    def test_low_rank_adapters_are_something_to_train(self, deep):
        everything = ("a", "block.b", "block.c", "d")
        found = self.plan(deep, lambda *_: FreezeDecision(frozen=everything, inject={"d": 4}))
        assert found.freeze.inject == {"d": 4}
