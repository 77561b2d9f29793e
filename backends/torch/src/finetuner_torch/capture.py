"""Reading tensors out of a running model, without changing the model.

A tap is a place in the dataflow. What flows there is collected in an object that
lives for one call: nothing is stored on a module (``torch.export`` refuses that),
and two calls cannot mix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from finetuner.contracts import Tap
from finetuner.errors import ModelError
from finetuner_torch.trace import PRIMARY
from finetuner_torch.tree import flatten_tensors, named_tensors


class _Enough(BaseException):
    """Ends a forward pass once every tap was seen; no ``except Exception`` swallows it."""


class _Collector:
    """What the taps gave so far in one call of the model.

    The call ends with the last of them, except under a compiler or an exporter:
    those keep books on modules entered and left, and drop what is not used anyway.
    """

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps = tuple(dict.fromkeys(taps))
        self.stops = not torch.compiler.is_compiling()
        self.found: dict[Tap, torch.Tensor] = {}
        self._calls: Counter[str] = Counter()

    def offer(self, tap: Tap, tensors: Sequence[torch.Tensor]) -> None:
        """Take what ``tap`` asks for; stops the model when that was the last."""
        if tap in self.found:
            return
        if tap.index >= len(tensors):
            raise ModelError(
                f"layer {tap.layer!r} has {len(tensors)} tensors on its {tap.side} side, "
                f"but the plan reads number {tap.index}: plan this model again"
            )
        self.found[tap] = tensors[tap.index]
        if self.stops and len(self.found) == len(self.taps):
            raise _Enough

    def watch(self, layer: str, module: nn.Module) -> list[Any]:
        """Hook ``module`` for the taps on ``layer``; the handles remove the hooks."""
        taps = [tap for tap in self.taps if tap.layer == layer and tap.parameter is None]
        before = [tap for tap in taps if tap.side == "input"]
        after = [tap for tap in taps if tap.side == "output"]
        current: list[int] = []

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            current.append(self._calls[layer])
            self._calls[layer] += 1
            for tap in before:
                if tap.call == current[-1]:
                    self.offer(tap, flatten_tensors(args, kwargs))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            call = current.pop()
            for tap in after:
                if tap.call == call:
                    self.offer(tap, _outputs(output, whole=not layer))

        return [
            module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True),
            module.register_forward_hook(leave),
        ]


class _Reading(TorchFunctionMode):
    """Offers the other operand of the operation that reads a tap's parameter.

    Transposes, casts and reshapes of the parameter count as the parameter. What is
    no float (the indices of an embedding that is tied to it) or belongs to the
    model (a bias) does not count as the other operand.
    """

    def __init__(self, model: nn.Module, collector: _Collector) -> None:
        super().__init__()
        self._collector = collector
        self._reads: Counter[Tap] = Counter()
        self._own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._traced = [
            (tap, {id(weight): weight})
            for tap in collector.taps
            if tap.parameter is not None
            for weight in [find_tensor(model, tap.parameter)]
        ]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        operands = flatten_tensors(args, kwargs or {})
        readers = [
            (tap, derived)
            for tap, derived in self._traced
            if any(id(operand) in derived for operand in operands)
        ]
        for tap, derived in readers:
            others = [
                operand
                for operand in operands
                if operand.is_floating_point()
                and id(operand) not in derived
                and id(operand) not in self._own
            ]
            if others:
                self._reads[tap] += 1
                if self._reads[tap] == tap.call + 1:
                    self._collector.offer(tap, others)
        result = func(*args, **(kwargs or {}))
        if readers and len(operands) == 1 and isinstance(result, torch.Tensor):
            for _, derived in readers:
                derived[id(result)] = result
        return result


def _outputs(result: Any, whole: bool) -> list[torch.Tensor]:
    """A call's tensors in order; those of the whole model as the graph orders its outputs."""
    if not whole:
        return flatten_tensors(result)
    named = sorted(named_tensors(result), key=lambda output: output[0] != PRIMARY)
    return [tensor for _, tensor in named]


def find_tensor(model: nn.Module, name: str) -> torch.Tensor:
    """The parameter or buffer of that full name, as it is now."""
    owner, _, last = name.rpartition(".")
    value = getattr(model.get_submodule(owner), last)
    if not isinstance(value, torch.Tensor):
        raise ModelError(f"{name!r} is no tensor of the model")
    return value


def capture(model: nn.Module, taps: Sequence[Tap], call: Callable[[], Any]) -> list[torch.Tensor]:
    """Run ``call``, which calls ``model``, until all of ``taps`` were seen.

    Returns their tensors in the order of ``taps``. The rest of the model, such as
    its head, does not run. Raises ``ModelError`` where a tap never came by.
    """
    collector = _Collector(taps)
    with ExitStack() as stack:
        for layer in dict.fromkeys(tap.layer for tap in taps if tap.parameter is None):
            for handle in collector.watch(layer, model.get_submodule(layer)):
                stack.callback(handle.remove)
        if any(tap.parameter is not None for tap in taps):
            stack.enter_context(_Reading(model, collector))
        with suppress(_Enough):
            call()
    for tap in taps:
        if tap not in collector.found:
            raise ModelError(
                f"the model ran without reaching {describe(tap)}: it takes another path than in "
                "the call that was traced; name another embedding_layer"
            )
    return [collector.found[tap] for tap in taps]


def describe(tap: Tap) -> str:
    """The tap in words, for messages."""
    if tap.parameter is not None:
        return f"the operation that reads {tap.parameter!r}"
    return f"the {tap.side} of layer {tap.layer!r}, call {tap.call}"
