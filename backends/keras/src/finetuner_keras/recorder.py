"""Recording one symbolic call of a model: layers, and operations between them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from finetuner.contracts.graph import LayerCall, Operation, OperationKind, Tensor
from finetuner_keras.kinds import activation_kind, layer_kind, operation_kind
from finetuner_keras.layers import Layer, named_layers, named_variables
from finetuner_keras.tree import flatten_tensors

_PATCHING = threading.Lock()
OWN = ("keras.src.layers.", "keras.layers.")
"""Where the layers live that are taken whole, without looking inside."""


@dataclass
class Recorder:
    """What was seen so far. Tensors are known by identity and kept alive."""

    model: Layer
    tensors: list[Any] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    calls: list[LayerCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = {id(layer): path for path, layer in named_layers(self.model).items()}
        self.names = {id(v): name for name, v in named_variables(self.model).items()}
        self._numbers: dict[int, int] = {}
        self._count: Counter[str] = Counter()
        self._scope: list[tuple[str, int]] = [("", 0)]
        self._silent = False
        self._thread = threading.get_ident()

    def number(self, tensor: Any) -> int:
        """The tensor's id in the graph."""
        if id(tensor) not in self._numbers:
            self._numbers[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return self._numbers[id(tensor)]

    def described(self) -> tuple[Tensor, ...]:
        """All tensors by shape and dtype."""
        return tuple(
            Tensor(i, tuple(t.shape), keras.backend.standardize_dtype(t.dtype))
            for i, t in enumerate(self.tensors)
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything that is called on symbolic tensors in this thread is recorded."""
        layer_call, operation_call = keras.Layer.symbolic_call, keras.Operation.symbolic_call

        def on_layer(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            if self._deaf():
                return layer_call(layer, *args, **kwargs)
            return self._on_layer(layer, layer_call, args, kwargs)

        def on_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = operation_call(operation, *args, **kwargs)
            if not self._deaf():
                self._on_operation(operation, args, kwargs, outputs)
            return outputs

        with _PATCHING, _kept_nodes(self.model), keras.StatelessScope(initialize_variables=False):
            keras.Layer.symbolic_call, keras.Operation.symbolic_call = on_layer, on_operation
            try:
                yield
            finally:
                keras.Layer.symbolic_call = layer_call
                keras.Operation.symbolic_call = operation_call

    def _deaf(self) -> bool:
        return self._silent or threading.get_ident() != self._thread

    def _on_layer(
        self, layer: Layer, infer: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        path = self.paths.get(id(layer))
        if path is None:
            outputs = self._silently(infer, layer, *args, **kwargs)
            self._on_operation(layer, args, kwargs, outputs)
            return outputs
        call, start = self._count[path], len(self.operations)
        self._count[path] += 1
        self._scope.append((path, call))
        try:
            outputs = self._outputs(layer, infer, args, kwargs, start)
        finally:
            self._scope.pop()
        self.calls.append(
            LayerCall(
                path,
                call,
                tuple(map(self.number, flatten_tensors(args, kwargs))),
                tuple(map(self.number, flatten_tensors(outputs))),
                start,
                len(self.operations) - 1,
            )
        )
        return outputs

    def _outputs(
        self,
        layer: Layer,
        infer: Callable[..., Any],
        args: Any,
        kwargs: Mapping[str, Any],
        start: int,
    ) -> Any:
        """What the layer gives, recorded from inside where that can be seen."""
        if not _is_whole(layer):
            calls, count = len(self.calls), self._count.copy()
            try:
                outputs = layer.call(*args, **kwargs)
                self._claim(layer, start)
                return outputs
            except Exception:
                if layer is self.model:
                    raise
            # Code for one framework's own tensors: the layer is taken as it is.
            del self.operations[start:], self.calls[calls:]
            self._count = count
        outputs = self._silently(infer, layer, *args, **kwargs)
        self._on_whole(layer, args, kwargs, outputs)
        return outputs

    def _silently(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._silent = True
        try:
            return function(*args, **kwargs)
        finally:
            self._silent = False

    def _on_whole(self, layer: Layer, args: Any, kwargs: Mapping[str, Any], outputs: Any) -> None:
        """One operation that reads all weights of the layer, and its activation behind it."""
        reads = tuple(self.names[id(v)] for v in named_variables(layer).values())
        kind = layer_kind(layer)
        inputs = [self.number(t) for t in flatten_tensors(args, kwargs)]
        ends = [self.number(t) for t in flatten_tensors(outputs)]
        fused = activation_kind(getattr(layer, "activation", None))
        name = type(layer).__name__
        if kind in ("dense", "conv") and fused is not None and len(ends) == 1:
            (end,) = ends
            shape, dtype = self.tensors[end].shape, self.tensors[end].dtype
            between = keras.KerasTensor(shape, dtype)
            self._add(name, kind, inputs, [self.number(between)], reads)
            self._add(layer.activation.__name__, fused, [self.number(between)], ends)
            return
        self._add(name, kind or ("parameter" if reads else "other"), inputs, ends, reads)

    def _on_operation(
        self, operation: Any, args: Any, kwargs: Mapping[str, Any], outputs: Any
    ) -> None:
        leaves = keras.tree.flatten((args, dict(kwargs)))
        reads = tuple(
            dict.fromkeys(
                self.names[id(leaf)]
                for leaf in leaves
                if isinstance(leaf, keras.Variable) and id(leaf) in self.names
            )
        )
        live = [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
        name = type(operation).__name__
        kind = operation_kind(name, len({id(leaf) for leaf in live}), bool(reads))
        self._add(
            name,
            kind,
            [self.number(leaf) for leaf in live],
            [self.number(t) for t in flatten_tensors(outputs)],
            reads,
        )

    def _claim(self, layer: Layer, start: int) -> None:
        """Weights that the layer's code read as plain numbers, given to what it ran itself."""
        path, call = self._scope[-1]
        read = {name for operation in self.operations for name in operation.parameters}
        own = (self.names.get(id(v)) for v in layer._trainable_variables)
        unread = tuple(name for name in own if name is not None and name not in read)
        if not unread:
            return
        for index in range(start, len(self.operations)):
            operation = self.operations[index]
            if (operation.layer, operation.call) == (path, call):
                kind = operation_kind(operation.name, len(operation.inputs), True)
                self.operations[index] = Operation(
                    operation.index,
                    operation.name,
                    kind,
                    path,
                    call,
                    operation.inputs,
                    operation.outputs,
                    (*operation.parameters, *unread),
                )
                return
        raise LookupError(f"{path} reads its weights nowhere")

    def _add(
        self,
        name: str,
        kind: OperationKind,
        inputs: list[int],
        outputs: list[int],
        parameters: tuple[str, ...] = (),
    ) -> None:
        layer, call = self._scope[-1]
        index = len(self.operations)
        inputs, outputs = list(dict.fromkeys(inputs)), list(dict.fromkeys(outputs))
        self.operations.append(
            Operation(index, name, kind, layer, call, tuple(inputs), tuple(outputs), parameters)
        )


def _is_whole(layer: Layer) -> bool:
    """Whether the layer runs Keras's own code, which needs no look inside."""
    if isinstance(layer, (keras.Model, keras.layers.Lambda)):
        return False
    return str(type(layer).call.__module__).startswith(OWN)


@contextmanager
def _kept_nodes(model: Layer) -> Iterator[None]:
    """The layers' lists of nodes as they were: every symbolic call adds to them."""
    kept = [
        (nodes, len(nodes))
        for layer in named_layers(model).values()
        for nodes in (layer._inbound_nodes, layer._outbound_nodes)
    ]
    kept += [
        (operation._outbound_nodes, len(operation._outbound_nodes))
        for layer in named_layers(model).values()
        for operation in getattr(layer, "operations", ())
    ]
    try:
        yield
    finally:
        for nodes, length in kept:
            del nodes[length:]
