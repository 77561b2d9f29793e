"""The neutral picture of a model that a backend's ``trace`` records."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

OperationKind = Literal[
    "dense",  # x @ W (+ b) with W a parameter; 1×1 convolutions on a 1×1 map count as conv
    "conv",
    "norm",  # batch, layer, group, RMS normalisation with statistics over features
    "embedding",  # look-up in a table
    "attention",
    "recurrent",
    "parameter",  # anything else that reads a parameter or buffer
    "l2norm",  # division by the Euclidean norm along the feature axis
    "softmax",  # and log-softmax, sigmoid as a final activation
    "dropout",
    "activation",
    "reshape",  # view, flatten, squeeze, transpose, permute, contiguous, cast
    "select",  # slicing, indexing, gather
    "pool",  # mean, max, sum, adaptive pooling over positions
    "combine",  # add, mean, concat, mul of several tensors
    "other",
]


@dataclass(frozen=True)
class Tensor:
    """One value of the traced call. ``shape`` is that of the sample."""

    id: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Parameter:
    """A weight or a running statistic, by its full name in the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool = True
    statistic: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for extent in self.shape:
            total *= extent
        return total


@dataclass(frozen=True)
class Operation:
    """One tensor operation, in the order of the call.

    ``layer`` is the innermost module that it ran in ("" for the model itself)
    and ``call`` counts that module's calls; ``inputs`` and ``outputs`` are
    tensor ids; ``parameters`` names those it read, directly or through
    transposes and casts.
    """

    index: int
    name: str
    kind: OperationKind
    layer: str
    call: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerCall:
    """One call of one module: which tensors went in and came out, in order.

    ``inputs`` and ``outputs`` hold the tensor ids of the flattened arguments
    and results (non-tensors are left out); ``first`` and ``last`` bound the
    indices of the operations that ran inside, ``last`` inclusive and
    ``last < first`` where nothing ran.
    """

    layer: str
    call: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Layer:
    """A module of the model. ``parameters`` are its own, not its children's."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class ModelGraph:
    """The dataflow of one call of a model.

    ``inputs`` and ``outputs`` map names (``"pixel_values"``, ``"logits"``,
    ``"0"`` for an unnamed result) to tensor ids, in order; the first output is
    the primary one. ``layers`` lists every module, parameter holders in
    dataflow order first met. ``facts`` say what the model is: ``class``,
    ``library``, ``version``, ``config`` (JSON values only).
    """

    framework: str
    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    layers: tuple[Layer, ...]
    calls: tuple[LayerCall, ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    facts: dict[str, object] = field(default_factory=dict)

    @cached_property
    def tensor(self) -> dict[int, Tensor]:
        """Tensors by id."""
        return {tensor.id: tensor for tensor in self.tensors}

    @cached_property
    def layer(self) -> dict[str, Layer]:
        """Layers by name."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def producer(self) -> dict[int, Operation]:
        """The operation that made each tensor; inputs and parameters have none."""
        return {out: op for op in self.operations for out in op.outputs}

    @cached_property
    def depth(self) -> tuple[str, ...]:
        """Names of the parameter-holding layers in dataflow order: what "depth" counts."""
        order: dict[str, None] = {}
        owner = {p.name: layer.name for layer in self.layers for p in layer.parameters}
        for op in self.operations:
            for name in op.parameters:
                order.setdefault(owner[name])
        for layer in self.layers:
            if layer.parameters:
                order.setdefault(layer.name)
        return tuple(order)
