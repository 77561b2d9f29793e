"""Cutting an embedding model in two at a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from finetuner.contracts import Tap
from finetuner.errors import ModelError, UnknownNameError
from finetuner_torch.apply import EmbeddingModel
from finetuner_torch.capture import capture
from finetuner_torch.copying import copy_module
from finetuner_torch.modes import set_flags

TOLERANCE = 1e-5
"""Largest difference between the whole model and the two parts, by the largest value."""


class Prefix(nn.Module):
    """The model up to and with one layer: canonical inputs in, that layer's output out.

    It is made to be evaluated; what follows the layer does not run.
    """

    only_evaluated = True

    def __init__(self, whole: EmbeddingModel, at: str) -> None:
        super().__init__()
        self.whole = whole
        self._tap = Tap(at)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The layer's output, batch first."""
        call = lambda: self.whole.call_backbone(inputs)  # noqa: E731
        return capture(self.whole.backbone, [self._tap], call)[0]


class Suffix(EmbeddingModel):
    """The rest of the model: ``prefix`` and the original inputs in, embeddings out.

    Its first call runs the whole model once to learn which modules end before the
    layer begins; from then on those give values of the right shape and compute
    nothing. That call also compares the two parts with the whole: ``ModelError``
    where they differ, as they do where something flows past the layer.
    """

    def __init__(self, whole: EmbeddingModel, at: str) -> None:
        super().__init__(whole.backbone, whole.plan, whole.pooling, whole.projection)
        self.at = at
        self._results: Mapping[str, list[_Result]] | None = None

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings B×D."""
        prefix = inputs.pop("prefix")
        if self._results is None:
            self._results = self._learn(inputs)
        return self._resume(prefix, inputs, self._results)

    def _resume(
        self,
        prefix: torch.Tensor,
        inputs: Mapping[str, torch.Tensor],
        results: Mapping[str, list[_Result]],
    ) -> torch.Tensor:
        with _replaced(self.backbone, results, prefix):
            return super().forward(**inputs)

    def _learn(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, list[_Result]]:
        """What stands in for the modules up to ``at``, checked against the whole model."""
        with _evaluating(self):
            calls = _record(self.backbone, lambda: self.call_backbone(inputs))
            cut = _only_call(calls, self.at)
            done = {
                name: made
                for name, made in calls.items()
                if name == self.at or all(call.end < cut.start for call in made)
            }
            outermost = {n: made for n, made in done.items() if not _inside(n, done)}
            results = {
                name: [_Result(call, cut.tensor) for call in made]
                for name, made in outermost.items()
            }
            whole = super().forward(**inputs)
            parts = self._resume(cut.tensor, inputs, results)
        scale = max(1.0, whole.abs().max().item())
        if not (difference := (whole - parts).abs().max().item()) <= TOLERANCE * scale:
            raise ModelError(
                f"the model cannot be split at {self.at!r}: more than this layer's output flows "
                f"on (the embeddings differ by {difference:.2g}). Choose a layer that all data "
                "passes"
            )
        return results


def split(model: EmbeddingModel, at: str) -> tuple[Prefix, Suffix]:
    """Prefix and rest, each with weights of its own. ``at`` is a layer of the backbone.

    Raises ``UnknownNameError`` where there is no such layer. Whether the parts
    make the whole can be told only from a call: the rest's first one does.
    """
    names = dict(model.backbone.named_modules())
    if at not in names or not at:
        raise UnknownNameError("layer", at, (name for name in names if name))
    return Prefix(_copy(model), at), Suffix(_copy(model), at)


def _copy(model: EmbeddingModel) -> EmbeddingModel:
    copied = copy_module(model)
    assert isinstance(copied, EmbeddingModel)
    return copied


@dataclass
class _Call:
    """One recorded call: when it ran, what it was given and what it gave."""

    start: int
    arguments: Any
    end: int = -1
    output: Any = None

    @property
    def tensor(self) -> torch.Tensor:
        """The one tensor of the output."""
        tensors = _tensors(self.output)
        if len(tensors) != 1:
            raise ModelError(f"a layer to split at gives one tensor, this one {len(tensors)}")
        return tensors[0]


class _Result:
    """What a call gives without computing: its recorded output with the tensors replaced."""

    def __init__(self, call: _Call, prefix: torch.Tensor) -> None:
        arguments = _tensors(call.arguments)
        self._template = pytree.tree_map_only(
            torch.Tensor, lambda leaf: _source(leaf, arguments, prefix), call.output
        )

    def make(self, prefix: torch.Tensor, arguments: Any) -> Any:
        """The output for this prefix and these arguments."""
        tensors = _tensors(arguments)
        return pytree.tree_map_only(
            _Source, lambda source: source.make(prefix, tensors), self._template
        )


@dataclass(frozen=True)
class _Source:
    """Makes a tensor from the prefix and a module's arguments."""

    make: Callable[[torch.Tensor, list[torch.Tensor]], torch.Tensor]


