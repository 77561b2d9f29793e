from dataclasses import replace

import pytest

from finetuner.contracts import (
    FreezeDecision,
    LayerCall,
    Operation,
    Parameter,
    PlanOptions,
    PoolingChoice,
    Tap,
)
from finetuner.errors import ModelError
from finetuner.reference import ChainStep, chain_graph, check_chain_plan, steps_before
from finetuner.testing.backend_case import plan_with_installed

WEIGHT = Parameter("a.weight", (3, 2), "float32")
HEAD = Parameter("b.weight", (2, 5), "float32")
STEPS = (
    ChainStep("a", "Dense", "linear", "dense", (WEIGHT,)),
    ChainStep("a", "Dense", "tanh", "activation"),
    ChainStep("b", "Dense", "linear", "dense", (HEAD,)),
)
LAYERS = [step.layer for step in STEPS]


def graph():
    shapes = [(4, 3), (4, 2), (4, 2), (4, 5)]
    return chain_graph("abacus", STEPS, shapes, input="x", output="y", facts={"class": "Chain"})


def plan():
    return plan_with_installed(graph(), PlanOptions())


def test_each_step_reads_what_the_one_before_gave():
    assert graph().operations == (
        Operation(0, "linear", "dense", "a", 0, (0,), (1,), ("a.weight",)),
        Operation(1, "tanh", "activation", "a", 0, (1,), (2,)),
        Operation(2, "linear", "dense", "b", 0, (2,), (3,), ("b.weight",)),
    )
    assert [tensor.shape for tensor in graph().tensors] == [(4, 3), (4, 2), (4, 2), (4, 5)]
    assert (graph().inputs, graph().outputs) == ((("x", 0),), (("y", 3),))


def test_a_layer_is_called_around_all_its_steps():
    assert graph().calls == (
        LayerCall("", 0, (0,), (3,), 0, 2),
        LayerCall("a", 0, (0,), (2,), 0, 1),
        LayerCall("b", 0, (2,), (3,), 2, 2),
    )
    assert graph().depth == ("a", "b")


def test_its_last_dense_layer_is_the_head():
    assert plan().head == ("b",)
    assert steps_before(plan().taps[0], LAYERS) == 2


@pytest.mark.parametrize(
    ("tap", "steps"),
    [
        (Tap("a"), 2),
        (Tap("b", side="input"), 2),
        (Tap("b"), 3),
        (Tap("a", side="input"), 0),
        (Tap(""), 3),
        (Tap("", side="input"), 0),
    ],
)
def test_a_tap_cuts_at_a_whole_layer(tap, steps):
    assert steps_before(tap, LAYERS) == steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"framework": "torch"}, "for torch, not for the abacus backend"),
        ({"pooling": PoolingChoice("mean")}, "no map to pool"),
        ({"taps": (Tap("a"), Tap("b"))}, "one tap"),
        ({"freeze": FreezeDecision("lora", inject={"a": 2})}, "whole layers for good"),
        ({"freeze": FreezeDecision("first:1", frozen=("c",))}, "unknown layer 'c'"),
        ({"head": ("c",)}, "another model"),
    ],
)
def test_a_plan_that_a_chain_cannot_follow_is_refused(changes, message):
    check_chain_plan(plan(), "abacus", LAYERS)
    with pytest.raises(ModelError, match=message):
        check_chain_plan(replace(plan(), **changes), "abacus", LAYERS)
