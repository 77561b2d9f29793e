"""One step does what PyTorch's own loop does, and nothing else moves."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.contracts import Batch, FreezeDecision, OptimizerSpec, Schedule
from finetuner.errors import ModelError, UsageError
from finetuner_torch.apply import adapt
from finetuner_torch.state import init
from finetuner_torch.step import embed, pullback, step

CONSTANT = Schedule("constant")
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


class Pull:
    """Squared distance of each embedding to its label's number, with a learnable factor."""

    def __init__(self, parameters=None):
        self.parameters = parameters or {}

    def __call__(self, xp, embeddings, labels, parameters, key):
        factor = parameters.get("factor", 1.0)
        loss = (factor * (embeddings - labels[:, None]) ** 2).mean()
        return loss, {"largest": embeddings.max()}


class Broken(Pull):
    """A loss that is not a number."""

    def __call__(self, xp, embeddings, labels, parameters, key):
        return embeddings.sum() * math.nan, {}


class Steep(Pull):
    """A finite loss with an infinite gradient: the square root at zero."""

    def __call__(self, xp, embeddings, labels, parameters, key):
        return (embeddings - embeddings.detach()).abs().sum().sqrt(), {}


def batch(inputs, chunks=1):
    parts = np.array_split(np.arange(8), chunks)
    return Batch(tuple({n: a[p] for n, a in inputs.items()} for p in parts), LABELS)


def spec(**options):
    return OptimizerSpec(learning_rate=1e-2, schedule=CONSTANT, **options)


def weights(state):
    return {name: tensor.clone() for name, tensor in state.model.state_dict().items()}


def changed(before, state):
    return {
        n for n, tensor in state.model.state_dict().items() if not torch.equal(before[n], tensor)
    }


@pytest.fixture
def model(cnn, cnn_plan):
    return adapt(cnn, cnn_plan())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("clip", [0.1, None])
def test_three_steps_equal_a_loop_written_by_hand(model, images, name, clip):
    reference = copy.deepcopy(model).train()
    reference.backbone.block[3].eval()
    matrices = [p for p in reference.parameters() if p.ndim > 1]
    vectors = [p for p in reference.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": 0.3},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.8, 0.9), eps=1e-6, fused=True)
        options = {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.3}
    else:
        optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.7, nesterov=True)
        options = {"momentum": 0.7, "nesterov": True, "weight_decay": 0.3}
    state = init(model, spec(name=name, clip_norm=clip, **options), seed=0)
    for _ in range(3):
        optimizer.zero_grad()
        embeddings = reference(image=torch.from_numpy(images["image"]))
        loss = ((embeddings - torch.from_numpy(LABELS)[:, None]) ** 2).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(reference.parameters(), clip or 1e9)
        optimizer.step()
        state, scalars = step(state, batch(images), Pull())
        assert scalars["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert scalars["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)
        assert scalars["largest"] == pytest.approx(embeddings.max().item(), rel=1e-5)
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(state.model.state_dict()[key], value, rtol=1e-5, atol=1e-6)


def test_chunks_of_a_batch_give_the_gradients_of_the_whole(bert, bert_plan, tokens, poolings):
    model = adapt(bert, bert_plan(pooling="mean"), poolings=poolings)
    whole, parts = (init(model, spec(), seed=0) for _ in range(2))
    inputs = tokens(batch=8)
    whole, one = step(whole, batch(inputs), Pull())
    parts, four = step(parts, batch(inputs, chunks=4), Pull())
    assert one["loss"] == pytest.approx(four["loss"], rel=1e-5)
    assert one["grad_norm"] == pytest.approx(four["grad_norm"], rel=1e-5)


def test_the_learning_rate_follows_the_schedule(model, images):
    schedule = Schedule("linear", warmup_steps=2, total_steps=4)
    state = init(model, OptimizerSpec(learning_rate=0.4, schedule=schedule), seed=0)
    rates = [step(state, batch(images), Pull())[1]["learning_rate"] for _ in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.4, 0.2, 0.0])


def test_learning_rates_by_layer(cnn, cnn_plan, images):
    freeze = FreezeDecision("layerwise", groups={"stem.0": 0.0})
    state = init(adapt(cnn, cnn_plan(freeze=freeze)), spec(), seed=0)
    before = weights(state)
    state, _ = step(state, batch(images), Pull())
    moved = changed(before, state)
    assert "backbone.block.0.weight" in moved
    assert not moved & {"backbone.stem.0.weight", "backbone.stem.0.bias"}


