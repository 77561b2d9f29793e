"""Plans for real PyTorch models: the head rule on recorded dataflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from finetuner.adaptation import make_plan
from finetuner.builtin.adaptation import ADAPTERS, FREEZING
from finetuner.builtin.learning import POOLINGS
from finetuner.contracts import AdaptationPlan, PlanOptions, Tap
from finetuner_torch.apply import adapt
from finetuner_torch.trace import trace

BATCH = 3


def plan(model: nn.Module, sample: dict[str, np.ndarray], **options: object) -> AdaptationPlan:
    return make_plan(
        trace(model.eval(), sample),
        PlanOptions(**options),
        adapters=ADAPTERS,
        poolings={record.name: record for record in POOLINGS},
        freezing={record.name: record for record in FREEZING},
    )


def array(*shape: int) -> dict[str, np.ndarray]:
    return {"array": np.random.default_rng(0).normal(size=(BATCH, *shape)).astype(np.float32)}


def image(*shape: int) -> dict[str, np.ndarray]:
    return {"image": array(*shape)["array"]}


def text(length: int = 6) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(5, 40, (BATCH, length))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.act, self.pool, self.fc = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.act(self.bn1(self.conv1(x))), 2)
        return self.fc(self.pool(self.act(self.bn2(self.conv2(x)))).flatten(1)).softmax(-1)


class Block(nn.Module):
    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width // stride, width, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(width // stride, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.down(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, headless: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(Block(4, 1), Block(8, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Identity() if headless else nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Vit(nn.Module):
    """Two tokens in front; ``twins`` gives each a head, as distilled vision transformers do."""

    def __init__(self, twins: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.tokens = nn.Parameter(torch.zeros(1, 2, 8))
        self.position = nn.Parameter(torch.zeros(1, 6, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.blocks, self.norm = nn.TransformerEncoder(layer, 2), nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)
        self.head_dist = nn.Linear(8, 5) if twins else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], dim=1) + self.position
        x = self.norm(self.blocks(x))
        if self.head_dist is None:
            return self.head(x[:, 0])
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


class InlineHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.head_weight = nn.Parameter(torch.randn(5, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(functional.relu(self.body(x)), self.head_weight)


class TiedLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 40, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return self.out(hidden)


def test_a_cnn_loses_its_dense_head_and_keeps_its_own_pooling() -> None:
    found = plan(Cnn(), image(3, 8, 8))
    assert found.head == ("fc",)
    assert found.taps == (Tap("fc", 0, "input"),)
    assert (found.width, found.pooling) == (8, None)
    assert found.features is not None
    assert found.features.tap == Tap("act", 1, "output")
    assert (found.features.rank, found.features.layout, found.features.width) == (
        4,
        "channels-first",
        8,
    )


def test_residual_networks_lose_the_last_dense_layer_only() -> None:
    found = plan(ResNet(), image(3, 16, 16))
    assert (found.head, found.width) == (("fc",), 8)
    assert found.features is not None
    assert found.features.tap == Tap("blocks.1.relu", 1, "output")


def test_a_residual_network_without_a_head_is_kept() -> None:
    found = plan(ResNet(headless=True), image(3, 16, 16))
    assert (found.head, found.width) == ((), 8)
    assert found.taps == (Tap("", 0, "output"),)


def test_a_small_image_that_ends_in_one_position_still_has_its_last_map() -> None:
    found = plan(ResNet(), image(3, 2, 2), pooling="max")
    assert found.width == 8


def test_a_vision_transformer_keeps_its_class_token() -> None:
    found = plan(Vit(), image(3, 8, 8))
    assert (found.head, found.pooling) == (("head",), None)
    assert found.features is not None
    assert (found.features.tap, found.features.layout) == (Tap("norm", 0, "output"), "sequence")


def test_distillation_twins_both_go_and_their_inputs_are_averaged() -> None:
    found = plan(Vit(twins=True), image(3, 8, 8))
    assert found.head == ("head", "head_dist")
    assert found.taps == (Tap("head", 0, "input"), Tap("head_dist", 0, "input"))


def test_a_head_computed_inline_is_addressed_by_its_weight() -> None:
    found = plan(InlineHead(), array(6))
    assert found.head == ("head_weight",)
    assert found.taps == (Tap("", 0, "input", 0, "head_weight"),)
    assert found.width == 8


def test_a_convolution_head_leaves_a_map_that_is_pooled() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
        nn.Sequential(nn.Dropout(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        nn.Flatten(),
    )  # fmt: skip
    found = plan(model, image(3, 8, 8))
    assert found.head == ("2.1",)
    assert found.pooling is not None
    assert (found.pooling.name, found.width) == ("mean", 8)
    assert found.features is not None
    assert (found.features.tap, found.features.layout) == (Tap("2.1", 0, "input"), "channels-first")


def test_an_mlp_loses_only_its_last_layer() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    found = plan(model, array(6))
    assert (found.head, found.width, found.features) == (("2",), 8, None)


def test_a_tied_head_goes_and_the_embedding_table_stays() -> None:
    found = plan(TiedLanguageModel(), text())
    assert found.head == ("out",)
    assert found.features is not None
    assert found.features.mask == "attention_mask"
    roles = {row.name: row.role for row in found.layers}
    assert roles["embed"] == "backbone"


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_recurrent_model_can_be_pooled_over_its_sequence(cell: type[nn.RNNBase]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(40, 8), cell(8, 6, batch_first=True)
            self.fc = nn.Linear(6, 5)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            _, state = self.rnn(self.embed(input_ids))
            return self.fc((state[0] if isinstance(state, tuple) else state)[-1])

    found = plan(Model(), {"input_ids": text()["input_ids"]}, pooling="max")
    assert found.head == ("fc",)
    assert found.features is not None
    assert (found.features.tap, found.width) == (Tap("rnn", 0, "output"), 6)


class TestAppliedPlans:
    """Without normalisation the adapted model gives exactly what fed the head."""

    def embed(self, model: nn.Module, sample: dict[str, np.ndarray]) -> torch.Tensor:
        adapted = adapt(model, plan(model, sample, normalize=False)).eval()
        with torch.no_grad():
            return adapted(**{name: torch.from_numpy(value) for name, value in sample.items()})

    def fed(
        self, model: nn.Module, layer: nn.Module, sample: dict[str, np.ndarray]
    ) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with torch.no_grad():
            model.eval()(*(torch.from_numpy(value) for value in sample.values()))
        handle.remove()
        return seen[-1]

    def test_a_cnn(self) -> None:
        model, sample = Cnn(), image(3, 8, 8)
        torch.testing.assert_close(
            self.embed(model, sample), self.fed(model, model.fc, sample), rtol=0, atol=0
        )

    def test_twins(self) -> None:
        model, sample = Vit(twins=True), image(3, 8, 8)
        assert model.head_dist is not None
        one, other = (self.fed(model, h, sample) for h in (model.head, model.head_dist))
        torch.testing.assert_close(self.embed(model, sample), (one + other) / 2)

    def test_an_inline_head(self) -> None:
        model, sample = InlineHead(), array(6)
        expected = functional.relu(
            self.fed(model, model.body, sample) @ model.body.weight.T + model.body.bias
        )
        torch.testing.assert_close(self.embed(model, sample), expected)

    def test_a_tied_head_read_with_the_mask(self) -> None:
        model, sample = TiedLanguageModel(), text()
        hidden = self.fed(model, model.out, sample)
        mask = torch.from_numpy(sample["attention_mask"])[:, :, None].float()
        expected = (hidden * mask).sum(1) / mask.sum(1)
        torch.testing.assert_close(self.embed(model, sample), expected)


@pytest.fixture(scope="module")
def transformers():  # type: ignore[no-untyped-def]
    return pytest.importorskip("transformers")


def bert(transformers, name: str, **options: object):  # type: ignore[no-untyped-def]
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, **options,
    )  # fmt: skip
    return getattr(transformers, name)(config)


def test_bert_for_classification_gives_what_fed_the_classifier(transformers) -> None:  # type: ignore[no-untyped-def]
    found = plan(bert(transformers, "BertForSequenceClassification"), text())
    assert (found.head, found.pooling, found.width) == (("classifier",), None, 8)
    assert found.taps == (Tap("classifier", 0, "input"),)
    assert found.features is not None
    assert found.features.mask == "attention_mask"


def test_a_bare_bert_is_pooled_by_masked_mean(transformers) -> None:  # type: ignore[no-untyped-def]
    found = plan(bert(transformers, "BertModel"), text())
    assert found.pooling is not None
    assert (found.pooling.name, found.output) == ("mean", "last_hidden_state")
    assert found.head == ("pooler.dense",)
    assert found.features is not None
    assert found.features.mask == "attention_mask"


def test_a_masked_language_head_goes_whole(transformers) -> None:  # type: ignore[no-untyped-def]
    found = plan(bert(transformers, "BertForMaskedLM"), text())
    assert found.head == ("cls",)
    assert found.features is not None
    assert (found.features.width, found.features.mask) == (8, "attention_mask")


def test_a_causal_classifier_reads_its_last_position(transformers) -> None:  # type: ignore[no-untyped-def]
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=16, pad_token_id=0
    )
    found = plan(transformers.GPT2ForSequenceClassification(config), text())
    assert found.head == ("score",)
    assert found.pooling is not None
    assert found.pooling.name == "last"


def test_roberta_s_out_proj_is_a_classifier_whatever_its_name_says(transformers) -> None:  # type: ignore[no-untyped-def]
    config = transformers.RobertaConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    found = plan(transformers.RobertaForSequenceClassification(config), text())
    assert found.head == ("classifier.out_proj",)


def test_a_projection_into_the_embedding_space_is_kept(transformers) -> None:  # type: ignore[no-untyped-def]
    config = transformers.CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, projection_dim=6, num_hidden_layers=1,
        num_attention_heads=2, image_size=8, patch_size=4,
    )  # fmt: skip
    found = plan(transformers.CLIPVisionModelWithProjection(config), image(3, 8, 8))
    assert (found.head, found.width, found.output) == ((), 6, "image_embeds")
    assert any("image_embeds" in reason.text for reason in found.reasons)
