"""The ONNX file gives the framework's vectors, at shapes that the exporter never saw."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from finetuner.contracts import InputSpec, OptimizerSpec, Tap
from finetuner.errors import ExportError
from finetuner_torch.apply import adapt
from finetuner_torch.export import export
from finetuner_torch.state import init
from finetuner_torch.step import embed

IMAGE = (InputSpec("image", "float32", (None, 3, 8, 8)),)
TEXT = (
    InputSpec("input_ids", "int64", (None, None)),
    InputSpec("attention_mask", "int64", (None, None)),
)


def state_of(model):
    return init(model, OptimizerSpec(), seed=0)


def run(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], inputs)[0]


def ends(path):
    graph = onnx.load(path).graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


def extents(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_a_cnn_at_several_batch_sizes(cnn, cnn_plan, images, tmp_path):
    path = tmp_path / "model.onnx"
    state = state_of(adapt(cnn, cnn_plan(output_dim=2, normalize=True)))
    export(state, path, IMAGE, {"image": images["image"][:1]})
    assert ends(path) == (["image"], ["embedding"])
    assert extents(onnx.load(path).graph.output[0]) == ["batch", 2]
    for rows in (1, 3, 8):
        inputs = {"image": images["image"][:rows]}
        np.testing.assert_allclose(run(path, inputs), embed(state, inputs), atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_transformer_at_several_lengths(bert, bert_plan, tokens, poolings, tmp_path):
    path = tmp_path / "model.onnx"
    plan = bert_plan(pooling="mean", normalize=True)
    state = state_of(adapt(bert, plan, poolings=poolings))
    export(state, path, TEXT, tokens(1, 5))
    assert ends(path) == (["input_ids", "attention_mask"], ["embedding"])
    assert extents(onnx.load(path).graph.input[0]) == ["batch", "sequence"]
    for batch, length in ((1, 1), (1, 40), (5, 3), (4, 17)):
        inputs = tokens(batch, length)
        np.testing.assert_allclose(run(path, inputs), embed(state, inputs), atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.tokens, self.cells = nn.Embedding(60, 8), kind(8, 6, batch_first=True)

    def forward(self, input_ids):
        return self.cells(self.tokens(input_ids))[0][:, -1]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_one_recurrent_model_after_another_at_several_lengths(kind, cnn_plan, tokens, tmp_path):
    path = tmp_path / "model.onnx"
    plan = cnn_plan(inputs=("input_ids",), head=(), taps=(Tap(""),), width=6)
    for _ in range(2):
        state = state_of(adapt(Recurrent(kind), plan))
        export(state, path, TEXT[:1], {"input_ids": tokens(2, 5)["input_ids"]})
        for rows, length in ((1, 4), (3, 9)):
            inputs = {"input_ids": tokens(rows, length)["input_ids"]}
            np.testing.assert_allclose(run(path, inputs), embed(state, inputs), atol=1e-5)


def test_a_length_that_is_baked_in_is_named(cnn_plan, tokens, tmp_path):
    plan = cnn_plan(inputs=("input_ids",), head=(), taps=(Tap(""),), width=6)
    state = state_of(adapt(Recurrent(nn.RNN), plan))
    with pytest.raises(ExportError, match=r"static shape of 5 for .*shape\[1\]"):
        export(state, tmp_path / "m.onnx", TEXT[:1], {"input_ids": tokens(2, 5)["input_ids"]})


def test_an_inner_value_of_the_outputs_name_does_no_harm(cnn_plan, tmp_path):
    class Awkward(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, array):
            embedding = self.table(array)
            return embedding.mean(1)

    inputs = (InputSpec("array", "int64", (None, 3)),)
    sample = {"array": np.array([[1, 2, 3], [4, 5, 6]])}
    plan = cnn_plan(inputs=("array",), head=(), taps=(Tap(""),), width=4)
    state = state_of(adapt(Awkward(), plan))
    export(state, tmp_path / "model.onnx", inputs, sample)
    inner = [out for node in onnx.load(tmp_path / "model.onnx").graph.node for out in node.output]
    assert inner.count("embedding") == 1
    found = run(tmp_path / "model.onnx", sample)
    np.testing.assert_allclose(found, embed(state, sample), atol=1e-6)


def test_exporting_leaves_the_state_the_screen_and_the_head_alone(
    cnn, cnn_plan, images, tmp_path, capfd
):
    state = state_of(adapt(cnn, cnn_plan()))
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    state.enter(training=True)
    flags = [module.training for module in state.model.modules()]
    export(state, tmp_path / "model.onnx", IMAGE, images)
    assert [module.training for module in state.model.modules()] == flags
    assert all(torch.equal(before[n], t) for n, t in state.model.state_dict().items())
    assert capfd.readouterr() == ("", "")
    weights = [weight.name for weight in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert not [name for name in weights if "fc" in name]


def test_a_model_that_cannot_vary_is_refused(cnn_plan, tmp_path):
    class Fixed(nn.Module):
        def forward(self, array):
            return array.reshape(2, 3) * 2.0

    plan = cnn_plan(inputs=("array",), head=(), taps=(Tap(""),), width=3, output_dim=3)
    state = state_of(adapt(Fixed(), plan))
    inputs = (InputSpec("array", "float32", (None, 3)),)
    with pytest.raises(ExportError, match=r"cannot be exported to ONNX: .* array float32"):
        export(state, tmp_path / "model.onnx", inputs, {"array": np.ones((2, 3), np.float32)})


def test_a_missing_sample_is_named(cnn, cnn_plan, tmp_path):
    with pytest.raises(ExportError, match="lacks the input 'image'"):
        export(state_of(adapt(cnn, cnn_plan())), tmp_path / "model.onnx", IMAGE, {})
