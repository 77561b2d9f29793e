"""The head rule: what it takes away, what it keeps, and what it says."""

from __future__ import annotations

import pytest

from finetuner.contracts import AdapterRecord, HeadDecision, Tap
from finetuner.errors import ModelError, UnknownNameError, UsageError


def why(found, subject="head"):
    return " | ".join(reason.text for reason in found.reasons if reason.subject == subject)


def test_an_mlp_loses_only_its_last_dense_layer(plan, mlp):
    found = plan(mlp)
    assert (found.head, found.taps, found.width) == (("second",), (Tap("second", 0, "input"),), 8)
    assert "dense layer" in why(found)


def test_the_walk_goes_through_softmax_and_dropout(plan, cnn):
    found = plan(cnn)
    assert (found.head, found.width) == (("fc",), 8)


def test_the_head_s_layers_say_so_in_the_rows(plan, cnn):
    roles = {row.name: row.role for row in plan(cnn).layers}
    assert roles == {
        "conv1": "backbone",
        "bn1": "backbone",
        "conv2": "backbone",
        "bn2": "backbone",
        "act2": "features",
        "fc": "head",
    }


def test_a_normalisation_reached_first_means_no_head(plan, encoder):
    found = plan(encoder())
    assert found.head == ()
    assert "a normalisation" in why(found)


def test_twin_heads_both_go_and_are_averaged(plan, sketch):
    s = sketch()
    x = s.norm("norm", s.dense("body", s.input("array", 4, 6), 8))
    a = s.dense("head_a", s.inline("select", x, (8,)), 5)
    b = s.dense("head_b", s.inline("select", x, (8,)), 5)
    found = plan(s.graph(s.inline("combine", [a, b], (5,))))
    assert found.head == ("head_a", "head_b")
    assert found.taps == (Tap("head_a", 0, "input"), Tap("head_b", 0, "input"))
    assert found.width == 8
    assert "mean of the 2 vectors" in why(found, "embedding")


def test_twin_heads_of_one_input_need_one_tap(plan, sketch):
    s = sketch()
    x = s.dense("body", s.input("array", 6), 8)
    both = s.inline("combine", [s.dense("a", x, 5), s.dense("b", x, 5)], (5,))
    assert plan(s.graph(both)).taps == (Tap("a", 0, "input"),)


def test_twin_heads_of_different_widths_are_refused(plan, sketch):
    s = sketch()
    x = s.dense("body", s.input("array", 6), 8)
    deep = s.dense("deep", s.dense("more", x, 16), 5)
    with pytest.raises(ModelError, match=r"8, 16.*embedding_layer="):
        plan(s.graph(s.inline("combine", [s.dense("wide", x, 5), deep], (5,))))


def test_a_residual_sum_of_dense_layers_is_no_head(plan, sketch):
    s = sketch()
    x = s.dense("stem", s.input("array", 6), 8)
    inner = s.dense("block.out", s.dense("block.in", x, 16), 8)
    found = plan(s.graph(s.inline("combine", [x, inner], (8,))))
    assert found.head == ()
    assert "follow one another" in why(found)


def test_auxiliary_heads_go_too(plan, sketch):
    s = sketch()
    early = s.norm("norm1", s.dense("body1", s.input("array", 6), 8))
    late = s.norm("norm2", s.dense("body2", early, 8))
    graph = s.graph(s.dense("main", late, 5), s.dense("aux", early, 5), names=["out", "aux_out"])
    found = plan(graph)
    assert found.head == ("main", "aux")
    assert "'aux_out'" in why(found)
    assert {row.name: row.role for row in found.layers}["aux"] == "head"


def test_another_output_s_dense_layer_that_the_embedding_needs_stays(plan, sketch):
    s = sketch()
    hidden = s.dense("body", s.norm("norm", s.dense("stem", s.input("array", 6), 8)), 8)
    graph = s.graph(s.dense("fc", hidden, 5), hidden, names=["logits", "hidden"])
    assert plan(graph).head == ("fc",)


@pytest.mark.parametrize("kernel", [1, 3])
def test_only_a_pointwise_convolution_can_be_a_head(plan, sketch, kernel):
    s = sketch()
    x = s.norm("bn", s.conv("body", s.input("image", 3, 8, 8), 8, 4), axis=1)
    x = s.same("relu", "activation", s.conv("classifier", x, 5, 4, kernel))
    found = plan(s.graph(s.inline("reshape", s.run("pool", "pool", x, (5, 1, 1)), (5,))))
    assert found.head == (("classifier",) if kernel == 1 else ())


