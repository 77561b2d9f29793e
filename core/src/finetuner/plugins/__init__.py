"""The plugin host: hook specifications, discovery and blame.

A plugin's hook module needs :data:`hookimpl` from here and nothing else; the
host is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from finetuner.plugins.blame import Origin, observe
    from finetuner.plugins.host import Host, PluginInfo, Provided, default_host

hookimpl = pluggy.HookimplMarker("finetuner")
"""Marks a function of a plugin's entry-point module as a hook implementation."""

_HOMES = {
    "Host": "host",
    "Origin": "blame",
    "PluginInfo": "host",
    "Provided": "host",
    "default_host": "host",
    "observe": "blame",
}

__all__ = [
    "Host",
    "Origin",
    "PluginInfo",
    "Provided",
    "default_host",
    "hookimpl",
    "observe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
