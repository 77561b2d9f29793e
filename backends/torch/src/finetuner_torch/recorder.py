"""Records every tensor operation of one call, and the module that it ran in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from finetuner_torch.tree import flatten_tensors
from finetuner_torch.values import Values

OVERWRITES = frozenset({"copy_", "fill_", "zero_", "set_", "normal_", "uniform_"})
"""In-place operations whose result does not depend on what was there before."""

ALIAS = "alias"
"""A tensor read after its memory was written through another view."""

HIGHER_ORDER_ARGUMENTS = 16
"""Higher-order operators (flex attention, ``cond``) have no schema: arguments go by number."""

OUTSIDE = "outside_torch"
"""A tensor that came out of a module along a way that no operation shows (numpy, C++)."""


@dataclass(frozen=True)
class RawOperation:
    """One recorded operation.

    ``slots`` are its tensor arguments as (argument name, value), ``options`` its
    other arguments by name.
    """

    name: str
    layer: str
    call: int
    slots: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class RawCall:
    """One call of a module; ``start`` and ``stop`` bound its operations."""

    layer: str
    call: int
    start: int
    stop: int = 0
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


@dataclass
class Recording:
    """Everything seen during one call. ``roots`` names the values of parameters and buffers."""

    values: Values = field(default_factory=Values)
    operations: list[RawOperation] = field(default_factory=list)
    calls: list[RawCall] = field(default_factory=list)
    roots: dict[int, str] = field(default_factory=dict)


class Recorder(TorchDispatchMode):
    """Dispatch mode that fills a :class:`Recording`.

    Meant to run in inference mode, where composite operations (``linear``,
    ``layer_norm``, ``lstm``, attention) arrive whole instead of in pieces.
    ``bridge`` joins what leaves torch inside a module: a tensor of unknown origin
    is said to come from what the module computed so far and did not use (or from its
    arguments), unless it is one of ``constants``.
    """

    supports_higher_order_operators = True

    def __init__(
        self, model: nn.Module, *, bridge: bool = False, constants: Iterable[torch.Tensor] = ()
    ) -> None:
        super().__init__()
        self.recording = Recording()
        self._bridge = bridge
        self._thread = get_ident()
        self._names = {id(module): name for name, module in model.named_modules()}
        self._counts: dict[str, int] = {}
        self._stack: list[RawCall] = []
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.recording.roots[self.recording.values.new(tensor)] = name
        for tensor in constants:
            self.value(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation below this mode, and write down what it read and made."""
        signature = _signature(func)
        arguments = signature.bind(args, kwargs or {})
        written = [t for name in signature.written for t in flatten_tensors(arguments.get(name))]
        slots = [
            (name, self.value(tensor))
            for name, argument in arguments.items()
            if not (name in signature.written and signature.overwrites)
            for tensor in flatten_tensors(argument)
        ]
        result = func(*args, **(kwargs or {}))
        outputs = self._outputs(flatten_tensors(arguments), written, flatten_tensors(result))
        if outputs:
            options = {n: a for n, a in arguments.items() if not flatten_tensors(a)}
            self._add(signature.name, slots, outputs, options)
        return result

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Follow module calls, by standing in for ``nn.Module.__call__`` as torch.fx does.

        No hook is registered on any module, and exceptions that a model catches
        leave the stack right.
        """
        original = nn.Module.__call__

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            name = self._names.get(id(module))
            if name is None or get_ident() != self._thread:
                return original(module, *args, **kwargs)
            return self._call(name, lambda: original(module, *args, **kwargs), args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def value(self, tensor: torch.Tensor) -> int:
        """The value that a tensor holds now; new ones are constants."""
        values = self.recording.values
        value, parts = values.find(tensor)
        if value is not None:
            return value
        sources, name = parts, ALIAS
        if not parts and self._bridge and self._stack and tensor.is_floating_point():
            sources, name = self._loose_ends(self._stack[-1]), OUTSIDE
        value = values.new(tensor)
        if sources:
            self._add(name, [("self", source) for source in sources], [value], {})
        return value

    def _loose_ends(self, call: RawCall) -> tuple[int, ...]:
        """What was made inside a call and not read since; the arguments where nothing was."""
        operations = self.recording.operations[call.start :]
        read = {value for operation in operations for _, value in operation.slots}
        made = dict.fromkeys(value for operation in operations for value in operation.outputs)
        return tuple(value for value in made if value not in read) or call.inputs

    def _outputs(
        self,
        arguments: list[torch.Tensor],
        written: list[torch.Tensor],
        results: list[torch.Tensor],
    ) -> list[int]:
        """Values of what was made or written; results that are arguments are nothing new."""
        values = self.recording.values
        outputs = [values.write(tensor) for tensor in written]
        old = {id(tensor) for tensor in arguments}
        return outputs + [values.new(tensor) for tensor in results if id(tensor) not in old]

    def _add(
        self,
        name: str,
        slots: Sequence[tuple[str, int]],
        outputs: Sequence[int],
        options: Mapping[str, Any],
    ) -> None:
        layer, call = (self._stack[-1].layer, self._stack[-1].call) if self._stack else ("", 0)
        operation = RawOperation(name, layer, call, tuple(slots), tuple(outputs), options)
        self.recording.operations.append(operation)

    def _call(
        self, name: str, run: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        number = self._counts.get(name, 0)
        self._counts[name] = number + 1
        inputs = tuple(self.value(tensor) for tensor in flatten_tensors(args, kwargs))
        record = RawCall(name, number, len(self.recording.operations), inputs=inputs)
        self.recording.calls.append(record)
        self._stack.append(record)
        try:
            result = run()
            record.outputs = tuple(self.value(tensor) for tensor in flatten_tensors(result))
        finally:
            self._stack.pop()
            record.stop = len(self.recording.operations)
        return result


@dataclass(frozen=True)
class Signature:
    """What the recorder needs of an operation's schema."""

    name: str
    arguments: tuple[str, ...]
    written: tuple[str, ...]

    @property
    def overwrites(self) -> bool:
        return self.name in OVERWRITES or self.written == ("out",)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name."""
        return {**dict(zip(self.arguments, args, strict=False)), **kwargs}


@cache
def _signature(func: Any) -> Signature:
    schema = getattr(func, "_schema", None)
    if schema is None:
        return Signature(str(func), tuple(map(str, range(HIGHER_ORDER_ARGUMENTS))), ())
    name = schema.name.removeprefix("aten::").replace("::", ".")
    written = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    return Signature(name, tuple(a.name for a in schema.arguments), tuple(written))