def test_a_pointwise_convolution_on_one_position_gives_a_vector(plan, sketch):
    s = sketch()
    x = s.conv("body", s.input("image", 3, 8, 8), 8, 4)
    x = s.conv("fc", s.run("pool", "pool", x, (8, 1, 1)), 5, 1, kernel=1)
    found = plan(s.graph(s.inline("reshape", x, (5,))))
    assert (found.head, found.width, found.pooling) == (("fc",), 8, None)


def test_keras_kernels_put_their_extents_first(plan, sketch):
    s = sketch("keras")
    x = s.run("body", "conv", s.input("image", 8, 8, 3), (4, 4, 8), {"kernel": (3, 3, 3, 8)})
    x = s.run("classifier", "conv", x, (4, 4, 5), {"kernel": (1, 1, 8, 5)})
    found = plan(s.graph(s.run("pool", "pool", x, (5,))))
    assert (found.head, found.width) == (("classifier",), 8)
    assert found.features is not None
    assert found.features.layout == "channels-last"


def test_an_l2_normalised_output_is_an_embedding(plan, sketch):
    s = sketch()
    x = s.dense("out", s.dense("body", s.input("array", 6), 8), 4)
    found = plan(s.graph(s.inline("l2norm", x, (4,))))
    assert (found.head, found.width) == ((), 4)
    assert "L2 normalisation" in why(found)
    assert "already" in why(found, "normalize")


@pytest.mark.parametrize(
    ("layer", "output", "kept"),
    [
        ("fc", "image_embeds", True),
        ("visual_projection", "0", True),
        ("proj", "0", True),
        ("fc", "0", False),
        ("out_proj", "logits", False),
        ("classifier.out_proj", "0", False),
    ],
)
def test_names_are_evidence_for_a_projection_and_the_plan_says_which(
    plan, sketch, layer, output, kept
):
    s = sketch()
    x = s.dense(layer, s.norm("norm", s.dense("body", s.input("array", 6), 8)), 4)
    found = plan(s.graph(x, names=[output]))
    assert (found.head == ()) is kept
    if kept:
        assert "embed" in why(found) or "by name" in why(found)
        assert layer in why(found)


def test_a_model_of_one_dense_layer_is_kept(plan, sketch):
    s = sketch()
    found = plan(s.graph(s.dense("only", s.input("array", 6), 4)))
    assert (found.head, found.width) == ((), 4)
    assert "nothing would be left" in why(found)


def test_a_product_of_two_encoders_has_no_head(plan, sketch):
    s = sketch()
    a = s.dense("a", s.norm("n1", s.dense("x", s.input("left", 6), 8)), 4)
    b = s.dense("b", s.norm("n2", s.dense("y", s.input("right", 6), 8)), 4)
    found = plan(s.graph(s.inline("other", [a, b], (4,))))
    assert found.head == ()
    assert "a product of several values" in why(found)


def test_a_scale_behind_the_head_is_stepped_over(plan, sketch):
    s = sketch()
    s.hold("", {"scale": (1,)})
    x = s.dense("fc", s.norm("norm", s.dense("body", s.input("array", 6), 8)), 5)
    found = plan(s.graph(s.inline("parameter", x, (5,), ["scale"])))
    assert found.head == ("fc",)


def test_a_reshape_inside_the_head_s_module_is_stepped_over(plan, sketch):
    s = sketch()
    x = s.norm("norm", s.dense("body", s.input("array", 4, 6), 8))
    s.hold("fc", {"weight": (5, 8)})
    first = len(s.operations)
    folded = s.inline("reshape", x, (4, 8), within="fc")
    y = s.inline("dense", folded, (4, 5), ["fc.weight"], within="fc")
    s.around("fc", [x], [y], first)
    assert plan(s.graph(y)).taps == (Tap("fc", 0, "input"),)


