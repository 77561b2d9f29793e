"""Calling a model with some layers in a mode of their own, and reading tensors out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from finetuner.contracts import Tap
from finetuner.errors import ModelError
from finetuner_keras.layers import Layer
from finetuner_keras.tree import flatten_tensors, named_tensors

PRIMARY = "logits"


class _Enough(BaseException):
    """Ends a call when every tap was seen; no ``except Exception`` stops it."""


@dataclass
class _Collector:
    taps: Sequence[Tap]
    found: dict[Tap, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def offer(self, layer: str, call: int, side: str, tensors: Callable[[], list[Any]]) -> None:
        for tap in self.taps:
            if (tap.layer, tap.call, tap.side) == (layer, call, side) and tap not in self.found:
                self.found[tap] = tensors()[tap.index]
        if len(self.found) == len(set(self.taps)):
            raise _Enough


def capture(
    layers: Mapping[str, Layer],
    taps: Sequence[Tap],
    modes: Mapping[str, bool],
    call: Callable[[], Any],
    replaced: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Run ``call``, which calls the model of ``layers``, until all of ``taps`` were seen.

    ``modes`` says by layer whether it runs as in training; ``replaced`` are layers
    that give what stands there whatever they are called with. Returns the tapped
    tensors in the order of ``taps``; the rest of the model, such as its head, does
    not run. Raises ``ModelError`` where a tap never came by.
    """
    collector = _Collector(taps)
    touched = {tap.layer for tap in taps} | set(modes) | set(replaced or {})
    with _calls(layers, touched, collector, modes, replaced or {}), suppress(_Enough):
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
    return f"the {tap.side} of layer {tap.layer!r}, call {tap.call}"


@contextmanager
def _calls(
    layers: Mapping[str, Layer],
    names: set[str],
    collector: _Collector,
    modes: Mapping[str, bool],
    replaced: Mapping[str, Any],
) -> Iterator[None]:
    """Stand in front of the ``call`` of each of these layers for a while."""
    tapped = {tap.layer for tap in collector.taps}
    for name in names:
        layer = layers[name]
        mode = modes.get(name) if _takes_training(layer) else None
        if name in tapped or name in replaced or mode is not None:
            vars(layer)["call"] = _stand_in(
                name, layer.call, name in tapped and collector, mode, replaced
            )
    try:
        yield
    finally:
        for name in names:
            vars(layers[name]).pop("call", None)


def _stand_in(
    name: str,
    call: Callable[..., Any],
    collector: _Collector | Any,
    mode: bool | None,
    replaced: Mapping[str, Any],
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        number = 0
        if collector:
            number = collector.counts.get(name, 0)
            collector.counts[name] = number + 1
            collector.offer(name, number, "input", lambda: flatten_tensors(args, kwargs))
        if mode is not None:
            kwargs["training"] = mode
        result = replaced[name] if name in replaced else call(*args, **kwargs)
        if collector:
            collector.offer(name, number, "output", lambda: _outputs(name, result))
        return result

    return run


def _outputs(name: str, result: Any) -> list[Any]:
    """A call's tensors in order; those of the whole model as the graph orders its outputs."""
    if name:
        return flatten_tensors(result)
    named = sorted(named_tensors(result), key=lambda output: output[0] != PRIMARY)
    return [tensor for _, tensor in named]


def _takes_training(layer: Layer) -> bool:
    return bool(getattr(layer, "_call_has_training_arg", False))
