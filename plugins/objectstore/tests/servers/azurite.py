"""Azurite: Azure's own emulator of its blob storage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers.process import NotInstalledError, Server, free_port, running, wait_for_http

ACCOUNT = "finetunertest"
KEY = "YSBrZXkgb2YgdGhlIHRlc3RzIG9mIGZpbmV0dW5lciwgbm9ib2R5IGVsc2UgaGFzIGl0IQ=="
LOCAL = Path(__file__).parent / "node_modules" / ".bin"
"""Where ``install.sh`` puts it."""


def client(server: Server) -> Any:
    """Azure's own client of the server: the independent way to its containers."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient.from_connection_string(
        server.environment["AZURE_STORAGE_CONNECTION_STRING"]
    )


@contextmanager
def azurite(root: Path) -> Iterator[Server]:
    """The server, with its files below ``root``; raises ``NotInstalledError``."""
    program = shutil.which("azurite-blob", path=f"{LOCAL}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise NotInstalledError("no azurite-blob here: npm install --global azurite")
    port = free_port()
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += ["--location", str(root), "--disableTelemetry", "--skipApiVersionCheck"]
    env = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    endpoint = f"http://127.0.0.1:{port}"
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
        f"BlobEndpoint={endpoint}/{ACCOUNT};"
    )

    def make_bucket(container: str) -> None:
        client(server).create_container(container)

    variables = {"AZURE_STORAGE_CONNECTION_STRING": connection}
    server = Server("azurite", "az", endpoint, variables, make_bucket, KEY)
    with running(command, root / "azurite.log", env) as process:
        wait_for_http(endpoint, process, root / "azurite.log", 60)
        yield server
