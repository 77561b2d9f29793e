"""YAML as people write it: ``1e-4`` is a number, as YAML 1.2 and everybody else has it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from finetuner.errors import UsageError


class _Loader(yaml.SafeLoader):
    """The safe loader, which alone takes a number without a point or a signed exponent as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Any:
    """The value that ``text`` holds; ``UsageError`` where it is none.

    >>> read_yaml("[1e-4, 2E5, 1.5e3, 1e4x]")
    [0.0001, 200000.0, 1500.0, '1e4x']
    """
    try:
        return yaml.load(text, Loader=_Loader)
    # A date that is in no calendar is a ValueError.
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"not YAML: {error}") from error
