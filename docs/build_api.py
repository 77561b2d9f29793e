"""The page ``api.md``: the public functions, what they give, and the commands."""

from __future__ import annotations

import inspect
from typing import Any

import typer
from build_markdown import docstring, markdown

import finetuner
from finetuner.cli.main import app
from finetuner.inference import OnnxEmbedder

INTRODUCTION = """\
# API

<!-- Written by docs/build.py from the docstrings. Do not edit. -->

Everything that raises on purpose raises a `finetuner.errors.FinetunerError`, whose message
says what was found and what to do.
"""

COMMANDS = """\
## Commands

A mistake is one message on standard error and exit status 1; a wrong option is exit
status 2.
"""


def page() -> str:
    """The whole page."""
    public = [getattr(finetuner, name) for name in finetuner.__all__]
    classes = [each for each in public if inspect.isclass(each)] + [OnnxEmbedder]
    functions = [each for each in public if not inspect.isclass(each)]
    commands = typer.main.get_command(app).commands
    parts = [
        INTRODUCTION,
        "## Functions\n",
        *(_function(each, f"finetuner.{each.__name__}") for each in functions),
        "## Classes\n",
        *map(_class, classes),
        COMMANDS,
        *(_command(name, command) for name, command in commands.items()),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _function(function: Any, name: str) -> str:
    return "\n".join(
        [
            f"### {name}\n",
            "```python",
            _signature(function),
            "```\n",
            f"{markdown(docstring(function))}\n",
        ]
    )


def _signature(function: Any) -> str:
    """As written, on one line where it fits."""
    texts: list[str] = []
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        default = "" if each.default is each.empty else f" = {each.default!r}"
        stars = "**" if each.kind is each.VAR_KEYWORD else ""
        texts.append(f"{stars}{each.name}: {each.annotation}{default}")
    returns = inspect.signature(function).return_annotation
    name = function.__name__
    line = f"{name}({', '.join(texts)}) -> {returns}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f") -> {returns}"


def _class(kind: type) -> str:
    """A class with its own public members, in the order of its source."""
    members = [
        _member(name, value)
        for name, value in vars(kind).items()
        if not name.startswith(("_", "model_")) and _is_member(value)
    ]
    listed = [*members, ""] if members else []
    return "\n".join([f"### {kind.__name__}\n", f"{markdown(docstring(kind))}\n", *listed])


def _is_member(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, property | classmethod)


def _member(name: str, value: Any) -> str:
    summary = " ".join(markdown(docstring(value)).split("\n\n")[0].split())
    if isinstance(value, property):
        return f"- `{name}`: {summary}"
    function = value.__func__ if isinstance(value, classmethod) else value
    signature = inspect.signature(function)
    names = [each for each in signature.parameters if each not in ("self", "cls")]
    return f"- `{name}({', '.join(names)})`: {summary}"


def _command(name: str, command: Any) -> str:
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    words = [_placeholder(each) for each in arguments]
    usage = " ".join(["finetuner", name, *words, "[options]"])
    lines = [f"- `{_placeholder(each)}`: {each.help}" for each in arguments if each.help]
    lines += [f"- {_flags(each)}: {each.help}" for each in options if each.help]
    bare = ", ".join(_flags(each) for each in options if not each.help)
    lines += [f"- also {bare}"] if bare else []
    return "\n".join([f"### {usage}\n", f"{command.help}\n", *lines, ""])


def _placeholder(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