def _source(leaf: torch.Tensor, arguments: list[torch.Tensor], prefix: torch.Tensor) -> _Source:
    """Something of the shape that ``leaf`` has in any call: its values are never used."""
    shape, dtype = leaf.shape, leaf.dtype
    if shape == prefix.shape:
        return _Source(lambda prefix, arguments: prefix)
    for index, argument in enumerate(arguments):
        if argument.shape == shape and argument.dtype == dtype:
            return _Source(lambda prefix, arguments, index=index: arguments[index])  # type: ignore[misc]
    if leaf.ndim and shape[0] == prefix.shape[0]:
        return _Source(
            lambda prefix, arguments: _zeros(prefix, (prefix.shape[0], *shape[1:]), dtype)
        )
    return _Source(lambda prefix, arguments: _zeros(prefix, shape, dtype))


def _zeros(like: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros((), dtype=dtype, device=like.device).expand(shape)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _record(model: nn.Module, call: Callable[[], object]) -> dict[str, list[_Call]]:
    """Every module's calls, numbered by entries and exits."""
    clock = iter(range(1 << 60))
    calls: dict[str, list[_Call]] = {}
    with ExitStack() as stack:
        for name, module in model.named_modules():

            def enter(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                calls.setdefault(name, []).append(_Call(next(clock), (args, kwargs)))

            def leave(_: nn.Module, args: Any, output: Any, name: str = name) -> None:
                made = next(c for c in reversed(calls[name]) if c.end < 0)
                made.end, made.output = next(clock), output

            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        call()
    return calls


def _only_call(calls: Mapping[str, list[_Call]], at: str) -> _Call:
    made = calls.get(at, [])
    if len(made) != 1:
        raise ModelError(
            f"the model cannot be split at {at!r}: it runs {len(made)} times in one call"
        )
    return made[0]


def _inside(name: str, done: Mapping[str, object]) -> bool:
    parents = [name[:i] for i, letter in enumerate(name) if letter == "."]
    return any(parent in done for parent in parents)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients for a while, in full precision."""
    flags = [(module, module.training) for module in model.modules()]
    device = next((p.device.type for p in model.parameters()), "cpu")
    set_flags([(module, False) for module, _ in flags])
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        set_flags(flags)


@contextmanager
def _replaced(
    model: nn.Module, results: Mapping[str, list[_Result]], prefix: torch.Tensor
) -> Iterator[None]:
    """Modules that give their recorded results instead of running, for one call."""
    with ExitStack() as stack:
        for name, made in results.items():
            module, remaining = model.get_submodule(name), iter(made)

            def forward(*args: Any, _made: Iterator[_Result] = remaining, **kwargs: Any) -> Any:
                return next(_made).make(prefix, (args, kwargs))

            own = module.__dict__.get("forward")
            module.__dict__["forward"] = forward
            stack.callback(_put_back, module, own)
        yield


def _put_back(module: nn.Module, forward: Any) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward
