"""The feature map: the last map through which everything flows, and how it is laid out."""

from __future__ import annotations

import pytest

from finetuner.contracts import Tap


def test_a_cnn_s_last_map_comes_before_its_pooling(plan, cnn):
    found = plan(cnn).features
    assert found is not None
    assert found.tap == Tap("act2", 0, "output")
    assert (found.rank, found.layout, found.width, found.mask) == (4, "channels-first", 8, None)


def test_an_encoder_s_map_carries_the_mask(plan, encoder):
    found = plan(encoder()).features
    assert found is not None
    assert found.tap == Tap("norm", 0, "output")
    assert (found.rank, found.layout, found.width) == (3, "sequence", 8)
    assert found.mask == "attention_mask"


def test_without_a_mask_among_the_inputs_there_is_none(plan, encoder):
    found = plan(encoder(mask=False)).features
    assert found is not None
    assert found.mask is None


def test_a_classifier_on_one_token_keeps_its_map_behind_the_pooler(plan, encoder):
    found = plan(encoder(extra="classifier"))
    assert (found.head, found.pooling) == (("classifier",), None)
    assert found.features is not None
    assert found.features.tap == Tap("norm", 0, "output")


def test_a_mask_that_goes_around_the_map_is_no_content(plan, sketch):
    s = sketch()
    ids, mask = s.input("input_ids", 7, dtype="int64"), s.input("attention_mask", 7, dtype="int64")
    x = s.norm("norm", s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)}))
    weight = s.inline("reshape", mask, (7, 1))
    pooled = s.inline("pool", s.inline("combine", [x, weight], (7, 8)), (8,))
    found = plan(s.graph(s.dense("fc", pooled, 3))).features
    assert found is not None
    assert found.tap == Tap("norm", 0, "output")


def test_an_index_made_of_the_tokens_is_no_content(plan, sketch):
    s = sketch()
    ids = s.input("input_ids", 7, dtype="int64")
    x = s.norm("norm", s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)}))
    padding = s.inline("other", ids, (7,), dtype="bool")
    last = s.inline("pool", s.inline("reshape", padding, (7,), dtype="int64"), (), dtype="int64")
    row = s.inline("select", [x, last], (8,))
    found = plan(s.graph(s.dense("fc", row, 3))).features
    assert found is not None
    assert found.tap == Tap("norm", 0, "output")


def test_a_second_input_that_goes_around_leaves_no_map(plan, sketch):
    s = sketch()
    x = s.conv("conv", s.input("image", 3, 8, 8), 4, 8)
    pooled = s.inline("pool", x, (4,))
    table = s.norm("norm", s.dense("side", s.input("array", 6), 4))
    both = s.inline("combine", [pooled, table], (8,))
    assert plan(s.graph(s.dense("fc", both, 3))).features is None


def test_the_model_s_own_input_is_no_feature_map(plan, sketch):
    s = sketch()
    flat = s.same("flatten", "reshape", s.input("image", 1, 8, 8))
    flat = s.inline("reshape", flat, (64,))
    hidden = s.dense("hidden", flat, 8)
    assert plan(s.graph(s.dense("fc", hidden, 3))).features is None


def test_a_convolution_that_ends_in_one_position_gives_a_map(plan, sketch):
    s = sketch()
    x = s.conv("conv2", s.conv("conv1", s.input("image", 3, 2, 2), 4, 2), 8, 1)
    x = s.inline("reshape", s.run("pool", "pool", x, (8, 1, 1)), (8,))
    found = plan(s.graph(s.dense("fc", x, 3))).features
    assert found is not None
    assert found.width == 8


def test_a_layer_on_the_pooled_vector_does_not_hide_the_map(plan, sketch):
    s = sketch()
    x = s.conv("last", s.input("image", 3, 8, 8), 8, 4)
    x = s.conv("neck", s.run("pool", "pool", x, (8, 1, 1)), 16, 1, kernel=1)
    found = plan(s.graph(s.dense("fc", s.inline("reshape", x, (16,)), 3)), pooling="max")
    assert found.features is not None
    assert (found.features.tap, found.width) == (Tap("last", 0, "output"), 8)
    assert {row.name: row.role for row in found.layers}["neck"] == "dropped"


def test_a_map_made_inline_falls_back_to_the_layer_before(plan, sketch):
    s = sketch()
    x = s.conv("conv", s.input("image", 3, 8, 8), 4, 8)
    x = s.inline("activation", s.inline("activation", x, (4, 8, 8)), (4, 8, 8))
    found = plan(s.graph(s.dense("fc", s.inline("pool", x, (4,)), 3))).features
    assert found is not None
    assert found.tap == Tap("conv", 0, "output")


def test_a_map_that_only_enters_a_layer_is_addressed_there(plan, sketch):
    s = sketch()
    x = s.inline("activation", s.conv("conv", s.input("image", 3, 8, 8), 4, 8), (4, 8, 8))
    found = plan(s.graph(s.dense("fc", s.run("pool", "pool", x, (4,)), 3))).features
    assert found is not None
    assert found.tap == Tap("pool", 0, "input")


def test_a_recurrent_layer_s_sequence_stands_for_its_state(plan, sketch):
    s = sketch()
    ids = s.input("input_ids", 7, dtype="int64")
    x = s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)})
    sequence = s.run("rnn", "recurrent", x, (7, 6), {"weight": (6, 8)})
    state = s._tensor((1, 2, 6), "float32")
    op = s.operations[-1]
    s.operations[-1] = type(op)(**{**vars(op), "outputs": (sequence, state)})
    graph = s.graph(s.dense("fc", s.inline("select", state, (6,)), 3))
    found = plan(graph).features
    assert found is not None
    assert (found.tap, found.width) == (Tap("rnn", 0, "output"), 6)


class TestLayout:
    def layout(self, plan, s, value):
        found = plan(s.graph(s.dense("fc", s.inline("pool", value, (4,)), 3))).features
        assert found is not None
        return found.layout, found.width

    def test_patches_as_a_sequence(self, plan, sketch):
        s = sketch()
        x = s.conv("patch", s.input("image", 3, 8, 8), 4, 3)
        x = s.inline("reshape", s.inline("reshape", x, (4, 9)), (9, 4))
        assert self.layout(plan, s, s.same("drop", "dropout", x)) == ("sequence", 4)

    def test_one_dimensional_convolutions(self, plan, sketch):
        s = sketch()
        x = s.run("conv", "conv", s.input("array", 3, 9), (4, 9), {"weight": (4, 3, 3)})
        assert self.layout(plan, s, x) == ("channels-first", 4)

    def test_a_normalisation_over_the_last_axis(self, plan, sketch):
        s = sketch()
        x = s.conv("conv", s.input("image", 3, 8, 8), 4, 5)
        x = s.norm("norm", s.inline("reshape", x, (5, 5, 4)))
        assert self.layout(plan, s, x) == ("channels-last", 4)

    @pytest.mark.parametrize(
        ("name", "layout"), [("batch_norm", "channels-first"), ("layer_norm", "channels-last")]
    )
    def test_a_cube_is_told_apart_by_the_kind_of_normalisation(self, plan, sketch, name, layout):
        s = sketch()
        x = s.conv("conv", s.input("image", 3, 8, 8), 4, 4)
        weights = s.hold("norm", {"weight": (4,)}, "Norm")
        first = len(s.operations)
        y = s.inline("norm", x, (4, 4, 4), weights, within="norm", name=name)
        s.around("norm", [x], [y], first)
        assert self.layout(plan, s, y) == (layout, 4)
