"""How inputs by canonical name reach a module's ``forward``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from finetuner.errors import ModelError

Value = TypeVar("Value")

OPTIONAL = frozenset({"token_type_ids"})
"""Inputs that a model may leave out: tokenizers give them, many models have no use for them."""

ALIASES: Mapping[str, tuple[str, ...]] = {"image": ("pixel_values",)}
"""Other names under which ``forward`` may ask for a canonical input."""

UNNAMED = frozenset({"array", "image"})
"""Inputs that go to the first positional argument where ``forward`` does not name them."""


@dataclass(frozen=True)
class InputMap:
    """Where each canonical input goes: positional ones in order, the rest by keyword."""

    positional: tuple[str, ...]
    keywords: tuple[tuple[str, str], ...]

    def bind(self, inputs: Mapping[str, Value]) -> tuple[tuple[Value, ...], dict[str, Value]]:
        """Arguments and keyword arguments for the model's call."""
        args = tuple(inputs[name] for name in self.positional)
        return args, {keyword: inputs[name] for name, keyword in self.keywords}


def unwrap(model: nn.Module) -> nn.Module:
    """The module itself, where ``torch.compile`` or data parallelism wraps it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in {"DataParallel", "DistributedDataParallel"}:
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def input_map(model: nn.Module, names: Iterable[str]) -> InputMap:
    """Decide once for a model where inputs of these canonical names go.

    A name in ``forward``'s signature goes by keyword, ``image`` also to
    ``pixel_values``; otherwise ``array`` and ``image`` go to the first positional
    argument, and whatever is left to ``**kwargs`` where there is one.

    Raises:
        ModelError: ``forward`` cannot take an input, or needs more than these.
    """
    target = unwrap(model)
    parameters = _parameters(target)
    taken: dict[str, str] = {}
    positional: list[str] = []
    for name in names:
        keyword = _keyword(name, parameters)
        if keyword is not None:
            taken[name] = keyword
        elif name in UNNAMED and not positional and _has_free_position(parameters, taken):
            positional.append(name)
        elif _has_kind(parameters, inspect.Parameter.VAR_KEYWORD):
            taken[name] = name
        elif name not in OPTIONAL:
            raise ModelError(
                f"{type(target).__name__}.forward cannot take the input {name!r}: its parameters "
                f"are {_listed(parameters)}. Feed it inputs of these names, or wrap it in a "
                f"module whose forward takes {name!r}"
            )
    _require_all(target, parameters, taken, len(positional))
    return InputMap(tuple(positional), tuple(taken.items()))


def map_inputs(
    model: nn.Module, inputs: Mapping[str, Value]
) -> tuple[tuple[Value, ...], dict[str, Value]]:
    """``input_map`` and ``bind`` in one: the arguments of one call."""
    return input_map(model, inputs).bind(inputs)


def to_tensors(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Numpy inputs as tensors on the model's device; floats in the model's precision."""
    device, dtype = placement(model)
    tensors = {}
    for name, array in inputs.items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        tensors[name] = tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
    return tensors


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device of the first parameter, and dtype of the first floating one (else float32)."""
    device, dtype = None, None
    for tensor in (*model.parameters(), *model.buffers()):
        device = device or tensor.device
        if dtype is None and tensor.is_floating_point():
            dtype = tensor.dtype
    return device or torch.device("cpu"), dtype or torch.float32


def _parameters(model: nn.Module) -> tuple[inspect.Parameter, ...]:
    schema = getattr(getattr(model, "forward", None), "schema", None)
    if schema is not None:
        return tuple(_from_schema(argument) for argument in schema.arguments[1:])
    return tuple(inspect.signature(model.forward).parameters.values())


def _from_schema(argument: Any) -> inspect.Parameter:
    default = argument.default_value if argument.has_default_value() else inspect.Parameter.empty
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(argument.name, kind, default=default)


def _keyword(name: str, parameters: tuple[inspect.Parameter, ...]) -> str | None:
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return next((n for n in (name, *ALIASES.get(name, ())) if n in named), None)


def _has_kind(parameters: tuple[inspect.Parameter, ...], kind: Any) -> bool:
    return any(parameter.kind == kind for parameter in parameters)


def _has_free_position(parameters: tuple[inspect.Parameter, ...], taken: Mapping[str, str]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = next((p for p in parameters if p.kind in kinds), None)
    if first is not None:
        return first.name not in taken.values()
    return _has_kind(parameters, inspect.Parameter.VAR_POSITIONAL)


def _require_all(
    model: nn.Module,
    parameters: tuple[inspect.Parameter, ...],
    taken: Mapping[str, str],
    positional: int,
) -> None:
    ordered = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    filled = {*taken.values(), *(p.name for p in ordered[:positional])}
    missing = [p.name for p in ordered if p.default is p.empty and p.name not in filled]
    if missing:
        raise ModelError(
            f"{type(model).__name__}.forward needs {', '.join(map(repr, missing))}, which the "
            f"inputs ({', '.join(map(repr, taken)) or 'none by name'}) do not give. Give them a "
            f"default, or wrap the model in a module that fills them in"
        )


def _listed(parameters: tuple[inspect.Parameter, ...]) -> str:
    return ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in parameters) or "none"
