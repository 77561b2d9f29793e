"""Which pooling is chosen, and which ones are refused."""

from __future__ import annotations

import pytest

from finetuner.adaptation import make_plan
from finetuner.contracts import (
    AdapterRecord,
    HeadDecision,
    PlanOptions,
    PoolingChoice,
    PoolingRecord,
)
from finetuner.errors import ModelError, UnknownNameError, UsageError


def reason(found):
    return next(reason.text for reason in found.reasons if reason.subject == "pooling")


def test_a_vector_keeps_the_model_s_own_pooling(plan, cnn):
    found = plan(cnn)
    assert found.pooling is None
    assert "own is kept" in reason(found)


def test_a_named_pooling_replaces_it(plan, cnn):
    found = plan(cnn, pooling="gem", pooling_options={"eps": 1e-3})
    assert found.pooling == PoolingChoice("gem", {"eps": 1e-3})
    assert "act2" in reason(found)


def test_a_map_that_leaves_is_averaged_with_the_mask(plan, encoder):
    found = plan(encoder())
    assert found.pooling == PoolingChoice("mean")
    assert "many positions" in reason(found)
    assert "masked by attention_mask" in reason(found)


def test_an_adapter_s_advice_is_taken_and_the_user_s_word_outranks_it(plan, encoder):
    adapter = AdapterRecord("a", lambda g: True, lambda g: HeadDecision("known", pooling="last"))
    assert plan(encoder(), adapters=[adapter]).pooling == PoolingChoice("last")
    found = plan(encoder(), adapters=[adapter], pooling="max")
    assert found.pooling == PoolingChoice("max")


def test_a_model_without_a_map_refuses_a_pooling(plan, mlp):
    with pytest.raises(UsageError, match="pooling='mean' does not apply"):
        plan(mlp, pooling="mean")


def test_an_unknown_pooling_offers_near_names(plan, cnn):
    with pytest.raises(UnknownNameError, match="'mean'"):
        plan(cnn, pooling="meen")


def test_a_pooling_for_sequences_refuses_an_image_map(plan, cnn):
    with pytest.raises(UsageError, match=r"'cls' is for maps of rank 3.*rank 4"):
        plan(cnn, pooling="cls")


def test_options_without_a_pooling_are_an_error(plan, cnn):
    with pytest.raises(UsageError, match="without a pooling"):
        plan(cnn, pooling_options={"eps": 1.0})


def test_unknown_options_offer_near_names(plan, cnn):
    with pytest.raises(UnknownNameError, match="'eps'"):
        plan(cnn, pooling="gem", pooling_options={"epz": 1.0})


def test_a_pooling_with_open_options_takes_any(mlp, cnn):
    record = PoolingRecord("open", lambda xp, features, mask, parameters, **options: features)
    found = make_plan(
        cnn,
        PlanOptions(pooling="open", pooling_options={"whatever": 1}),
        adapters=(),
        poolings={"open": record},
        freezing={"none": _none()},
    )
    assert found.pooling == PoolingChoice("open", {"whatever": 1})


def test_a_map_of_rank_five_needs_another_layer(plan, sketch):
    s = sketch()
    x = s.run(
        "conv", "conv", s.input("array", 3, 4, 4, 4), (8, 4, 4, 4), {"weight": (8, 3, 3, 3, 3)}
    )
    with pytest.raises(ModelError, match=r"\(2, 8, 4, 4, 4\).*embedding_layer="):
        plan(s.graph(x))


def test_a_mask_of_another_length_is_a_warning(plan, sketch):
    s = sketch()
    ids = s.input("input_ids", 7, dtype="int64")
    s.input("attention_mask", 7, dtype="int64")
    x = s.run("embed", "embedding", ids, (7, 8), {"weight": (40, 8)})
    (token,) = s.hold("", {"token": (1, 8)})
    x = s.norm("norm", s.inline("combine", x, (8, 8), [token]))
    found = plan(s.graph(x))
    assert found.features is not None
    assert found.features.mask is None
    assert "padding is pooled" in found.warnings[0]


def _none():
    from finetuner.builtin.adaptation import FREEZING

    return FREEZING[0]