def test_the_objectives_parameters_train(model, images):
    objective = Pull({"factor": np.float32(2.0)})
    state = init(model, spec(), seed=0, parameters=objective.parameters)
    state, _ = step(state, batch(images), objective)
    assert state.parameters["factor"].item() == pytest.approx(1.99, abs=1e-4)
    assert "objective.factor" in state.trained


@pytest.mark.parametrize("dropout", [0.0, None])
def test_frozen_layers_keep_every_bit(cnn, cnn_plan, images, dropout):
    frozen = ("stem.0", "stem.1", "block.1")
    state = init(adapt(cnn, cnn_plan(frozen=frozen)), spec(), seed=0, dropout=dropout)
    before = weights(state)
    for _ in range(3):
        state, _ = step(state, batch(images), Pull())
    assert changed(before, state) == {"backbone.block.0.weight", "backbone.block.0.bias"}
    assert set(state.trained) == changed(before, state)
    assert len(state.optimizer.state) == 2


def test_no_graph_is_built_through_a_frozen_prefix(cnn, cnn_plan, images):
    state = init(adapt(cnn, cnn_plan(frozen=("stem.0", "stem.1"))), spec(), seed=0)
    seen = []
    state.model.backbone.stem.register_forward_hook(lambda *args: seen.append(args[-1]))
    step(state, batch(images), Pull())
    assert not seen[0].requires_grad


def test_running_statistics_follow_the_data_outside_frozen_layers(model, images):
    state = init(model, spec(), seed=0)
    before = weights(state)
    step(state, batch(images), Pull())
    assert {"backbone.stem.1.running_mean", "backbone.block.1.running_var"} <= changed(
        before, state
    )


def test_dropout_is_off_unless_asked_for(model, images):
    losses = {}
    for dropout in (0.0, None, 0.1):
        state = init(model, spec(), seed=0, dropout=dropout)
        losses[dropout] = step(state, batch(images), Pull())[1]["loss"]
    reference = copy.deepcopy(model).train()
    reference.backbone.block[3].eval()
    embeddings = reference(image=torch.from_numpy(images["image"]))
    expected = ((embeddings - torch.from_numpy(LABELS)[:, None]) ** 2).mean().item()
    assert losses[0.0] == pytest.approx(expected, rel=1e-6)
    assert len({round(loss, 4) for loss in losses.values()}) == 3


def test_dropout_is_the_states_own(model, images):
    def train(seed):
        state = init(model, spec(), seed=seed, dropout=None)
        return [step(state, batch(images), Pull())[1]["loss"] for _ in range(3)]

    first = train(1)
    torch.manual_seed(99)
    torch.rand(7)
    assert train(1) == first
    assert train(2) != first


def test_the_processes_random_numbers_do_not_move(model, images):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    step(init(model, spec(), seed=0, dropout=None), batch(images), Pull())
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("objective", [Broken(), Steep()])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_is_not_finite_leaves_the_weights(model, images, objective, precision):
    state = init(model, spec(), seed=0, precision=precision)
    before = {name: parameter.clone() for name, parameter in state.trained.items()}
    state, scalars = step(state, batch(images), objective)
    assert math.isnan(scalars["loss"])
    assert all(torch.equal(before[name], p) for name, p in state.trained.items())
    assert (state.step, len(state.optimizer.state)) == (0, 0)


def test_a_gradient_that_overflows_float16_lowers_the_scale_and_goes_on(model, images):
    state = init(model, spec(), seed=0, precision="bfloat16")
    state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = weights(state)
    state, scalars = step(state, batch(images), Steep())
    assert math.isfinite(scalars["loss"])
    assert not {name for name in changed(before, state) if name.endswith(("weight", "bias"))}
    assert (state.scaler.get_scale(), state.step) == (512.0, 1)


def test_scaling_the_loss_does_not_change_the_update(model, images):
    plain, scaled = (init(model, spec(), seed=0) for _ in range(2))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plain, one = step(plain, batch(images), Pull())
    scaled, two = step(scaled, batch(images), Pull())
    assert one == two
    assert all(torch.equal(p, scaled.trained[name]) for name, p in plain.trained.items())


def test_after_a_loss_that_is_not_finite_scaling_goes_on(model, images):
    state = init(model, spec(), seed=0)
    state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    state, _ = step(state, batch(images), Broken())
    state, scalars = step(state, batch(images), Pull())
    assert math.isfinite(scalars["loss"])
    assert state.step == 1


