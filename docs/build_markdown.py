"""Docstrings as Markdown."""

from __future__ import annotations

import inspect
import re


def docstring(thing: object) -> str:
    """The docstring without its indentation; documentation stops where there is none."""
    text = inspect.getdoc(thing)
    if not text:
        raise SystemExit(f"{thing!r} has no docstring")
    return text


def markdown(text: str) -> str:
    """Literal blocks fenced, roles and double backticks made code, sections made lists."""
    prose, mark, example = text.partition("::\n")
    prose = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", prose).replace("``", "`")
    prose = re.sub(r"^(Args|Returns|Raises):\n((?:(?: {4}.*)?\n?)+)", _section, prose, flags=re.M)
    if not mark:
        return prose.strip()
    return f"{prose.rstrip()}:\n\n```python\n{inspect.cleandoc(example)}\n```"


def _section(match: re.Match[str]) -> str:
    """``Args:`` and its like: entries of the form ``name: words`` become a list."""
    title, body = match[1], inspect.cleandoc("\n" + match[2])
    entries = re.sub(r"^(\w[\w, ]*):\s+", _entry, body, flags=re.M)
    entries = re.sub(r"^ +", "  ", entries, flags=re.M)
    return f"{title}:\n\n{entries}\n\n"


def _entry(match: re.Match[str]) -> str:
    names = ", ".join(f"`{name}`" for name in match[1].split(", "))
    return f"- {names}: "