class TestInlineHeads:
    def test_the_weight_names_head_and_tap(self, plan, sketch):
        s = sketch()
        (weight,) = s.hold("", {"head_weight": (5, 8)})
        s.hold("", {"token": (8,)})
        x = s.inline("combine", s.dense("body", s.input("array", 6), 8), (8,), ["token"])
        found = plan(s.graph(s.inline("dense", x, (5,), [weight])))
        assert found.head == ("head_weight",)
        assert found.taps == (Tap("", 0, "input", 0, "head_weight"),)
        assert found.width == 8

    def test_a_module_used_for_its_weight_alone_is_the_head(self, plan, sketch):
        s = sketch()
        s.hold("fc", {"weight": (5, 8), "bias": (5,)}, "Linear")
        x = s.same("act", "activation", s.dense("body", s.input("array", 6), 8))
        found = plan(s.graph(s.inline("dense", x, (5,), ["fc.weight", "fc.bias"])))
        assert found.head == ("fc",)
        assert found.taps == (Tap("", 0, "input", 0, "fc.weight"),)

    def test_a_tied_table_read_as_head_stays(self, plan, sketch):
        s = sketch()
        ids = s.input("input_ids", 7, dtype="int64")
        x = s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)})
        y = s.inline("dense", s.norm("norm", x), (7, 40), ["embed.weight"])
        found = plan(s.graph(y))
        assert found.head == ("embed.weight",)
        assert found.taps == (Tap("", 0, "input", 0, "embed.weight"),)
        assert {row.name: row.role for row in found.layers}["embed"] == "backbone"

    def test_the_second_read_of_a_weight_is_its_second_call(self, plan, sketch):
        s = sketch()
        (weight,) = s.hold("", {"shared": (8, 8)})
        x = s.inline("dense", s.dense("body", s.input("array", 6), 8), (8,), [weight])
        y = s.inline("dense", s.same("act", "activation", x), (8,), [weight])
        assert plan(s.graph(y)).taps == (Tap("", 1, "input", 0, "shared"),)


def test_a_tied_head_module_goes_and_the_table_stays(plan, sketch):
    s = sketch()
    ids = s.input("input_ids", 7, dtype="int64")
    x = s.norm("norm", s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)}))
    found = plan(s.graph(s.run("decoder", "dense", x, (7, 40), tied=["embed.weight"])))
    assert found.head == ("decoder",)
    assert {row.name: row.role for row in found.layers}["embed"] == "backbone"


class TestNamedHeads:
    def test_none_keeps_everything(self, plan, mlp):
        found = plan(mlp, head=None)
        assert (found.head, found.taps, found.width) == ((), (Tap("", 0, "output"),), 5)

    def test_a_container_goes_with_all_inside(self, plan, sketch):
        s = sketch()
        x = s.norm("norm", s.dense("body", s.input("array", 6), 8))
        first = len(s.operations)
        y = s.dense("head.1", s.same("head.act", "activation", s.dense("head.0", x, 16)), 5)
        s.around("head", [x], [y], first)
        found = plan(s.graph(y), head="head")
        assert (found.head, found.taps, found.width) == (("head",), (Tap("head", 0, "input"),), 8)
        assert [r.name for r in found.layers if r.role == "head"] == ["head.0", "head.1", "head"]

    def test_a_pattern_chooses_layers(self, plan, mlp):
        assert plan(mlp, head=("sec*",)).head == ("second",)

    def test_a_weight_s_own_name_is_taken(self, plan, sketch):
        s = sketch()
        (weight,) = s.hold("", {"head_weight": (5, 8)})
        x = s.dense("body", s.input("array", 6), 8)
        graph = s.graph(s.inline("dense", x, (5,), [weight]))
        assert plan(graph, head=("head_weight",)).taps == plan(graph).taps

    @pytest.mark.parametrize("name", ["secnd", "*.third"])
    def test_unknown_names_and_empty_patterns_are_errors(self, plan, mlp, name):
        with pytest.raises(UnknownNameError, match="second"):
            plan(mlp, head=(name,))

    def test_a_layer_off_the_way_is_an_error(self, plan, sketch):
        s = sketch()
        x = s.dense("body", s.input("array", 6), 8)
        graph = s.graph(s.dense("fc", x, 5), s.dense("side", x, 5), names=["out", "side_out"])
        with pytest.raises(ModelError, match="side is not on the way"):
            plan(graph, head=("side",))

    def test_taking_everything_is_an_error(self, plan, mlp):
        with pytest.raises(ModelError, match="no layer with parameters is left"):
            plan(mlp, head=("first",))


