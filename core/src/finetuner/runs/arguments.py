"""What a user gave, as the typed values of a run: types and ranges checked in one place.

Arguments come from Python, YAML and the command line alike, and travel as JSON:
numpy's numbers become Python's, paths text, and what JSON cannot hold is refused.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from finetuner.contracts import PlanOptions, RunSpec
from finetuner.errors import UsageError
from finetuner.training.callbacks import METHODS

T = TypeVar("T")

_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "val_split": (lambda share: 0 <= share < 1, "the share to hold out, from 0 to below 1"),
    "num_items_per_class": (lambda n: n >= 2, "2 or more, since a positive pair takes two"),
    "output_dim": (lambda n: n >= 1, "at least 1"),
    "learning_rate": (lambda rate: rate > 0, "a number above 0"),
    "epochs": (lambda n: n >= 1, "at least 1"),
    "batch_size": (lambda n: n >= 1, "at least 1"),
    "num_workers": (lambda n: n >= 0, "0 or more"),
    "seed": (lambda seed: 0 <= seed < 2**63, "a whole number from 0 to below 2**63"),
    "weight_decay": (lambda decay: decay >= 0, "0 or more"),
    "betas": (lambda betas: all(0 <= b < 1 for b in betas), "two numbers from 0 to below 1"),
    "eps": (lambda eps: eps > 0, "a number above 0"),
    "momentum": (lambda momentum: 0 <= momentum < 1, "a number from 0 to below 1"),
    "clip_norm": (lambda norm: norm > 0, "a number above 0, or None for no clipping"),
    "warmup": (lambda share: 0 <= share <= 1, "the share of the steps, from 0 to 1"),
    "warmup_steps": (lambda steps: steps >= 0, "0 or more"),
    "floor": (lambda factor: 0 <= factor <= 1, "a factor from 0 to 1"),
}
"""What a value must satisfy beside its type, by the argument's name, and how to say so."""


_SAID = {"name": "run_name"}
"""Fields that users know by another name."""


def run_spec(plan: PlanOptions, **given: Any) -> RunSpec:
    """The spec of a run; an argument that is ``None`` takes the field's default.

    Raises ``UsageError`` for a value of the wrong type or out of range, by name.
    """
    return RunSpec(plan=plan, **_but_defaults(RunSpec, given))


def plan_options(**given: Any) -> PlanOptions:
    """What was asked of a plan; as :func:`run_spec`."""
    return PlanOptions(**_but_defaults(PlanOptions, given))


def typed(hints: Mapping[str, Any], given: Mapping[str, Any], owner: str = "") -> dict[str, Any]:
    """``given`` with every value as its hint says: whole numbers, numbers, text, ….

    ``owner`` ("optimizer option ") comes before the name in the message of the
    ``UsageError`` that is raised where a value does not fit its hint or its limits.
    """
    return {name: _checked(name, hints[name], value, owner) for name, value in given.items()}


def field_types(cls: type, *names: str) -> dict[str, Any]:
    """The types of a dataclass's fields by name: all, or those named."""
    hints = get_type_hints(cls)
    return {name: hints[name] for name in (names or hints)}


def mapping(name: str, value: object) -> dict[str, Any]:
    """A mapping by text with values that JSON can hold; ``UsageError`` by name otherwise."""
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is {_shown(value)}: give a mapping of names to values")
    for key in value:
        if not isinstance(key, str):
            raise UsageError(f"{name} has the key {key!r}: give names")
    return {key: _plain(f"{name}[{key!r}]", each) for key, each in value.items()}


def part_callbacks(callbacks: object) -> tuple[tuple[str, ...], list[Any]]:
    """Names and live objects among ``callbacks``, which may be a single name."""
    given = [callbacks] if isinstance(callbacks, str) else callbacks
    if not isinstance(given, Iterable):
        raise UsageError(f"callbacks is {_shown(given)}: give a list of names or objects")
    found = list(given)
    live = [each for each in found if not isinstance(each, str)]
    for each in live:
        if not any(hasattr(each, name) for name in METHODS.values()):
            raise UsageError(
                f"callback {_shown(each)} has none of a callback's methods, "
                f"{', '.join(METHODS.values())}"
            )
    return tuple(each for each in found if isinstance(each, str)), live


def _but_defaults(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    hints = field_types(cls)
    said = {
        name: value
        for name, value in given.items()
        if value is not None or NoneType in _options(hints[name])
    }
    return typed(hints, said)


def _checked(name: str, hint: Any, value: object, owner: str) -> Any:
    kinds, said = _options(hint), owner + _SAID.get(name, name)
    if value is None and NoneType in kinds:
        return None
    for kind in kinds:
        if get_origin(kind) is dict:
            return mapping(said, value)
        try:
            read = _read(kind, value)
        except (TypeError, ValueError, OverflowError):
            continue
        fits, words = _LIMITS.get(name, (None, ""))
        if fits is not None and not fits(read):
            raise UsageError(f"{said} is {_shown(value)}: give {words}")
        return read
    wanted = " or ".join(_words(kind) for kind in kinds if kind is not NoneType)
    raise UsageError(f"{said} is {_shown(value)}: give {wanted}")


def _read(kind: Any, value: Any) -> Any:
    """``value`` as ``kind``; ``TypeError`` or ``ValueError`` where it is none."""
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is str and isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if kind is bool and (isinstance(value, bool) or type(value).__name__ == "bool"):
        return bool(value)
    if kind is int and not isinstance(value, bool):
        return operator.index(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return _finite(float(value))
    raise TypeError(kind)


def _tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    return tuple(_read(kind, each) for kind, each in zip(kinds, value, strict=True))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _plain(name: str, value: object) -> Any:
    """``value`` as JSON would give it back."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{name} is {value}: give a finite number")
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return mapping(name, value)
    if isinstance(value, (list, tuple)):
        return [_plain(f"{name}[{at}]", each) for at, each in enumerate(value)]
    if hasattr(value, "tolist"):
        return _plain(name, value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return msgspec.to_builtins(value)
    raise UsageError(
        f"{name} is {_shown(value)} of type {type(value).__name__}: "
        "give text, numbers, true or false, lists or mappings"
    )


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        return "a list of text" if first is str else f"a list of {1 + len(rest)} numbers"
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}
    return words[kind]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
