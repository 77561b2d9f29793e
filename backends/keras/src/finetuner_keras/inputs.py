"""How inputs by canonical name reach a Keras model."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import keras

from finetuner.errors import ModelError
from finetuner_keras.layers import Layer, is_graph

Value = TypeVar("Value")

OPTIONAL = frozenset({"token_type_ids"})
"""Inputs that a model may leave out: tokenizers give them, many models have no use for them."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("token_ids", "tokens"),
    "attention_mask": ("padding_mask", "mask"),
    "token_type_ids": ("segment_ids",),
    "image": ("images", "pixel_values"),
}
"""Other names under which a model may ask for a canonical input."""


@dataclass(frozen=True)
class InputMap:
    """How one call is written.

    ``one``: the first input alone; ``dict`` and ``list``: all in one structure,
    which ``names`` maps from the model's names (or positions) to canonical ones;
    ``call``: the first positionally, the others by keyword.
    """

    form: Literal["one", "dict", "list", "call"]
    names: tuple[tuple[str, str], ...]

    def bind(self, inputs: Mapping[str, Value]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments for the model's call."""
        values = {own: inputs[name] for own, name in self.names}
        if self.form == "dict":
            return (values,), {}
        if self.form == "list":
            return (list(values.values()),), {}
        first, *others = values.items()
        return (first[1],), dict(others)


def input_map(model: Layer, names: Iterable[str]) -> InputMap:
    """Decide where inputs of these canonical names go in ``model``'s call.

    A Functional model takes them by the names of its inputs, or whatever its only
    input is called; another by the parameters of its ``call``, and one whose
    ``call`` has a single parameter takes several inputs as a dictionary.

    Raises:
        ModelError: the model cannot take an input, or needs more than these.
    """
    names = tuple(names)
    declared = declared_inputs(model)
    if declared is not None:
        form, own = declared
        if form == "one":
            wanted = [name for name in names if name not in OPTIONAL]
            if len(wanted) != 1:
                raise _misfit(model, wanted, own)
            return InputMap("one", ((own[0], wanted[0]),))
        return InputMap(form, _match(model, names, own))
    return _by_signature(model, names)


def declared_inputs(model: Layer) -> tuple[Literal["one", "dict", "list"], tuple[str, ...]] | None:
    """The form and names of the inputs that a Functional or Sequential model declares."""
    tensors = _declared(model)
    if not tensors:
        return None
    structure = None if isinstance(model, keras.Sequential) else model.input
    if isinstance(structure, Mapping):
        return "dict", tuple(structure)
    names = tuple(tensor.name for tensor in tensors)
    return ("one" if len(names) == 1 else "list"), names


def _declared(model: Layer) -> tuple[Any, ...]:
    """The symbolic inputs of a Functional or built Sequential model."""
    return tuple(getattr(model, "inputs", None) or ()) if is_graph(model) else ()


def refuse_strings(model: Layer) -> None:
    """Raises ``ModelError`` for a model that is fed with strings."""
    for tensor in _declared(model):
        if tensor.dtype == "string":
            raise ModelError(
                f"{type(model).__name__} takes strings (input {tensor.name!r}), which neither "
                "trains nor exports: give the part behind TextVectorization, and a tokenizer "
                "with model_options={'tokenizer': PATH}"
            )


def _match(model: Layer, names: tuple[str, ...], own: tuple[str, ...]) -> tuple[Any, ...]:
    found = {}
    for name in names:
        known = next((n for n in (name, *ALIASES.get(name, ())) if n in own), None)
        if known is not None:
            found[known] = name
        elif name not in OPTIONAL:
            raise _misfit(model, [name], own)
    if missing := [name for name in own if name not in found]:
        raise ModelError(
            f"{type(model).__name__} needs the input {missing[0]!r}, which the inputs "
            f"({', '.join(names)}) do not give: name its inputs {', '.join(names)}"
        )
    return tuple((name, found[name]) for name in own)


def _by_signature(model: Layer, names: tuple[str, ...]) -> InputMap:
    parameters = [
        p
        for p in inspect.signature(model.call).parameters.values()
        if p.name not in ("training", "mask") or p.name in names
    ]
    own = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    if not own:
        raise _misfit(model, names, own)
    wanted = tuple(name for name in names if name not in OPTIONAL)
    known = {n for name in names for n in (name, *ALIASES.get(name, ()))}
    if own[0] in known:
        return InputMap("call", _match_signature(model, names, parameters))
    if len(wanted) == 1:
        return InputMap("one", ((own[0], wanted[0]),))
    return InputMap("dict", tuple((name, name) for name in wanted))


def _match_signature(
    model: Layer, names: tuple[str, ...], parameters: list[inspect.Parameter]
) -> tuple[Any, ...]:
    optional = {p.name for p in parameters if p.default is not p.empty}
    given = {n for name in names for n in (name, *ALIASES.get(name, ()))}
    own = tuple(p.name for p in parameters if p.name not in optional or p.name in given)
    return _match(model, names, own)


def _misfit(model: Layer, names: Iterable[str], own: Iterable[str]) -> ModelError:
    return ModelError(
        f"{type(model).__name__} cannot take {', '.join(map(repr, names)) or 'no input'}: its "
        f"inputs are {', '.join(map(repr, own)) or 'none'}. Feed it inputs of these names "
        "(model_options={'inputs': [...]} for text), or give its inputs those names"
    )


def is_keras(model: object) -> bool:
    """Whether ``model`` is a Keras layer or model."""
    return isinstance(model, keras.layers.Layer)
