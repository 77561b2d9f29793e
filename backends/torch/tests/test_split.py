"""Prefix and rest make the whole, or splitting says why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.contracts import Batch, OptimizerSpec, Tap
from finetuner.errors import ModelError, UnknownNameError
from finetuner_torch.apply import adapt
from finetuner_torch.split import split
from finetuner_torch.state import init
from finetuner_torch.step import embed, pullback, step


def states(model, at):
    return [init(part, OptimizerSpec(), seed=0) for part in (model, *split(model, at))]


def resume(prefix, rest, inputs):
    return embed(rest, {"prefix": embed(prefix, inputs), **inputs})


@pytest.mark.parametrize("at", ["stem.0", "stem", "block.1", "block"])
def test_the_parts_make_the_whole_of_a_cnn(cnn, cnn_plan, images, at):
    whole, prefix, rest = states(adapt(cnn, cnn_plan(output_dim=2, normalize=True)), at)
    for rows in (8, 3):
        inputs = {"image": images["image"][:rows]}
        np.testing.assert_allclose(resume(prefix, rest, inputs), embed(whole, inputs), atol=1e-6)


@pytest.mark.parametrize("at", ["bert.embeddings", "bert.encoder.layer.0"])
@pytest.mark.parametrize("pooling", ["mean", None])
def test_the_parts_make_the_whole_of_a_transformer(bert, bert_plan, tokens, poolings, at, pooling):
    model = adapt(bert, bert_plan(pooling=pooling), poolings=poolings)
    whole, prefix, rest = states(model, at)
    for batch, length in ((4, 6), (2, 9), (5, 3)):
        inputs = tokens(batch, length)
        np.testing.assert_allclose(resume(prefix, rest, inputs), embed(whole, inputs), atol=1e-6)


def test_the_prefix_does_not_run_again(bert, bert_plan, tokens, poolings):
    model = adapt(bert, bert_plan(pooling="mean"), poolings=poolings)
    _, prefix, rest = states(model, "bert.encoder.layer.0")
    resume(prefix, rest, tokens())

    def explode(*args, **kwargs):
        raise AssertionError("the prefix ran")

    for part in ("embeddings", "encoder.layer.0.attention"):
        rest.model.backbone.bert.get_submodule(part).forward = explode
    resume(prefix, rest, tokens(3, 5))


def test_gradients_of_the_rest_are_those_of_the_whole(cnn, cnn_plan, images):
    frozen = ("stem.0", "stem.1")
    whole, prefix, rest = states(adapt(cnn, cnn_plan(frozen=frozen)), "stem")
    upstream = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    expected = pullback(whole, images, upstream)
    found = pullback(rest, {"prefix": embed(prefix, images), **images}, upstream)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-5)


def test_the_rest_trains(cnn, cnn_plan, images):
    whole, prefix, rest = states(adapt(cnn, cnn_plan(frozen=("stem.0", "stem.1"))), "stem")
    inputs = {"prefix": embed(prefix, images), **images}

    class Shrink:
        def __call__(self, xp, embeddings, labels, parameters, key):
            return (embeddings**2).mean(), {}

    for _ in range(3):
        whole, one = step(whole, Batch((images,), np.zeros(8, np.int64)), Shrink())
        rest, two = step(rest, Batch((inputs,), np.zeros(8, np.int64)), Shrink())
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_what_flows_past_the_layer_is_noticed(cnn_plan):
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.early, self.late = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, array):
            early = self.early(array)
            return self.late(early) + 2 * early

    plan = cnn_plan(inputs=("array",), head=(), taps=(Tap(""),), width=4)
    _, prefix, rest = states(adapt(Skipping(), plan), "late")
    with pytest.raises(ModelError, match="cannot be split at 'late': more than this layer's"):
        resume(prefix, rest, {"array": np.ones((2, 3), np.float32)})


def test_a_layer_that_runs_twice_is_no_place_to_split(cnn_plan):
    layer = nn.Linear(3, 3)
    plan = cnn_plan(inputs=("array",), head=(), taps=(Tap(""),), width=3)
    model = adapt(nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 3)), plan)
    _, prefix, rest = states(model, "0")
    with pytest.raises(ModelError, match="it runs 2 times in one call"):
        resume(prefix, rest, {"array": np.ones((2, 3), np.float32)})


def test_an_unknown_layer_is_named(cnn, cnn_plan):
    with pytest.raises(UnknownNameError, match="did you mean 'stem'"):
        split(adapt(cnn, cnn_plan()), "stme")


def test_the_parts_share_nothing_with_the_whole(cnn, cnn_plan):
    model = adapt(cnn, cnn_plan())
    pointers = [
        {p.data_ptr() for p in part.parameters()} for part in (model, *split(model, "stem"))
    ]
    assert len(set.union(*pointers)) == sum(map(len, pointers))


def test_the_mode_of_the_rest_survives_its_first_call(cnn, cnn_plan, images):
    prefix, rest = split(adapt(cnn, cnn_plan()), "stem")
    rest.train()
    inputs = {"image": torch.from_numpy(images["image"])}
    rest(prefix=prefix.eval()(**inputs), **inputs)
    assert all(module.training for module in rest.modules())
