"""From flags, KEY=VALUE pairs and a YAML file to arguments of ``fit``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetuner import api
from finetuner.errors import UnknownNameError, UsageError
from finetuner.runs.yaml_text import read_yaml


def fit_arguments(
    config: Path | None, options: Sequence[str], flags: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of ``fit``: the config file, then ``--set`` pairs, then flags that were given."""
    arguments = read_config(config) if config is not None else {}
    arguments |= pairs(options)
    arguments |= {name: value for name, value in flags.items() if value is not None}
    known = [name for name in inspect.signature(api.fit).parameters if name != "progress"]
    for name in arguments:
        if name not in known:
            raise UnknownNameError("argument of fit", name, known)
    for name in ("model", "train_data"):
        if name not in arguments:
            raise UsageError(f"no {name} was given: name it on the command line or in --config")
    return arguments


def read_config(path: Path) -> dict[str, Any]:
    """A YAML mapping; ``UsageError`` with the place where it cannot be read."""
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UsageError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds a {type(found).__name__}: write 'name: value' lines")
    return {str(name): value for name, value in found.items()}


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as a mapping; dots nest (``loss_options.margin=0.2``), YAML values."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{text!r} is not KEY=VALUE")
        *path, last = key.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UsageError(f"{text!r}: {part} was already given the value {place!r}")
        try:
            place[last] = read_yaml(value)
        except UsageError as error:
            raise UsageError(f"the value of {key} cannot be read: {error}") from error
    return found
