"""Layer names and patterns as a user writes them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from finetuner.errors import UnknownNameError


def match_layers(patterns: Iterable[str], known: Iterable[str], what: str) -> tuple[str, ...]:
    """Known names that the patterns choose, in the order of ``known``.

    A pattern is a name or a shell pattern such as ``blocks.*``. Raises
    ``UnknownNameError`` for one that chooses nothing; ``what`` is the option's word.
    """
    names = tuple(known)
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not found:
            raise UnknownNameError(what, pattern, filter(None, names))
        chosen |= found
    return tuple(name for name in names if name in chosen)


def is_within(name: str, layers: Iterable[str]) -> bool:
    """Whether ``name`` is one of ``layers`` or lies inside one of them."""
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
