"""Where the thing is that a user named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from finetuner.errors import UnknownNameError
from finetuner.runs.directory import home_directory
from finetuner.runs.run import get_run

if TYPE_CHECKING:
    from finetuner.plugins.host import Host


def located(
    source: str | os.PathLike[str], home: str | os.PathLike[str] | None, host: Host
) -> Path:
    """The bundle that ``source`` means: a directory, a run's artifact, or one in a store.

    What is in a store is kept under ``home``.
    """
    from finetuner.artifacts import pull_cached, store_opener, watching
    from finetuner.artifacts.bundle import read_any_manifest

    name = os.fspath(source)
    if os.path.isdir(name):
        read_any_manifest(Path(name))
        return Path(name)
    with watching("pull", None) as watcher:
        return pull_cached(
            address_of(name, home), home_directory(home) / "artifacts", store_opener(host), watcher
        )


def address_of(source: str | os.PathLike[str], home: str | os.PathLike[str] | None) -> str:
    """The address that ``source`` is, or that of the run's artifact that it names."""
    name = os.fspath(source)
    if "/" in name:
        return name
    try:
        return get_run(name, home=home).artifact_id
    except UnknownNameError as error:
        hint = f"{error.hint}; give a run, a bundle's directory, or STORE/NAME[:TAG]"
        raise UnknownNameError(error.kind, name, error.known, hint) from None