def test_half_precision_keeps_weights_and_loss_in_float32(model, images):
    state = init(model, spec(), seed=0, precision="bfloat16")
    dtypes = []

    class Watch(Pull):
        def __call__(self, xp, embeddings, labels, parameters, key):
            dtypes.append(embeddings.dtype)
            return super().__call__(xp, embeddings, labels, parameters, key)

    hook = state.model.backbone.block[0].register_forward_hook(
        lambda *args: dtypes.append(args[-1].dtype)
    )
    state, scalars = step(state, batch(images), Watch())
    hook.remove()
    assert dtypes == [torch.bfloat16, torch.float32]
    assert {parameter.dtype for parameter in state.trained.values()} == {torch.float32}
    full = step(init(model, spec(), seed=0), batch(images), Pull())[1]["loss"]
    assert scalars["loss"] == pytest.approx(full, rel=2e-2)


def test_training_lowers_the_loss(model, images):
    state = init(model, spec(), seed=0)
    losses = [step(state, batch(images), Pull())[1]["loss"] for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_state_shares_nothing_with_its_model(model, images):
    before = copy.deepcopy(model.state_dict())
    state = init(model, spec(), seed=0)
    step(state, batch(images), Pull())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_embeddings_are_those_of_evaluation_mode(model, images):
    state = init(model, spec(), seed=0, dropout=None)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(image=torch.from_numpy(images["image"]))
    found = embed(state, images)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.numpy())
    state, _ = step(state, batch(images), Pull())
    assert not np.array_equal(embed(state, images), found)


def test_embedding_between_steps_changes_nothing(model, images):
    plain, looked = (init(model, spec(), seed=0, dropout=None) for _ in range(2))
    for _ in range(2):
        plain, one = step(plain, batch(images), Pull())
        embed(looked, images)
        looked, two = step(looked, batch(images), Pull())
        assert one == two


def test_arrays_that_are_read_only_or_strided_are_taken(model, images):
    state = init(model, spec(), seed=0)
    strided = np.asfortranarray(images["image"].astype(np.float64))
    strided.flags.writeable = False
    np.testing.assert_array_equal(embed(state, {"image": strided}), embed(state, images))


def test_half_precision_models_train_in_float32(cnn, cnn_plan, images):
    state = init(adapt(cnn.half(), cnn_plan()), spec(), seed=0)
    state, scalars = step(state, batch(images), Pull())
    assert math.isfinite(scalars["loss"])
    assert {p.dtype for p in state.trained.values()} == {torch.float32}


def test_gradients_of_given_embedding_gradients(model, images):
    state = init(model, spec(), seed=0)
    upstream = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
    reference = copy.deepcopy(model).eval()
    embeddings = reference(image=torch.from_numpy(images["image"]))
    embeddings.backward(torch.from_numpy(upstream))
    found = pullback(state, images, upstream)
    expected = dict(reference.named_parameters())
    assert set(found) == set(expected)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name].grad.numpy(), rtol=1e-5, atol=1e-6)


def test_gradients_leave_out_frozen_layers_and_the_objective(cnn, cnn_plan, images):
    state = init(
        adapt(cnn, cnn_plan(frozen=("stem.0",))), spec(), seed=0, parameters={"factor": 1.0}
    )
    found = pullback(state, images, np.ones((8, 6), np.float32))
    assert not [name for name in found if "stem.0" in name or "objective" in name]
    assert all(parameter.grad is None for parameter in state.trained.values())


def test_nothing_to_train_is_an_error(cnn, cnn_plan):
    frozen = ("stem.0", "stem.1", "block.0", "block.1")
    with pytest.raises(ModelError, match="nothing would train"):
        init(adapt(cnn, cnn_plan(frozen=frozen)), spec(), seed=0)


def test_a_bad_dropout_rate_is_an_error(model):
    with pytest.raises(UsageError, match=r"dropout=1\.5"):
        init(model, spec(), seed=0, dropout=1.5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_trains_as_the_processor_does(model, images, precision):
    here = init(model, spec(), seed=0, device="cpu")
    there = init(model, spec(), seed=0, device="cuda", precision=precision)
    for _ in range(3):
        here, one = step(here, batch(images), Pull())
        there, two = step(there, batch(images), Pull())
        assert two["loss"] == pytest.approx(
            one["loss"], rel=1e-3 if precision == "float32" else 5e-2
        )
    tolerance = 1e-3 if precision == "float32" else 0.1
    np.testing.assert_allclose(embed(there, images), embed(here, images), atol=tolerance)
