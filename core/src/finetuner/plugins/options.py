"""Options that a user gives a record's function, checked against its own signature."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from finetuner.errors import UnknownNameError, UsageError


def keyword_options(function: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of a function's keyword-only arguments: what a user may set.

    An argument without a default has ``inspect.Parameter.empty``.
    """
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def named_options(function: Callable[..., Any]) -> dict[str, Any]:
    """As :func:`keyword_options`, with every argument that can be given by name."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p.default for p in parameters if p.kind in kinds}


def check_options(
    kind: str,
    name: str,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], None] | None = None,
    *,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """``options`` as they were given, if ``function`` takes them.

    ``kind`` and ``name`` ("loss", "SupConLoss") are for the message, ``known`` are
    names and defaults of what may be set (``None``: the keyword-only arguments).
    Raises ``UnknownNameError`` for another name (a function with ``**options``
    takes any) and ``UsageError`` for a value whose type is not the default's, that
    is not finite, or that ``check`` refuses.
    """
    known = keyword_options(function) if known is None else known
    for option, value in options.items():
        if option not in known:
            if not _takes_any(function):
                raise UnknownNameError(f"option of {kind} {name}", option, known)
            continue
        _check_type(f"option {option!r} of {kind} {name}", known[option], value)
    missing = sorted(
        option
        for option, default in known.items()
        if default is inspect.Parameter.empty and option not in options
    )
    if missing:
        raise UsageError(f"{kind} {name} needs the option {', '.join(map(repr, missing))}")
    if check is not None:
        check(options)
    return dict(options)


def check_positive(owner: str, option: str, options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where the option is set to zero or less."""
    if option in options and options[option] <= 0:
        raise UsageError(f"{option} of {owner} is {options[option]}: must be greater than 0")


def _takes_any(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _check_type(what: str, default: Any, value: Any) -> None:
    wanted = type(default)
    if wanted not in (bool, int, float, str):
        return
    accepted = (int, float) if wanted is float else (wanted,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
        raise UsageError(f"{what} is {value!r}: must be a {wanted.__name__}, as {default!r} is")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{what} is {value!r}: must be finite")