class TestEmbeddingLayer:
    def test_the_layer_s_output_is_the_embedding(self, plan, cnn):
        found = plan(cnn, embedding_layer="bn1", pooling="mean")
        assert (found.taps, found.width) == ((Tap("bn1", 0, "output"),), 4)
        roles = {row.name: row.role for row in found.layers}
        assert (roles["conv2"], roles["fc"]) == ("dropped", "head")

    def test_the_last_call_counts(self, plan, sketch):
        s = sketch()
        x = s.same("act", "activation", s.dense("a", s.input("array", 6), 8))
        x = s.same("act", "activation", s.dense("b", x, 4))
        found = plan(s.graph(s.dense("c", x, 2)), embedding_layer="act")
        assert (found.taps, found.width) == ((Tap("act", 1, "output"),), 4)

    def test_a_map_is_pooled(self, plan, cnn):
        found = plan(cnn, embedding_layer="act2")
        assert found.pooling is not None
        assert (found.pooling.name, found.width) == ("mean", 8)

    def test_unknown_layers_are_errors(self, plan, mlp):
        with pytest.raises(UnknownNameError, match="'first'"):
            plan(mlp, embedding_layer="frst")

    def test_a_layer_that_never_runs_is_an_error(self, plan, sketch):
        s = sketch()
        s.hold("unused", {"weight": (3, 3)})
        graph = s.graph(s.dense("fc", s.dense("body", s.input("array", 6), 8), 5))
        with pytest.raises(ModelError, match="never called"):
            plan(graph, embedding_layer="unused")

    def test_it_excludes_head(self, plan, mlp):
        with pytest.raises(UsageError, match="give one of them"):
            plan(mlp, embedding_layer="first", head=("second",))


class TestAdapters:
    def adapter(self, name="mine", **decision):
        answer = HeadDecision("because", **decision)
        return AdapterRecord(name, lambda graph: True, lambda graph: answer)

    def test_an_adapter_outranks_the_rule_and_is_named(self, plan, mlp):
        found = plan(mlp, adapters=[self.adapter()])
        assert found.head == ()
        assert "because (adapter mine)" in why(found)

    def test_the_user_outranks_the_adapter(self, plan, mlp):
        assert plan(mlp, adapters=[self.adapter()], head=("second",)).head == ("second",)

    def test_an_adapter_may_name_head_and_output(self, plan, sketch):
        s = sketch()
        x = s.norm("norm", s.dense("body", s.input("array", 6), 8))
        y = s.dense("fc", s.dense("neck", x, 8), 5)
        graph = s.graph(x, y, names=["hidden", "logits"])
        found = plan(graph, adapters=[self.adapter(head=("neck", "fc"), output="logits")])
        assert (found.head, found.output, found.taps) == (
            ("neck", "fc"),
            "logits",
            (Tap("neck", 0, "input"),),
        )

    def test_adapters_that_disagree_are_an_error_naming_both(self, plan, mlp):
        two = [self.adapter("one"), self.adapter("two", head=("second",))]
        with pytest.raises(ModelError, match="one, two disagree"):
            plan(mlp, adapters=two)

    def test_an_output_that_is_not_there_is_an_error(self, plan, mlp):
        with pytest.raises(ModelError, match="'hidden'"):
            plan(mlp, adapters=[self.adapter(output="hidden")])


class TestModelsWithoutAnEmbedding:
    def test_no_tensor_in_the_output(self, plan, sketch):
        s = sketch()
        s.dense("fc", s.input("array", 6), 4)
        with pytest.raises(ModelError, match="holds no tensor"):
            plan(s.graph())

    def test_an_output_that_depends_on_nothing(self, plan, sketch):
        s = sketch()
        s.input("array", 6)
        (weight,) = s.hold("", {"weight": (4,)})
        with pytest.raises(ModelError, match="does not depend on its inputs array"):
            plan(s.graph(s.inline("parameter", [], (4,), [weight])))

    def test_integers_are_no_embedding(self, plan, sketch):
        s = sketch()
        x = s.norm("norm", s.dense("body", s.input("array", 6), 8))
        with pytest.raises(ModelError, match=r"int64.*embedding_layer="):
            plan(s.graph(s.inline("pool", x, (), dtype="int64")))

    def test_one_number_per_example_is_no_embedding(self, plan, sketch):
        s = sketch()
        x = s.norm("norm", s.dense("body", s.input("array", 6), 8))
        with pytest.raises(ModelError, match="not one vector per example"):
            plan(s.graph(s.inline("pool", x, ())))
