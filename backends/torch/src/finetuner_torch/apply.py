"""Carrying out a plan: from the user's model to an embedding model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from finetuner.contracts import AdaptationPlan, FeatureMap, PoolingChoice, PoolingRecord
from finetuner.errors import ModelError, UnknownNameError
from finetuner.plugins import default_host
from finetuner_torch import xp
from finetuner_torch.attention import unfused_attention
from finetuner_torch.capture import capture, describe
from finetuner_torch.copying import copy_module
from finetuner_torch.dropping import drop_weights
from finetuner_torch.inputs import OPTIONAL, InputMap, input_map, placement, unwrap

EPSILON = 1e-12
"""Least norm that an embedding is divided by."""


class Pooling(nn.Module):
    """A registered pooling over the positions of a feature map."""

    def __init__(self, record: PoolingRecord, choice: PoolingChoice, features: FeatureMap) -> None:
        super().__init__()
        initial = record.parameters(features.width) if record.parameters else {}
        self.weights = nn.ParameterDict(
            {
                name: nn.Parameter(torch.tensor(np.asarray(value, np.float32)))
                for name, value in initial.items()
            }
        )
        self._function = record.function
        self._options = dict(choice.options)
        self._features = features

    def forward(self, features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Pool a map of the planned layout to B×D; ``mask`` is B×N of 0 and 1."""
        positions = to_positions(features, self._features)
        pooled: torch.Tensor = self._function(
            xp, positions, mask, dict(self.weights.items()), **self._options
        )
        return pooled


