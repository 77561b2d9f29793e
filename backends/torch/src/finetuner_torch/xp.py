"""The PyTorch array namespace: exactly the functions of ``finetuner.arrays.ARRAY_FUNCTIONS``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_FEW_CORES = 4


def abs(x: Tensor, /) -> Tensor:
    return torch.abs(x)


def all(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.all(x) if axis is None else torch.all(x, dim=axis, keepdim=keepdims)


def any(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.any(x) if axis is None else torch.any(x, dim=axis, keepdim=keepdims)


def arange(n: int, /, *, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device)


def arccos(x: Tensor, /) -> Tensor:
    return torch.arccos(x)


def argmax(x: Tensor, /, *, axis: int) -> Tensor:
    return torch.argmax(x, dim=axis)


def argmin(x: Tensor, /, *, axis: int) -> Tensor:
    return torch.argmin(x, dim=axis)


def argsort(x: Tensor, /, *, axis: int = -1) -> Tensor:
    if axis in (-1, x.ndim - 1) and _is_plain_on_few_cores(x):
        return _packed_argsort(x.detach())
    return torch.argsort(x, dim=axis, stable=True)


def asarray(x: Any, /, *, like: Tensor, dtype: str | None = None) -> Tensor:
    wanted = None if dtype is None else _dtype(dtype, like.device)
    return torch.as_tensor(x, dtype=wanted, device=like.device)


def astype(x: Tensor, dtype: Any, /) -> Tensor:
    return x.to(_dtype(dtype, x.device))


def broadcast_to(x: Tensor, shape: Sequence[int], /) -> Tensor:
    return torch.broadcast_to(x, tuple(shape))


def clip(x: Tensor, low: float | None, high: float | None, /) -> Tensor:
    return torch.clamp(x, low, high)


def concat(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    return torch.cat(tuple(arrays), dim=axis)


def cos(x: Tensor, /) -> Tensor:
    return torch.cos(x)


def cumsum(x: Tensor, /, *, axis: int) -> Tensor:
    return torch.cumsum(x, dim=axis)


def exp(x: Tensor, /) -> Tensor:
    return torch.exp(x)


def expand_dims(x: Tensor, /, *, axis: int) -> Tensor:
    return torch.unsqueeze(x, axis)


def flip(x: Tensor, /, *, axis: int) -> Tensor:
    return torch.flip(x, (axis,))


def invert_permutation(x: Tensor, /) -> Tensor:
    places = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype).expand(x.shape)
    return torch.empty_like(x).scatter(-1, x, places)


def log(x: Tensor, /) -> Tensor:
    return torch.log(x)


def log1p(x: Tensor, /) -> Tensor:
    return torch.log1p(x)


def logical_not(x: Tensor, /) -> Tensor:
    return torch.logical_not(x)


def logsumexp(x: Tensor, /, *, axis: int, keepdims: bool = False) -> Tensor:
    nothing = (x == -torch.inf).all(dim=axis, keepdim=True)
    # torch's own gradient of a row of minus infinities is NaN.
    total = torch.logsumexp(torch.where(nothing, 0.0, x), dim=axis, keepdim=True)
    total = torch.where(nothing, -torch.inf, total)
    return total if keepdims else total.squeeze(axis)


def matmul(a: Tensor, b: Tensor, /) -> Tensor:
    # Autocast would cut the distances to half precision again.
    with torch.autocast(a.device.type, enabled=False):
        return torch.matmul(a, b)


def max(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.amax(x, dim=() if axis is None else axis, keepdim=keepdims)


def maximum(a: Tensor, b: Any, /) -> Tensor:
    return torch.maximum(a, b) if isinstance(b, Tensor) else torch.clamp(a, min=b)


def mean(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.mean(x, dim=axis, keepdim=keepdims)


def min(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.amin(x, dim=() if axis is None else axis, keepdim=keepdims)


def minimum(a: Tensor, b: Any, /) -> Tensor:
    return torch.minimum(a, b) if isinstance(b, Tensor) else torch.clamp(a, max=b)


def ones_like(x: Tensor, /) -> Tensor:
    return torch.ones_like(x)


def permute_dims(x: Tensor, axes: Sequence[int], /) -> Tensor:
    return torch.permute(x, tuple(axes))


def power(a: Tensor, b: Any, /) -> Tensor:
    return torch.pow(a, b)


def random_uniform(key: int, shape: Sequence[int], /, *, like: Tensor) -> Tensor:
    generator = torch.Generator(like.device).manual_seed(key)
    return torch.rand(tuple(shape), generator=generator, device=like.device)


def reshape(x: Tensor, shape: Sequence[int], /) -> Tensor:
    return torch.reshape(x, tuple(shape))


def sin(x: Tensor, /) -> Tensor:
    return torch.sin(x)


def softmax(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, dim=axis)


def sort(x: Tensor, /, *, axis: int = -1) -> Tensor:
    return torch.sort(x, dim=axis, stable=True).values


def sqrt(x: Tensor, /) -> Tensor:
    return torch.sqrt(x)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    return torch.stack(tuple(arrays), dim=axis)


def stop_gradient(x: Tensor, /) -> Tensor:
    return x.detach()


def sum(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return torch.sum(x, dim=axis, keepdim=keepdims)


def take(x: Tensor, indices: Tensor, /, *, axis: int) -> Tensor:
    flat = torch.index_select(x, axis, indices.reshape(-1))
    axis = axis % x.ndim
    return flat.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int) -> Tensor:
    return torch.gather(x, axis, indices)


def tanh(x: Tensor, /) -> Tensor:
    return torch.tanh(x)


def upcast(x: Tensor, /) -> Tensor:
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def where(condition: Tensor, a: Any, b: Any, /) -> Tensor:
    return torch.where(condition, a, b)


def zeros_like(x: Tensor, /) -> Tensor:
    return torch.zeros_like(x)


def _dtype(dtype: Any, device: torch.device) -> torch.dtype:
    """A numpy name or a torch dtype as a torch dtype that ``device`` has."""
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    if wanted is torch.float64 and device.type == "mps":
        return torch.float32
    return wanted


def _is_plain_on_few_cores(x: Tensor) -> bool:
    """Whether ``x`` holds float32 that numpy can sort at once, faster than torch's threads."""
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.dtype is torch.float32
        and x.device.type == "cpu"
        and torch.get_num_threads() <= _FEW_CORES
    )


def _packed_argsort(x: Tensor) -> Tensor:
    """Sort values and places packed into one integer, which makes the order stable.

    numpy's vectorised sort of integers takes a quarter of the time that torch's
    argsort of floats takes on one core. NaN may sort to either end.
    """
    bits = (x + 0.0).view(torch.int32)  # minus zero becomes zero
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    places = torch.arange(x.shape[-1])
    packed = (ordered.to(torch.int64) << 32) | places
    packed.numpy().sort(axis=-1)
    return packed & 0xFFFFFFFF
