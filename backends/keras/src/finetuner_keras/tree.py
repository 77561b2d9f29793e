"""Tensors inside nested arguments and results, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a tensor, symbolic or not."""
    return isinstance(value, keras.KerasTensor) or keras.ops.is_tensor(value)


def named_tensors(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor of a nested value with its path, depth first; a bare tensor is ``"0"``."""
    if isinstance(value, keras.Variable):
        return
    if is_tensor(value):
        yield prefix or "0", value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from named_tensors(child, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from named_tensors(child, f"{prefix}.{index}" if prefix else str(index))


def flatten_tensors(*values: Any) -> list[Any]:
    """The tensors of some values one after the other: what ``Tap.index`` counts.

    A layer's arguments are flattened as ``flatten_tensors(args, kwargs)``, its
    result as ``flatten_tensors(result)``.
    """
    return [tensor for value in values for _, tensor in named_tensors(value)]
