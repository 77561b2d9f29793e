"""The dataflow: what carries content, and what everything must pass through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuner.adaptation.flow import INPUT, Flow, Value
from finetuner.contracts import ModelGraph, Operation, Tensor


@st.composite
def graphs(draw):
    """Random graphs: up to two inputs, each operation reads one to three earlier tensors."""
    inputs = draw(st.integers(1, 2))
    operations = []
    for index in range(draw(st.integers(1, 9))):
        below = st.integers(0, inputs + index - 1)
        read = tuple(draw(st.lists(below, min_size=1, max_size=3)))
        operations.append(Operation(index, "op", "other", "", 0, read, (inputs + index,)))
    tensors = tuple(Tensor(i, (2, 4), "float32") for i in range(inputs + len(operations)))
    named = tuple((f"x{i}", i) for i in range(inputs))
    return ModelGraph(
        "torch", tensors, tuple(operations), (), (), named, (("y", len(tensors) - 1),)
    )


def reachable(graph, target, without):
    """Whether ``target`` can be reached from an input when ``without`` is taken out."""
    alive = {tensor for _, tensor in graph.inputs} - {without}
    for op in graph.operations:
        if alive.intersection(op.inputs):
            alive.update(set(op.outputs) - {without})
    return target in alive


@given(graphs())
def test_dominators_are_what_no_path_avoids(graph):
    flow, target = Flow.of(graph), graph.outputs[0][1]
    found = {value.tensor for value in flow.chain([flow.final(target)])}
    expected = {t.id for t in graph.tensors if not reachable(graph, target, without=t.id)}
    # A tensor that the target does not depend on is avoided by all paths, not dominating.
    assert found == {t for t in expected if t == target or t in _ancestors(graph, target)}


@given(graphs())
def test_the_nearest_dominator_comes_first(graph):
    flow = Flow.of(graph)
    chain = flow.chain([flow.final(graph.outputs[0][1])])
    assert [v.source for v in chain] == sorted((v.source for v in chain), reverse=True)


def _ancestors(graph, target):
    needed = {target}
    for op in reversed(graph.operations):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
    return needed


def test_an_in_place_change_makes_a_new_value_of_the_same_tensor():
    graph = ModelGraph(
        "torch",
        (Tensor(0, (2, 4), "float32"), Tensor(1, (2, 4), "float32")),
        (
            Operation(0, "linear", "dense", "", 0, (0,), (1,)),
            Operation(1, "relu_", "activation", "", 0, (1,), (1,)),
            Operation(2, "tanh_", "activation", "", 0, (1,), (1,)),
        ),
        (),
        (),
        (("x", 0),),
        (("y", 1),),
    )
    flow = Flow.of(graph)
    assert flow.final(1) == Value(1, 2)
    assert flow.chain([flow.final(1)]) == (
        Value(1, 2), Value(1, 1), Value(1, 0), Value(0, INPUT),
    )  # fmt: skip


def test_masks_truth_values_and_indices_carry_no_content(sketch):
    s = sketch()
    ids, mask = s.input("input_ids", 7, dtype="int64"), s.input("attention_mask", 7)
    x = s.inline("embedding", ids, (7, 8))
    masked = s.inline("combine", [x, mask], (7, 8))
    truth = s.inline("other", ids, (7,), dtype="bool")
    cast = s.inline("reshape", truth, (7,))
    chosen = s.inline("select", [masked, ids], (8,))
    flow = Flow.of(s.graph(chosen))
    assert flow.carriers[1] == (Value(x, 0),)
    assert not flow.is_content(flow.final(truth))
    assert not flow.is_content(flow.final(cast))
    assert flow.carriers[4] == (Value(masked, 1),)


def test_weights_behind_a_reparametrisation_are_found(sketch):
    s = sketch()
    names = s.hold("fc", {"g": (4, 1), "v": (4, 6)})
    weight = s.inline("other", [], (4, 6), names)
    y = s.inline("dense", [s.input("array", 6), weight], (4,))
    flow = Flow.of(s.graph(y))
    assert flow.parameters[1] == ("fc.g", "fc.v")