class EmbeddingModel(nn.Module):
    """The adapted model: canonical inputs by keyword in, embeddings B×D out.

    ``backbone`` is a copy of the user's model without the weights that the plan
    drops. What follows the last tap, such as the head, does not run.
    """

    def __init__(
        self,
        backbone: nn.Module,
        plan: AdaptationPlan,
        pooling: Pooling | None = None,
        projection: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.projection = projection
        self.plan = plan
        self._maps: dict[tuple[str, ...], InputMap] = {}

    @property
    def frozen(self) -> tuple[str, ...]:
        """The plan's frozen layers by their names in this module."""
        return tuple(f"backbone.{name}".rstrip(".") for name in self.plan.freeze.frozen)

    @property
    def rate_factors(self) -> dict[str, float]:
        """Learning-rate factors by layer, by the names in this module."""
        return {f"backbone.{name}".rstrip("."): f for name, f in self.plan.freeze.groups.items()}

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings B×D; float32, or what the backbone computes in where that is finer.

        Raises ``ModelError`` where the width is not the plan's, or a tap is not reached.
        """
        tensors = [_at_least_float32(tensor) for tensor in self._tapped(inputs)]
        device = tensors[0].device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._embed(tensors, inputs)
        return self._embed(tensors, inputs)

    def call_backbone(self, inputs: Mapping[str, torch.Tensor]) -> object:
        """The backbone's own result for canonical inputs; ``ModelError`` where one is missing."""
        names = tuple(inputs)
        if names not in self._maps:
            if missing := sorted(set(self.plan.inputs) - set(names) - OPTIONAL):
                raise ModelError(f"the model takes {missing} too, and was given {sorted(names)}")
            self._maps[names] = input_map(self.backbone, names)
        args, kwargs = self._maps[names].bind(inputs)
        with unfused_attention():
            return self.backbone(*args, **kwargs)

    def _tapped(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        features = self.plan.features
        taps = (features.tap,) if self.pooling is not None and features else self.plan.taps
        return capture(self.backbone, taps, lambda: self.call_backbone(inputs))

    def _embed(
        self, tensors: list[torch.Tensor], inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        embedding: torch.Tensor
        if self.pooling is not None:
            mask = self.plan.features.mask if self.plan.features else None
            embedding = self.pooling(tensors[0], inputs.get(mask) if mask else None)
        else:
            rows = [tensor.flatten(1) for tensor in tensors]
            embedding = rows[0] if len(rows) == 1 else torch.stack(rows).mean(0)
        self._check_width(embedding)
        if self.projection is not None:
            embedding = self.projection(embedding)
        if self.plan.normalize:
            embedding = functional.normalize(embedding, dim=-1, eps=EPSILON)
        return embedding

    def _check_width(self, embedding: torch.Tensor) -> None:
        if embedding.ndim != 2 or embedding.shape[1] != self.plan.width:
            place = describe(self.plan.taps[0]) if self.pooling is None else "the pooling"
            raise ModelError(
                f"the plan expects embeddings of width {self.plan.width}, but {place} gives "
                f"{' × '.join(map(str, embedding.shape))}: plan this model again with inputs of "
                "the size that it is used with, or name a pooling"
            )


def adapt(
    model: nn.Module,
    plan: AdaptationPlan,
    seed: int = 0,
    *,
    poolings: Mapping[str, PoolingRecord] | None = None,
) -> EmbeddingModel:
    """Copy ``model`` and make of the copy what ``plan`` says; ``seed`` draws the projection.

    ``poolings`` are the known ones by name; by default those of the installed plugins.
    Raises ``ModelError`` where the plan was made for another framework, names
    layers that the model does not have, or asks for what this backend cannot do.
    """
    _check_plan(plan)
    model = unwrap(model)
    _refuse_torchscript(model)
    backbone = copy_module(model)
    _check_layers(backbone, plan)
    drop_weights(backbone, plan)
    device, _ = placement(backbone)
    embedding_model = EmbeddingModel(
        backbone,
        plan,
        _pooling(plan, poolings),
        _projection(plan.width, plan.output_dim, seed),
    )
    for name in plan.freeze.frozen:
        for parameter in backbone.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)
    for added in (embedding_model.pooling, embedding_model.projection):
        if added is not None:
            added.to(device)
    return embedding_model


def to_positions(features: torch.Tensor, planned: FeatureMap) -> torch.Tensor:
    """A map of rank 3 or 4 as B×N×D."""
    if features.ndim != planned.rank:
        raise ModelError(
            f"the plan pools a map of rank {planned.rank}, but {describe(planned.tap)} gives "
            f"{' × '.join(map(str, features.shape))}"
        )
    if planned.layout == "channels-first":
        return features.flatten(2).transpose(1, 2)
    return features.flatten(1, -2)


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check_plan(plan: AdaptationPlan) -> None:
    if plan.framework != "torch":
        raise ModelError(
            f"this plan was made for {plan.framework!r}, and the model is PyTorch's: "
            "plan the model that is to be adapted"
        )
    if plan.pooling is not None and plan.features is None:
        raise ModelError(f"the plan pools with {plan.pooling.name!r} but names no feature map")
    for wish, text in (("inject", "low-rank adapters"), ("schedule", "thawing by epoch")):
        if getattr(plan.freeze, wish):
            raise ModelError(
                f"freezing policy {plan.freeze.policy!r} asks for {text}, which the PyTorch "
                "backend does not have: choose another policy"
            )


def _refuse_torchscript(backbone: nn.Module) -> None:
    for name, module in backbone.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{f'the layer {name!r}' if name else 'the model'} is TorchScript, which can be "
                "neither read from nor trained as a copy: give the module that it was scripted "
                "or traced from"
            )


def _check_layers(backbone: nn.Module, plan: AdaptationPlan) -> None:
    known = {name for name, _ in backbone.named_modules(remove_duplicate=False)}
    taps = (plan.features.tap,) if plan.pooling and plan.features else plan.taps
    asked = {*(tap.layer for tap in taps), *plan.freeze.frozen, *plan.freeze.groups}
    if unknown := sorted(asked - known):
        raise ModelError(
            f"the plan names the layer {unknown[0]!r}, which {type(backbone).__name__} does not "
            "have: it was made for another model"
        )


def _pooling(plan: AdaptationPlan, poolings: Mapping[str, PoolingRecord] | None) -> Pooling | None:
    if plan.pooling is None or plan.features is None:
        return None
    name = plan.pooling.name
    if poolings is None:
        return Pooling(default_host().get("poolings", name), plan.pooling, plan.features)
    if name not in poolings:
        raise UnknownNameError("pooling", name, poolings)
    return Pooling(poolings[name], plan.pooling, plan.features)


def _projection(width: int, output_dim: int | None, seed: int) -> nn.Linear | None:
    """A dense layer with ``nn.Linear``'s uniform weights and no offset yet.

    A random offset is as large as the projection of a unit vector: all
    embeddings would begin near one point.
    """
    if output_dim is None:
        return None
    linear = nn.Linear(width, output_dim, device="meta").to_empty(device="cpu")
    bound = 1.0 / math.sqrt(width)
    with torch.no_grad():
        linear.weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
        linear.bias.zero_()
    return linear
