"""Which tensors hold the same value: identity through aliases and in-place writes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Binding:
    """The value of a tensor, and how many writes to its memory that value includes."""

    value: int
    writes: int


class Values:
    """Gives every distinct value met during one call a number.

    A tensor is known again by itself, or by the memory that it shows (``.data``,
    ``detach``, a trip through numpy). A write through one view changes what every
    other view of that memory holds. All tensors are kept alive, because freed
    addresses are used again.
    """

    def __init__(self) -> None:
        self.meta: list[tuple[tuple[int, ...], str]] = []
        self._alive: list[torch.Tensor] = []
        self._objects: dict[int, Binding] = {}
        self._aliases: dict[Hashable, Binding] = {}
        self._bases: dict[Hashable, int] = {}
        self._writes: dict[Hashable, list[int]] = {}

    def new(self, tensor: torch.Tensor) -> int:
        """A fresh value, held by ``tensor`` from now on."""
        value = len(self.meta)
        self.meta.append((tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
        self._bind(tensor, value)
        return value

    def write(self, tensor: torch.Tensor) -> int:
        """A fresh value for a tensor that was changed in place, and so its aliases."""
        self._writes.setdefault(_memory(tensor), []).append(len(self.meta))
        return self.new(tensor)

    def find(self, tensor: torch.Tensor) -> tuple[int | None, tuple[int, ...]]:
        """The value that ``tensor`` holds; or ``None`` and the values it is made of.

        It is made of several where its memory was written through another view
        after the value was bound, and of none where it was never met.
        """
        memory = _memory(tensor)
        candidates = (self._objects.get(id(tensor)), self._aliases.get(_view(tensor, memory)))
        known = [binding for binding in candidates if binding is not None]
        writes = self._writes.get(memory, [])
        if known:
            latest = max(known, key=lambda binding: binding.writes)
            later = tuple(writes[latest.writes :])
            return (None, (latest.value, *later)) if later else (latest.value, ())
        base = self._bases.get(memory)
        return None, () if base is None else (base, *writes)

    def _bind(self, tensor: torch.Tensor, value: int) -> None:
        memory = _memory(tensor)
        binding = Binding(value, len(self._writes.get(memory, ())))
        self._alive.append(tensor)
        self._objects[id(tensor)] = binding
        self._aliases[_view(tensor, memory)] = binding
        self._bases.setdefault(memory, value)


def _memory(tensor: torch.Tensor) -> Hashable:
    """A key of the memory behind a tensor: its address, which survives ``.numpy()``.

    Fake tensors have none and go by their storage, sparse and opaque ones by themselves.
    """
    try:
        storage = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return "object", id(tensor)
    address = 0 if storage.device.type == "meta" else storage.data_ptr()
    return ("address", address) if address else ("storage", storage._cdata)


def _view(tensor: torch.Tensor, memory: Hashable) -> Hashable:
    if isinstance(memory, tuple) and memory[0] == "object":
        return memory
    return memory, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
