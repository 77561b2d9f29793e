"""A copy of a model without data: shapes and dtypes only."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode


def fake_copy(model: nn.Module) -> tuple[nn.Module, FakeTensorMode]:
    """A deep copy whose tensors are fake, and the mode in which to call it.

    Takes no memory for the weights. Raises whatever ``copy.deepcopy`` raises
    where the model holds what cannot be copied.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(mode):
        return copy.deepcopy(model), mode


def fake_inputs(mode: FakeTensorMode, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same inputs without data."""
    return {name: mode.from_tensor(t, static_shapes=True) for name, t in tensors.items()}
