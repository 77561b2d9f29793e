"""Servers on loopback, started once a session, and the environment that finds them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from servers.azurite import azurite
from servers.fake_gcs import fake_gcs
from servers.process import NotInstalledError, Server
from servers.radosgw import radosgw
from servers.s3 import moto

_OURS = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "CLOUDSDK_")


def _started(
    start: Callable[[Path], AbstractContextManager[Server]], factory: pytest.TempPathFactory
) -> Iterator[Server]:
    try:
        running = start(factory.mktemp(start.__name__))
        server = running.__enter__()
    except NotInstalledError as error:
        pytest.skip(str(error))
    yield server
    running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _started(moto, tmp_path_factory)


@pytest.fixture(scope="session")
def radosgw_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _started(radosgw, tmp_path_factory)


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _started(azurite, tmp_path_factory)


@pytest.fixture(scope="session")
def fake_gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _started(fake_gcs, tmp_path_factory)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's clouds is seen, and no instance is asked for its role."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], Server]:
    """Put a server's variables into the environment."""

    def set_variables(server: Server) -> Server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return server

    return set_variables
