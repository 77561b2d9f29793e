"""Tensors inside nested arguments and results, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch


def named_tensors(value: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a nested value with its path, depth first.

    Mappings (and so a transformers ``ModelOutput``) give their keys, dataclasses
    their fields, lists and tuples their positions: ``"logits"``,
    ``"hidden_states.3"``, ``"0"``. A bare tensor is ``"0"``. Anything else holds
    no tensors.
    """
    if isinstance(value, torch.Tensor):
        yield prefix or "0", value
        return
    for key, child in _children(value):
        yield from named_tensors(child, f"{prefix}.{key}" if prefix else str(key))


def flatten_tensors(*values: Any) -> list[torch.Tensor]:
    """The tensors of some values one after the other: what ``Tap.index`` counts.

    A module's arguments are flattened as ``flatten_tensors(args, kwargs)``, its
    result as ``flatten_tensors(result)``.
    """
    return [tensor for value in values for _, tensor in named_tensors(value)]


def _children(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in fields(value)]
    return []
