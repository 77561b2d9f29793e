"""The plan as a whole: a pure, complete, printable value."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest

from finetuner.adaptation import plan_from_json, plan_to_json, render_plan
from finetuner.contracts import Tap
from finetuner.errors import UsageError


@pytest.fixture(params=["mlp", "cnn", "encoder", "classifier"])
def graph(request, mlp, cnn, encoder):
    made = {"mlp": mlp, "cnn": cnn, "encoder": encoder(), "classifier": encoder(extra="classifier")}
    return made[request.param]


def test_it_says_what_goes_in_and_comes_out(plan, encoder):
    found = plan(encoder(extra="classifier"), output_dim=4, normalize=False)
    assert found.framework == "torch"
    assert found.inputs == ("input_ids", "attention_mask")
    assert (found.output, found.width, found.embedding_width) == ("logits", 8, 4)
    assert found.normalize is False
    assert {r.subject for r in found.reasons} == {
        "head", "features", "pooling", "projection", "normalize", "freeze",
    }  # fmt: skip


def test_the_same_graph_gives_the_same_plan(plan, graph):
    assert plan(graph) == plan(graph)


@pytest.mark.parametrize("seed", range(5))
def test_names_of_modules_do_not_matter(plan, graph, rename, seed):
    numbers = list(range(len(graph.layers)))
    random.Random(seed).shuffle(numbers)
    names = {
        layer.name: f"m{number}" if layer.name else ""
        for layer, number in zip(graph.layers, numbers, strict=True)
    }

    def tap(given: Tap) -> Tap:
        return replace(given, layer=names[given.layer])

    found, other = plan(graph), plan(rename(graph, names))
    assert other.head == tuple(names[layer] for layer in found.head)
    assert other.taps == tuple(map(tap, found.taps))
    if found.features is not None:
        assert other.features == replace(found.features, tap=tap(found.features.tap))
    assert (other.pooling, other.width) == (found.pooling, found.width)
    assert [(names[row.name], row.role, row.shape) for row in found.layers] == [
        (row.name, row.role, row.shape) for row in other.layers
    ]


def test_it_survives_json(plan, graph):
    found = plan(graph, output_dim=3, freeze="first:0.5")
    assert plan_from_json(plan_to_json(found)) == found


def test_json_that_is_no_plan_is_refused():
    with pytest.raises(msgspec.ValidationError):
        plan_from_json('{"framework": "torch"}')


def test_rows_come_in_dataflow_order_and_unused_layers_last(plan, sketch):
    s = sketch()
    s.hold("unused", {"weight": (3, 3)}, "Linear")
    s.hold("late", {"weight": (8, 8), "bias": (8,)})
    x = s.dense("late", s.dense("early", s.input("array", 6), 8), 8)
    rows = plan(s.graph(s.dense("fc", x, 3))).layers
    assert [(row.name, row.role) for row in rows] == [
        ("early", "backbone"),
        ("late", "embedding"),
        ("fc", "head"),
        ("unused", "dropped"),
    ]
    assert [row.shape for row in rows] == [(2, 8), (2, 8), (2, 3), None]
    assert [row.parameters for row in rows] == [56, 72, 27, 9]


def test_statistics_are_not_counted_as_parameters(plan, sketch):
    s = sketch()
    x = s.run(
        "bn", "norm", s.dense("body", s.input("array", 6), 8), (8,), {"weight": (8,)},
        statistics={"running_mean": (8,), "running_var": (8,)},
    )  # fmt: skip
    rows = {row.name: row.parameters for row in plan(s.graph(s.dense("fc", x, 3))).layers}
    assert rows["bn"] == 8


def test_a_head_is_dropped_with_its_reparametrised_weight(plan, sketch):
    s = sketch()
    x = s.dense("body", s.input("array", 6), 8)
    s.hold("fc.parametrizations.weight", {"original0": (3, 1), "original1": (3, 8)})
    names = ["fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"]
    weight = s.inline("other", [], (3, 8), names, within="fc.parametrizations.weight")
    y = s.run("fc", "dense", [x, weight], (3,))
    found = plan(s.graph(y))
    assert found.head == ("fc",)
    roles = {row.name: row.role for row in found.layers}
    assert roles["fc.parametrizations.weight"] == "head"


@pytest.mark.parametrize("width", [0, -4])
def test_output_dim_must_be_positive(plan, mlp, width):
    with pytest.raises(UsageError, match="at least 1"):
        plan(mlp, output_dim=width)


class TestRendering:
    def text(self, found, width=100):
        from rich.console import Console

        console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(render_plan(found))
        return console.export_text()

    def test_every_layer_with_its_part_and_every_reason_is_shown(self, plan, cnn):
        found = plan(cnn, freeze="first:0.5", pooling="gem", output_dim=4)
        text = self.text(found)
        for row in found.layers:
            assert row.name in text
        for word in ("head", "features", "frozen", "B×8×4×4", "gem pooling", "8 → 4", "L2"):
            assert word in text
        for reason in found.reasons:
            assert reason.text[:30] in text

    def test_names_with_brackets_are_no_markup(self, plan, sketch):
        s = sketch()
        x = s.dense("body[bold]", s.input("array", 6), 8)
        assert "body[bold]" in self.text(plan(s.graph(s.dense("fc", x, 3))))

    def test_a_layer_that_never_ran_has_no_shape(self, plan, sketch):
        s = sketch()
        s.hold("unused", {"weight": (3, 3)})
        found = plan(s.graph(s.dense("fc", s.dense("body", s.input("array", 6), 8), 3)))
        assert "never runs" in self.text(found)
