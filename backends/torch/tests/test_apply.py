"""Adapting: the embedding is what the plan says, and the user's model stays as it was."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from finetuner.contracts import FeatureMap, FreezeDecision, PlannedLayer, Tap
from finetuner.errors import ModelError, UnknownNameError
from finetuner_torch.apply import adapt, to_positions


def tensors(inputs):
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def head_input(model, layer, inputs):
    """What a layer of the user's own model is fed, by a hook on a copy of it."""
    model, seen = copy.deepcopy(model).eval(), []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(**inputs)
    return seen[0]


def embed(model, inputs):
    with torch.no_grad():
        return model.eval()(**tensors(inputs))


def test_the_own_pooling_gives_exactly_what_fed_the_head(cnn, cnn_plan, images):
    expected = head_input(cnn, "fc", tensors(images))
    assert torch.equal(embed(adapt(cnn, cnn_plan()), images), expected)


def test_a_transformer_gives_exactly_what_fed_its_head(bert, bert_plan, tokens):
    inputs = tokens()
    expected = head_input(bert, "classifier", tensors(inputs))
    assert torch.equal(embed(adapt(bert, bert_plan()), inputs), expected)


def test_the_models_mean_over_the_mask_is_pooled(bert, bert_plan, tokens, poolings):
    inputs = tokens()
    adapted = adapt(bert, bert_plan(pooling="mean", normalize=True), poolings=poolings)
    with torch.no_grad():
        hidden = bert.eval().bert(**tensors(inputs)).last_hidden_state.numpy()
    rows = [h[m == 1].mean(0) for h, m in zip(hidden, inputs["attention_mask"], strict=True)]
    expected = np.stack([row / np.linalg.norm(row) for row in rows])
    np.testing.assert_allclose(embed(adapted, inputs).numpy(), expected, atol=1e-6)


def test_padding_does_not_change_an_embedding(bert, bert_plan, tokens, poolings):
    inputs = tokens(batch=1, length=8)
    short = {name: array[:, :5] for name, array in inputs.items()}
    adapted = adapt(bert, bert_plan(pooling="mean"), poolings=poolings)
    np.testing.assert_allclose(embed(adapted, inputs), embed(adapted, short), atol=1e-6)


def test_a_map_of_channels_first_is_pooled_over_its_positions(cnn, cnn_plan, images, poolings):
    adapted = adapt(cnn, cnn_plan(pooling="mean"), poolings=poolings)
    expected = head_input(cnn, "fc", tensors(images))
    torch.testing.assert_close(embed(adapted, images), expected)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [("channels-first", (2, 5, 3)), ("sequence", (2, 3, 5)), ("channels-first", (2, 5, 1, 3))],
)
def test_positions_come_before_features(layout, shape):
    features = torch.arange(30.0).reshape(shape)
    positions = to_positions(features, FeatureMap(Tap(""), len(shape), layout, 5))
    assert positions.shape == (2, 3, 5)
    expected = features.reshape(2, 5, 3).mT if layout == "channels-first" else features
    assert torch.equal(positions, expected)


def test_channels_last_keeps_the_features_last():
    features = torch.arange(60.0).reshape(2, 2, 3, 5)
    positions = to_positions(features, FeatureMap(Tap(""), 4, "channels-last", 5))
    assert torch.equal(positions, features.reshape(2, 6, 5))


def test_a_map_of_another_rank_is_refused(cnn, cnn_plan, images, poolings):
    plan = cnn_plan(pooling="mean")
    plan = replace(plan, features=replace(plan.features, tap=Tap("fc", side="input")))
    with pytest.raises(ModelError, match="rank 4, but the input of layer 'fc', call 0 gives 8 × 6"):
        embed(adapt(cnn, plan, poolings=poolings), images)


def test_learnable_parameters_of_a_pooling_train(cnn, cnn_plan, images, poolings):
    adapted = adapt(cnn, cnn_plan(pooling="power"), poolings=poolings)
    parameter = dict(adapted.named_parameters())["pooling.weights.p"]
    assert parameter.item() == 3.0
    adapted(**tensors(images)).sum().backward()
    assert parameter.grad is not None


def test_an_unknown_pooling_is_named(cnn, cnn_plan, poolings):
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        adapt(cnn, cnn_plan(pooling="maen"), poolings=poolings)


def test_several_taps_are_averaged(cnn, cnn_plan, images):
    plan = cnn_plan(taps=(Tap("pool"), Tap("fc", side="input")))
    assert torch.equal(embed(adapt(cnn, plan), images), head_input(cnn, "fc", tensors(images)))


def test_the_models_own_output_can_be_the_embedding(cnn, cnn_plan, images):
    plan = cnn_plan(head=(), taps=(Tap(""),), width=3)
    with torch.no_grad():
        expected = cnn.eval()(**tensors(images))
    assert torch.equal(embed(adapt(cnn, plan), images), expected)


