"""The entry point: records only, nothing heavy is imported until the command is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finetuner.contracts import CommandRecord
from finetuner.errors import MissingDependencyError
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_commands() -> Iterator[CommandRecord]:
    yield CommandRecord("hub", help="Serve a hub and look after its users.", load=_load)


def _load() -> Any:
    try:
        from finetuner_hub.cli import app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'a hub needs {error.name}, which is not installed: pip install "finetuner-hub[server]"'
        ) from error
    return app
