"""What core knows of Hugging Face models beyond their dataflow."""

from __future__ import annotations

import pytest

from finetuner.contracts import Tap


def bare(sketch, cls, model_type, *, norm=True):
    """Token embeddings, a dense layer, perhaps a normalisation, and a pooler."""
    s = sketch(**{"class": cls, "library": "transformers", "config": {"model_type": model_type}})
    ids = s.input("input_ids", 7, dtype="int64")
    mask = s.input("attention_mask", 7, dtype="int64")
    x = s.dense("base.dense", s.run("base.embed", "embedding", ids, (7, 8), {"weight": (40, 8)}), 8)
    x = s.norm("base.norm", x) if norm else x
    assert mask
    return s, x


@pytest.mark.parametrize("norm", [True, False])
def test_a_bare_encoder_has_no_head_whatever_comes_last(plan, sketch, norm):
    s, x = bare(sketch, "BertModel", "bert", norm=norm)
    pooler = s.dense("pooler", s.inline("select", x, (8,)), 8)
    found = plan(s.graph(x, pooler, names=["last_hidden_state", "pooler_output"]))
    assert found.pooling is not None
    assert (found.pooling.name, found.output) == ("mean", "last_hidden_state")
    assert "base.dense" not in found.head
    assert {row.name: row.role for row in found.layers}["pooler"] in ("head", "dropped")


def test_a_causal_model_is_read_at_its_last_position(plan, sketch):
    s, x = bare(sketch, "LlamaModel", "llama")
    found = plan(s.graph(x, names=["last_hidden_state"]))
    assert found.pooling is not None
    assert found.pooling.name == "last"


def test_a_language_head_goes_with_its_transform(plan, sketch):
    s, x = bare(sketch, "BertForMaskedLM", "bert")
    x = s.norm("cls.norm", s.dense("cls.transform", x, 8))
    y = s.run("cls.decoder", "dense", x, (7, 40), tied=["base.embed.weight"])
    s.around("cls", [s.operations[2].outputs[0]], [y], 3)
    found = plan(s.graph(y, names=["logits"]))
    assert found.head == ("cls",)
    assert found.features is not None
    assert (found.features.tap, found.features.mask) == (Tap("cls", 0, "input"), "attention_mask")
    assert {r.name: r.role for r in found.layers}["base.embed"] == "backbone"


def test_a_table_read_inside_the_language_head_is_not_listed_besides(plan, sketch):
    s, x = bare(sketch, "MobileBertForMaskedLM", "mobilebert")
    y = s.inline("dense", s.dense("cls.transform", x, 8), (7, 40), ["base.embed.weight"])
    s.around("cls", [x], [y], 3)
    assert plan(s.graph(y, names=["logits"])).head == ("cls",)


def test_a_causal_classifier_is_read_where_it_scores(plan, sketch):
    s, x = bare(sketch, "GPT2ForSequenceClassification", "gpt2")
    scores = s.dense("score", x, 3)
    found = plan(s.graph(s.inline("select", scores, (3,)), names=["logits"]))
    assert found.head == ("score",)
    assert found.pooling is not None
    assert found.pooling.name == "last"


def test_other_libraries_classes_of_the_same_name_are_not_taken_for_theirs(plan, sketch):
    s = sketch(**{"class": "MyModel", "library": "mine"})
    x = s.dense("fc", s.norm("norm", s.dense("body", s.input("array", 6), 8)), 3)
    assert plan(s.graph(x, names=["last_hidden_state"])).head == ("fc",)
