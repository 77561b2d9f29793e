"""Copies of a model that share nothing with it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from finetuner.errors import ModelError


def copy_module(model: nn.Module) -> nn.Module:
    """A deep copy.

    Tensors that an earlier call left behind on a module (the computed weight of
    ``weight_norm``, caches) are copied without their history, which
    ``copy.deepcopy`` alone refuses. Raises ``ModelError`` where an attribute
    cannot be copied.
    """
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise ModelError(
            f"the model ({type(model).__name__}) cannot be copied: {error}. Fine-tuning works on "
            "a copy, so that your model stays as it is: remove what copy.deepcopy refuses, or "
            "give the path that the model is loaded from"
        ) from error
