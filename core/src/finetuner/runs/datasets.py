"""Training data that a run names by its address in a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetuner.artifacts import (
    parse_address,
    pull_cached,
    read_data_manifest,
    store_opener,
    watching,
)
from finetuner.contracts import RunSpec
from finetuner.data import StoredData
from finetuner.plugins.host import Host

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(data: object) -> bool:
    """Whether ``data`` is the address of something in a store, not of a file here."""
    if not isinstance(data, str) or not _URL.match(data):
        return False
    return not (data.startswith("file://") and Path(data.removeprefix("file://")).exists())


def fetch(address: str, host: Host, home: Path, progress: bool | None = None) -> StoredData:
    """The data set at ``address``, pulled under ``home``.

    Raises ``ArtifactError`` if there is no data set, and whatever a pull raises.
    """
    with watching(f"pull {parse_address(address).name}", progress) as watcher:
        directory = pull_cached(address, home / "artifacts", store_opener(host), watcher)
    read_data_manifest(directory)
    return StoredData(directory, home / "rows" / directory.name)


def fetched(data: Any, host: Host, home: Path, progress: bool | None = None) -> Any:
    """``data`` itself; what is an address, also inside a mapping, is fetched."""
    if isinstance(data, Mapping):
        return {name: fetched(value, host, home, progress) for name, value in data.items()}
    return fetch(data, host, home, progress) if is_address(data) else data


def with_data(spec: RunSpec, live: Mapping[str, Any], host: Host, home: Path) -> dict[str, Any]:
    """``live`` with the data that ``spec`` names by an address."""
    progress = live.get("progress")
    given = {
        key: fetched(live.get(key, getattr(spec, key)), host, home, progress)
        for key in ("train_data", "eval_data")
    }
    return {**live, **{key: data for key, data in given.items() if data is not None}}
