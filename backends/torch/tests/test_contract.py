"""The PyTorch backend passes core's conformance suite."""

from __future__ import annotations

import inspect
from pathlib import Path
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


def dense_case(backend: TorchBackend) -> BackendCase:
    return BackendCase(
        backend=backend,
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


class TestDense(BackendTests):
    @pytest.fixture
    def case(self) -> BackendCase:
        return dense_case(TorchBackend())


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


def shift_statistics(state: Any) -> None:
    with torch.no_grad():
        for name, buffer in state.model.named_buffers():
            if "running_" in name:
                buffer.add_(0.25)


class MovesInEvaluation(TorchBackend):
    def embed(self, state: Any, inputs: Inputs) -> np.ndarray:
        shift_statistics(state)
        return super().embed(state, inputs)


class MovesWhatIsFrozen(TorchBackend):
    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        shift_statistics(state)
        return super().step(state, batch, objective)


class RestoresWeightsOnly(TorchBackend):
    def restore(self, state: Any, directory: Any) -> Any:
        state = super().restore(state, directory)
        shift_statistics(state)
        return state


class TrainsTheUsersStatistics(TorchBackend):
    """Shares its buffers with the model that it was given."""

    def adapt(self, model: Any, plan: Any, *, seed: int = 0) -> Any:
        self.given = model
        return super().adapt(model, plan, seed=seed)

    def step(self, state: Any, batch: Any, objective: Any) -> Any:
        self.given[1].running_mean.add_(0.25)
        return super().step(state, batch, objective)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (MovesInEvaluation, "test_statistics_follow_training_and_not_evaluation"),
        (MovesWhatIsFrozen, "test_frozen_statistics_keep_their_bits"),
        (RestoresWeightsOnly, "test_statistics_are_part_of_a_checkpoint"),
        (TrainsTheUsersStatistics, "test_training_leaves_the_statistics_of_the_users_model"),
    ],
)
def test_the_suite_notices_broken_statistics(
    tmp_path: Path, broken: type[TorchBackend], test: str
) -> None:
    method = getattr(BackendTests(), test)
    given = {"case": dense_case(broken())}
    if "tmp_path" in inspect.signature(method).parameters:
        given["tmp_path"] = tmp_path
    with pytest.raises(AssertionError):
        method(**given)
