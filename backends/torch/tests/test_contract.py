"""The PyTorch backend passes core's conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.contracts import Inputs, InputSpec
from finetuner.testing import BackendCase, BackendTests
from finetuner_torch.backend import TorchBackend


class Classifier(nn.Module):
    """Two dense layers with dropout between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 4)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(4, 2)

    def forward(self, array: torch.Tensor) -> torch.Tensor:
        hidden = self.dropout(torch.tanh(self.first(array)))
        return self.classifier(torch.tanh(self.second(hidden)))


def make_classifier() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Classifier()


def make_normalised() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.Linear(4, 2)
        )


def make_bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return BertForSequenceClassification(config)


def rows(count: int, seed: int) -> Inputs:
    values = np.random.default_rng(seed).normal(size=(count, 6))
    return {"array": values.astype(np.float32)}


def tokens(count: int, seed: int) -> Inputs:
    ids = np.random.default_rng(seed).integers(1, 30, (count, 7))
    mask = np.ones_like(ids)
    mask[::2, 5:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def module_weights(model: nn.Module) -> dict[str, np.ndarray]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    kept = model.state_dict().keys()
    return {n: t.detach().numpy().copy() for n, t in named.items() if n in kept}


def state_weights(state: Any) -> dict[str, np.ndarray]:
    """Under the names that the optimizer and ``pullback`` use."""
    return {n: p.detach().cpu().numpy().copy() for n, p in state.model.named_parameters()}


def state_statistics(state: Any) -> dict[str, np.ndarray]:
    buffers = dict(state.model.named_buffers())
    return {n: b.cpu().numpy().copy() for n, b in buffers.items() if "running_" in n}


class TestDense(BackendTests):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            backend=TorchBackend(),
            model=make_classifier,
            inputs=rows,
            specs=(InputSpec("array", "float32", (None, 6)),),
            model_weights=module_weights,
            state_weights=state_weights,
            frozen_layer="first",
            split_at="first",
            statistics_model=make_normalised,
            state_statistics=state_statistics,
        )


class TestTransformer(BackendTests):
    @pytest.fixture
    def case(self) -> BackendCase:
        pytest.importorskip("transformers")
        return BackendCase(
            backend=TorchBackend(),
            model=make_bert,
            inputs=tokens,
            specs=(
                InputSpec("input_ids", "int64", (None, None)),
                InputSpec("attention_mask", "int64", (None, None)),
            ),
            model_weights=module_weights,
            state_weights=state_weights,
            frozen_layer="bert.encoder.layer.0.output.LayerNorm",
            split_at="bert.encoder.layer.0",
        )