def test_a_later_call_of_a_layer_is_told_from_the_first(cnn_plan):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, array):
            return self.head(self.layer(self.layer(array).relu()))

    model, x = Twice(), torch.randn(2, 3)
    plan = cnn_plan(inputs=("array",), head=("head",), width=3, taps=(Tap("layer", call=1),))
    with torch.no_grad():
        expected = model.layer(model.layer(x).relu())
    assert torch.equal(adapt(model, plan)(array=x), expected)
    first = replace(plan, taps=(Tap("layer", call=0),))
    assert torch.equal(adapt(model, first)(array=x), model.layer(x))


class Inline(nn.Module):
    """A head without a module, with its weight transposed and cast on the way."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.scale = nn.Parameter(torch.ones(6))
        self.weight = nn.Parameter(torch.randn(6, 3))

    def forward(self, array):
        hidden = self.body(array).tanh() * self.scale
        return functional.linear(hidden, self.weight.t().to(hidden.dtype)).softmax(-1)


@pytest.fixture
def inline_plan(cnn_plan):
    return cnn_plan(
        inputs=("array",),
        head=("weight",),
        taps=(Tap("", side="input", parameter="weight"),),
        features=None,
        width=6,
    )


def test_a_head_without_a_module_is_found_by_its_weight(inline_plan):
    model, x = Inline(), torch.randn(5, 4)
    adapted = adapt(model, inline_plan)
    expected = model.body(x).tanh() * model.scale
    assert torch.equal(adapted(array=x), expected)
    assert torch.equal(adapted(array=x), expected)


def test_a_head_of_weights_in_a_module_of_their_own_is_dropped(cnn_plan):
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 6)
            self.held = nn.Linear(6, 3)

        def forward(self, array):
            return torch.addmm(self.held.bias, self.body(array), self.held.weight.t())

    model, x = Held(), torch.randn(5, 4)
    taps = (Tap("", side="input", parameter="held.weight"),)
    adapted = adapt(model, cnn_plan(inputs=("array",), head=("held",), taps=taps))
    assert torch.equal(adapted(array=x), model.body(x))
    assert {name for name, _ in adapted.named_parameters()} == {
        "backbone.body.weight",
        "backbone.body.bias",
    }


def test_a_tied_head_without_a_module_keeps_the_embedding(cnn_plan):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(7, 4)

        def forward(self, array):
            return self.table(array).mean(1) @ self.table.weight.t()

    model, ids = Tied(), torch.tensor([[1, 2], [3, 4]])
    plan = cnn_plan(
        inputs=("array",),
        head=("table.weight",),
        taps=(Tap("", side="input", parameter="table.weight"),),
        width=4,
    )
    assert torch.equal(adapt(model, plan)(array=ids), model.table(ids).mean(1))


def test_dropped_weights_are_gone(cnn, cnn_plan, bert, bert_plan, poolings):
    adapted = adapt(cnn, cnn_plan())
    names = {*adapted.state_dict(), *(name for name, _ in adapted.named_parameters())}
    assert not [name for name in names if "fc" in name]
    adapted = adapt(bert, bert_plan(pooling="mean"), poolings=poolings)
    names = {*adapted.state_dict(), *(name for name, _ in adapted.named_parameters())}
    assert not [name for name in names if "classifier" in name or "pooler" in name]


def test_a_dropped_weight_takes_no_memory_but_keeps_its_shape(cnn, cnn_plan):
    weight = adapt(cnn, cnn_plan()).backbone.fc.weight
    assert weight.shape == (3, 6)
    assert weight.untyped_storage().nbytes() == 4


def test_a_weight_tied_to_a_kept_layer_stays(bert, bert_plan):
    bert.classifier.weight = bert.bert.pooler.dense.bias = nn.Parameter(torch.zeros(16))
    adapted = adapt(bert, bert_plan())
    assert "backbone.bert.pooler.dense.bias" in dict(adapted.named_parameters())


def test_the_head_does_not_run(cnn, cnn_plan, images):
    def explode(*args):
        raise AssertionError("the head ran")

    cnn.fc.forward = explode
    assert embed(adapt(cnn, cnn_plan()), images).shape == (8, 6)


def test_the_users_model_is_untouched(cnn, cnn_plan, images):
    cnn.stem.eval()
    cnn.fc.weight.requires_grad_(False)
    calls = []
    cnn.block.register_forward_hook(lambda *_: calls.append(1))
    before = copy.deepcopy(cnn.state_dict())
    flags = {name: module.training for name, module in cnn.named_modules()}
    adapted = adapt(cnn, cnn_plan(frozen=("stem.0",), output_dim=2))
    adapted.train()(**tensors(images)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())
    assert {name: module.training for name, module in cnn.named_modules()} == flags
    assert cnn.stem[0].weight.requires_grad
    assert not cnn.fc.weight.requires_grad
    assert all(parameter.grad is None for parameter in cnn.parameters())
    assert [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in cnn.modules()].count(1) == 1
    shared = {id(t) for t in cnn.state_dict(keep_vars=True).values()}
    assert not shared & {id(t) for t in adapted.state_dict(keep_vars=True).values()}


def test_no_hook_stays_behind(cnn, cnn_plan, images):
    adapted = adapt(cnn, cnn_plan())
    embed(adapted, images)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in adapted.modules())


def test_the_projection_is_seeded(cnn, cnn_plan, images):
    plan = cnn_plan(output_dim=2)
    same = [embed(adapt(cnn, plan, seed), images) for seed in (1, 1, 2)]
    assert same[0].shape == (8, 2)
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_the_projection_follows_the_pooling_and_precedes_the_norm(cnn, cnn_plan, images):
    adapted = adapt(cnn, cnn_plan(output_dim=2, normalize=True))
    rows = head_input(cnn, "fc", tensors(images)) @ adapted.projection.weight.detach().T
    expected = rows / rows.norm(dim=1, keepdim=True)
    torch.testing.assert_close(embed(adapted, images), expected)


def test_adapting_leaves_the_random_state_alone(cnn, cnn_plan):
    before = torch.get_rng_state()
    adapt(cnn, cnn_plan(output_dim=2))
    assert torch.equal(before, torch.get_rng_state())


def test_a_half_precision_backbone_gives_float32(cnn, cnn_plan, images):
    half = {"image": torch.from_numpy(images["image"]).bfloat16()}
    expected = head_input(cnn.bfloat16(), "fc", half).float()
    with torch.no_grad():
        embedding = adapt(cnn, cnn_plan()).eval()(**half)
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding, expected)


def test_another_width_than_the_plans_is_an_error(cnn, cnn_plan, images):
    with pytest.raises(
        ModelError, match="width 5, but the input of layer 'fc', call 0 gives 8 × 6"
    ):
        embed(adapt(cnn, cnn_plan(width=5)), images)


def test_a_tap_that_is_not_reached_is_an_error(cnn_plan):
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, array):
            return self.a(array) if self.training else self.b(array)

    plan = cnn_plan(inputs=("array",), head=(), taps=(Tap("b"),), width=3)
    adapted = adapt(Moody(), plan).train()
    with pytest.raises(ModelError, match="without reaching the output of layer 'b', call 0"):
        adapted(array=torch.randn(2, 3))


def test_a_tap_beyond_a_layers_tensors_is_an_error(cnn, cnn_plan, images):
    with pytest.raises(ModelError, match="has 1 tensors on its input side"):
        embed(adapt(cnn, cnn_plan(taps=(Tap("fc", side="input", index=1),))), images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"framework": "keras"}, "made for 'keras'"),
        ({"taps": (Tap("encoder"),)}, "layer 'encoder', which TinyCNN does not have"),
        ({"frozen": ("nowhere",)}, "layer 'nowhere'"),
        ({"freeze": FreezeDecision("lora", inject={"fc": 4})}, "'lora' asks for low-rank"),
        ({"freeze": FreezeDecision("thaw", schedule={"fc": 1})}, "asks for thawing"),
        ({"pooling": "mean", "features": None}, "names no feature map"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(cnn, cnn_plan, poolings, change, message):
    with pytest.raises(ModelError, match=message):
        adapt(cnn, cnn_plan(**change), poolings=poolings)


def test_a_model_that_cannot_be_copied_is_refused(cnn, cnn_plan):
    cnn.lock = (item for item in ())
    with pytest.raises(ModelError, match="TinyCNN\\) cannot be copied: cannot pickle 'generator'"):
        adapt(cnn, cnn_plan())


def test_torchscript_is_refused_whole_or_in_part(cnn, cnn_plan, images):
    traced = torch.jit.trace(cnn.eval(), tensors(images)["image"])
    with pytest.raises(ModelError, match=r"the model is TorchScript.* scripted or traced from"):
        adapt(traced, cnn_plan())
    cnn.block = torch.jit.script(cnn.block)
    with pytest.raises(ModelError, match="the layer 'block' is TorchScript"):
        adapt(cnn, cnn_plan())


def test_a_weight_norm_in_use_can_be_copied(cnn_plan):
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(3, 4)
    expected = model[1](model[0](x))
    plan = cnn_plan(inputs=("array",), head=("2",), taps=(Tap("2", side="input"),), features=None)
    adapted = adapt(model, plan)
    assert torch.equal(adapted(array=x), expected)
    adapted(array=x).sum().backward()
    assert adapted.backbone[0].weight_g.grad is not None
    assert model[0].weight_g.grad is None


def test_a_layer_with_other_roles_keeps_its_weights(cnn, cnn_plan, images):
    layers = tuple(PlannedLayer(name, "x", None, 0, "backbone") for name in ("stem.0", "block.0"))
    adapted = adapt(cnn, replace(cnn_plan(), layers=layers))
    assert "backbone.stem.0.weight" in dict(adapted.named_parameters())


def test_repeated_calls_agree(cnn, cnn_plan, images):
    adapted = adapt(cnn, cnn_plan())
    assert torch.equal(embed(adapted, images), embed(adapted, images))


def test_the_adapted_model_can_be_copied(cnn, cnn_plan, images):
    adapted = adapt(cnn, cnn_plan())
    assert torch.equal(embed(copy.deepcopy(adapted), images), embed(adapted, images))
