"""A state that was saved goes on as if it had never stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from finetuner.contracts import Batch, OptimizerSpec, Schedule
from finetuner.errors import ModelError
from finetuner_torch.apply import adapt
from finetuner_torch.checkpoint import restore, save, save_weights
from finetuner_torch.state import init
from finetuner_torch.step import embed, step

LABELS = np.arange(8) // 2
SCHEDULE = Schedule("cosine", warmup_steps=2, total_steps=6)


class Pull:
    """Squared distance to the label's number, with a learnable factor."""

    parameters = {"factor": np.ones((2, 2), np.float32)}  # noqa: RUF012

    def __call__(self, xp, embeddings, labels, parameters, key):
        return parameters["factor"].sum() * ((embeddings - labels[:, None]) ** 2).mean(), {}


@pytest.fixture
def fresh(cnn, cnn_plan):
    def make(**options):
        settings = {"name": "adamw", "precision": "float32", **options}
        spec = OptimizerSpec(settings.pop("name"), learning_rate=1e-2, schedule=SCHEDULE)
        model = adapt(cnn, cnn_plan(frozen=("stem.0",)))
        return init(model, spec, seed=5, dropout=None, parameters=Pull.parameters, **settings)

    return make


def train(state, images, steps):
    for _ in range(steps):
        state, _ = step(state, Batch((images,), LABELS), Pull())
    return state


def bits(state):
    return {**state.model.state_dict(), **state.parameters}


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_restored_state_ends_with_the_same_bits(fresh, images, tmp_path, name, precision):
    whole = train(fresh(name=name, precision=precision), images, 6)
    first = train(fresh(name=name, precision=precision), images, 3)
    save(first, tmp_path)
    torch.manual_seed(77)
    second = restore(fresh(name=name, precision=precision), tmp_path)
    assert second.step == 3
    end = bits(train(second, images, 3))
    assert all(torch.equal(value, end[key]) for key, value in bits(whole).items())


def test_saving_does_not_disturb_training(fresh, images, tmp_path):
    plain, saved = train(fresh(), images, 2), train(fresh(), images, 2)
    save(saved, tmp_path)
    end = bits(train(saved, images, 2))
    assert all(torch.equal(v, end[key]) for key, v in bits(train(plain, images, 2)).items())


def test_a_state_before_its_first_step_can_be_saved(fresh, images, tmp_path):
    save(fresh(), tmp_path)
    state = restore(fresh(), tmp_path)
    assert (state.step, len(state.optimizer.state)) == (0, 0)


def test_nothing_is_pickled(fresh, images, tmp_path):
    save(train(fresh(), images, 1), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.safetensors"]
    load_file(tmp_path / "state.safetensors")
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 1


def test_a_checkpoint_of_another_model_is_refused(fresh, bert, bert_plan, tmp_path):
    save(fresh(), tmp_path)
    other = init(adapt(bert, bert_plan()), OptimizerSpec(), seed=0)
    with pytest.raises(ModelError, match=r"is of another model: 'model/backbone.*' is only in"):
        restore(other, tmp_path)


def test_a_checkpoint_of_another_shape_is_refused(cnn, cnn_plan, tmp_path):
    states = [
        init(adapt(cnn, cnn_plan(output_dim=width)), OptimizerSpec(), seed=0) for width in (2, 3)
    ]
    save(states[0], tmp_path)
    with pytest.raises(ModelError, match=r"'model/projection.\w+' is \(2.*\) there and \(3"):
        restore(states[1], tmp_path)


def test_a_checkpoint_with_other_frozen_layers_is_refused(fresh, cnn, cnn_plan, images, tmp_path):
    save(train(fresh(), images, 1), tmp_path)
    model = adapt(cnn, cnn_plan(frozen=("stem.0", "block.0")))
    other = init(model, OptimizerSpec(), seed=5, parameters=Pull.parameters)
    with pytest.raises(ModelError, match=r"trained 'backbone.block.0.*', which is frozen here"):
        restore(other, tmp_path)


def test_a_checkpoint_of_another_optimizer_is_refused(fresh, tmp_path):
    save(fresh(), tmp_path)
    with pytest.raises(ModelError, match="trained with 'adamw', not 'sgd'"):
        restore(fresh(name="sgd"), tmp_path)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(fresh, tmp_path, name):
    save(fresh(), tmp_path)
    (tmp_path / name).write_bytes(b"{nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        restore(fresh(), tmp_path)


def test_weights_are_those_that_embed(cnn, cnn_plan, images, tmp_path):
    state = init(adapt(cnn, cnn_plan(output_dim=2)), OptimizerSpec(), seed=0)
    assert save_weights(state, tmp_path) == "weights.safetensors"
    other = adapt(type(cnn)(), cnn_plan(output_dim=2))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    found = embed(init(other, OptimizerSpec(), seed=0), images)
    np.testing.assert_array_equal(found, embed(state, images))


def test_weights_leave_out_head_and_objective(fresh, tmp_path):
    save_weights(fresh(), tmp_path)
    names = set(load_file(tmp_path / "weights.safetensors"))
    assert not [name for name in names if "fc" in name or "factor" in name]
    assert "backbone.stem.1.running_mean" in names


def test_tied_weights_are_saved_once(cnn, cnn_plan, tmp_path):
    cnn.block[1].weight = cnn.block[1].bias
    state = init(adapt(cnn, cnn_plan()), OptimizerSpec(), seed=0)
    save_weights(state, tmp_path)
    save(state, tmp_path)
    names = set(load_file(tmp_path / "weights.safetensors"))
    assert len(names & {"backbone.block.1.weight", "backbone.block.1.bias"}) == 1
    again = restore(init(adapt(cnn, cnn_plan()), OptimizerSpec(), seed=0), tmp_path)
    assert again.model.backbone.block[1].weight is again.model.backbone.block[1].bias


def test_buffers_in_one_storage_are_saved_apart(cnn, cnn_plan, tmp_path):
    whole = torch.arange(6.0)
    cnn.register_buffer("left", whole[:3])
    cnn.register_buffer("right", whole[2:])
    save_weights(init(adapt(cnn, cnn_plan()), OptimizerSpec(), seed=0), tmp_path)
    saved = load_file(tmp_path / "weights.safetensors")
    assert saved["backbone.left"].tolist() == [0, 1, 2]
    assert saved["backbone.right"].tolist() == [2, 3, 4, 5]
