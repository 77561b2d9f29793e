"""The array functions that learning code may use.

Learning code (distances, miners, losses, poolings) is written once and runs in
every framework, eager and compiled. It receives a namespace ``xp`` as its first
argument and may call nothing but the functions named here; they behave as their
numpy namesakes unless the docstring says otherwise. Arrays support the Python
operators, ``.shape``, ``.dtype`` (to hand back to ``astype``, nothing else) and
basic slicing with static bounds; there is no boolean indexing and no in-place
change, so shapes stay static.

A backend provides one thin adapter: a module or object with these names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Array = Any
"""An array of whichever framework runs; core never asks which."""

ARRAY_FUNCTIONS: tuple[str, ...] = (
    "abs",
    "all",
    "any",
    "arange",
    "arccos",
    "argmax",
    "argmin",
    "argsort",
    "asarray",
    "astype",
    "broadcast_to",
    "clip",
    "concat",
    "cos",
    "cumsum",
    "exp",
    "expand_dims",
    "flip",
    "invert_permutation",
    "log",
    "log1p",
    "logical_not",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "ones_like",
    "permute_dims",
    "power",
    "random_uniform",
    "reshape",
    "sin",
    "softmax",
    "sort",
    "sqrt",
    "stack",
    "stop_gradient",
    "sum",
    "take",
    "take_along_axis",
    "tanh",
    "upcast",
    "where",
    "zeros_like",
)
"""Every name that learning code may look up on ``xp``."""


class ArrayNamespace(Protocol):
    """What a backend's ``xp`` provides; dtypes are numpy's names as strings."""

    def abs(self, x: Array, /) -> Array: ...
    def all(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def any(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def arange(self, n: int, /, *, like: Array) -> Array:
        """Integers 0 to ``n`` - 1 (int64, or the widest integer there is) beside ``like``."""

    def arccos(self, x: Array, /) -> Array: ...
    def argmax(self, x: Array, /, *, axis: int) -> Array: ...
    def argmin(self, x: Array, /, *, axis: int) -> Array: ...
    def argsort(self, x: Array, /, *, axis: int = -1) -> Array:
        """Stable, ascending."""

    def asarray(self, x: Any, /, *, like: Array, dtype: str | None = None) -> Array:
        """Python or numpy values as an array on the device of ``like``."""

    def astype(self, x: Array, dtype: Any, /) -> Array:
        """``dtype`` is a numpy name or the ``.dtype`` of an array of the same framework.

        ``"float64"`` is the widest float of the device, where that is narrower.
        """

    def broadcast_to(self, x: Array, shape: Sequence[int], /) -> Array: ...
    def clip(self, x: Array, low: float | None, high: float | None, /) -> Array: ...
    def concat(self, arrays: Sequence[Array], /, *, axis: int = 0) -> Array: ...
    def cos(self, x: Array, /) -> Array: ...
    def cumsum(self, x: Array, /, *, axis: int) -> Array: ...
    def exp(self, x: Array, /) -> Array: ...
    def expand_dims(self, x: Array, /, *, axis: int) -> Array: ...
    def flip(self, x: Array, /, *, axis: int) -> Array: ...
    def invert_permutation(self, x: Array, /) -> Array:
        """Along the last axis: where each place went; undoes what ``argsort`` gave."""

    def log(self, x: Array, /) -> Array: ...
    def log1p(self, x: Array, /) -> Array: ...
    def logical_not(self, x: Array, /) -> Array: ...
    def logsumexp(self, x: Array, /, *, axis: int, keepdims: bool = False) -> Array:
        """Stable; minus infinity for a row of minus infinities, with zero gradient."""

    def matmul(self, a: Array, b: Array, /) -> Array: ...
    def max(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def maximum(self, a: Array, b: Any, /) -> Array: ...
    def mean(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def min(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def minimum(self, a: Array, b: Any, /) -> Array: ...
    def ones_like(self, x: Array, /) -> Array: ...
    def permute_dims(self, x: Array, axes: Sequence[int], /) -> Array: ...
    def power(self, a: Array, b: Any, /) -> Array: ...
    def random_uniform(self, key: int, shape: Sequence[int], /, *, like: Array) -> Array:
        """Float32 in [0, 1), the same for the same ``key`` on one machine.

        ``key`` is what the objective was given: an integer, or a scalar array.
        """

    def reshape(self, x: Array, shape: Sequence[int], /) -> Array: ...
    def sin(self, x: Array, /) -> Array: ...
    def softmax(self, x: Array, /, *, axis: int = -1) -> Array: ...
    def sort(self, x: Array, /, *, axis: int = -1) -> Array: ...
    def sqrt(self, x: Array, /) -> Array: ...
    def stack(self, arrays: Sequence[Array], /, *, axis: int = 0) -> Array: ...
    def stop_gradient(self, x: Array, /) -> Array: ...
    def sum(self, x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def take(self, x: Array, indices: Array, /, *, axis: int) -> Array: ...
    def take_along_axis(self, x: Array, indices: Array, /, *, axis: int) -> Array:
        """``indices`` has the shape of ``x`` but along ``axis``, and none is negative."""

    def tanh(self, x: Array, /) -> Array: ...
    def upcast(self, x: Array, /) -> Array:
        """Float32 from half precision and integers; float64 stays as it is."""

    def where(self, condition: Array, a: Any, b: Any, /) -> Array: ...
    def zeros_like(self, x: Array, /) -> Array: ...
