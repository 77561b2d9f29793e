"""Small models with everything that makes adapting hard, and plans for them by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.contracts import (
    AdaptationPlan,
    FeatureMap,
    FreezeDecision,
    PlannedLayer,
    PoolingChoice,
    PoolingRecord,
    Tap,
)

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a CUDA device are skipped, with the reason, where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


class TinyCNN(nn.Module):
    """Two convolutions with batch normalisation and dropout; width 6, head of 3 classes."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(dropout)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.block(self.stem(image))).flatten(1))


def _tiny_bert(**options: Any) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        **options,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def _mean(xp: Any, features: Any, mask: Any, parameters: Mapping[str, Any]) -> Any:
    if mask is None:
        return xp.mean(features, axis=1)
    weights = xp.expand_dims(xp.astype(mask, "float32"), axis=2)
    return xp.sum(features * weights, axis=1) / xp.sum(weights, axis=1)


def _power(xp: Any, features: Any, mask: Any, parameters: Mapping[str, Any]) -> Any:
    p = parameters["p"]
    return xp.power(xp.mean(xp.power(xp.clip(features, 1e-6, None), p), axis=1), 1.0 / p)


@pytest.fixture
def cnn() -> TinyCNN:
    """Seeded, in training mode as a fresh module is."""
    torch.manual_seed(0)
    return TinyCNN()


@pytest.fixture
def bert() -> nn.Module:
    """A transformers classifier of width 16, two layers, with dropout."""
    pytest.importorskip("transformers")
    return _tiny_bert()


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    """Eight random images of 8 × 8."""
    return {"image": np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)}


@pytest.fixture
def tokens() -> Callable[[int, int], dict[str, np.ndarray]]:
    """Random tokens of a batch size and a length; the first row is half padding."""

    def make(batch: int = 4, length: int = 6) -> dict[str, np.ndarray]:
        mask = np.ones((batch, length), np.int64)
        mask[0, length // 2 + 1 :] = 0
        ids = np.random.default_rng(length).integers(1, 60, (batch, length))
        return {"input_ids": ids * mask, "attention_mask": mask}

    return make


@pytest.fixture
def poolings() -> dict[str, PoolingRecord]:
    """A mean over the mask and a pooling with a learnable exponent."""
    return {
        "mean": PoolingRecord("mean", _mean),
        "power": PoolingRecord("power", _power, lambda width: {"p": np.float32(3.0)}),
    }


@pytest.fixture
def cnn_plan() -> Callable[..., AdaptationPlan]:
    """A plan for ``TinyCNN``: what feeds ``fc``, as it is. Options are the plan's fields."""

    def make(frozen: tuple[str, ...] = (), pooling: str | None = None, **changes: Any) -> Any:
        fields = {
            "inputs": ("image",),
            "head": ("fc",),
            "taps": (Tap("fc", side="input"),),
            "features": FeatureMap(Tap("block"), 4, "channels-first", 6),
            "width": 6,
        }
        return _plan(frozen=frozen, pooling=pooling, **{**fields, **changes})

    return make


@pytest.fixture
def bert_plan() -> Callable[..., AdaptationPlan]:
    """A plan for the tiny BERT: pooled hidden states, or what feeds the classifier."""

    def make(frozen: tuple[str, ...] = (), pooling: str | None = None, **changes: Any) -> Any:
        tap = Tap("bert.encoder.layer.1")
        fields = {
            "inputs": ("input_ids", "attention_mask"),
            "head": ("classifier",),
            "taps": (Tap("classifier", side="input"),),
            "features": FeatureMap(tap, 3, "sequence", 16, mask="attention_mask"),
            "width": 16,
            "dropped": () if pooling is None else ("bert.pooler.dense",),
        }
        return _plan(frozen=frozen, pooling=pooling, **{**fields, **changes})

    return make


def _plan(
    *,
    head: tuple[str, ...],
    frozen: tuple[str, ...],
    pooling: str | None,
    dropped: tuple[str, ...] = (),
    normalize: bool = False,
    **fields: Any,
) -> AdaptationPlan:
    defaults = {
        "framework": "torch",
        "model": "tiny",
        "output": "0",
        "output_dim": None,
        "freeze": FreezeDecision("test", frozen),
        "reasons": (),
    }
    layers = tuple(PlannedLayer(name, "Linear", None, 0, "head") for name in head) + tuple(
        PlannedLayer(name, "Linear", None, 0, "dropped") for name in dropped
    )
    return AdaptationPlan(
        **{
            **defaults,
            "head": head,
            "layers": layers,
            "pooling": PoolingChoice(pooling) if pooling else None,
            "normalize": normalize,
            **fields,
        }
    )
