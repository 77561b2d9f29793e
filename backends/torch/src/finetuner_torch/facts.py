"""What a model is, as far as its class and library tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn


def facts_of(model: nn.Module) -> dict[str, object]:
    """Class, library, the library's version, and configuration as JSON values.

    ``config`` is ``model.config.to_dict()`` as transformers has it (or a plain
    mapping), without the entries that JSON cannot hold; ``{}`` where there is none.
    """
    library = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", None)
    return {
        "class": type(model).__name__,
        "library": library,
        "version": None if version is None else str(version),
        "config": _config(getattr(model, "config", None)),
    }


def _config(config: Any) -> dict[str, object]:
    to_dict = getattr(config, "to_dict", None)
    values = to_dict() if callable(to_dict) else config
    if not isinstance(values, Mapping):
        return {}
    kept = {str(key): value for key, value in values.items() if _is_json(value)}
    normal: dict[str, object] = json.loads(json.dumps(kept))
    return normal


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, (str, int)) and _is_json(v) for key, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float, bool))
